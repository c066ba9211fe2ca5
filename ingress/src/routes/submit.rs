//! Takes what a program submits: it is answered with success only after the queue has confirmed all of it.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::{
    clock,
    clock::UnixMillis,
    message::{MessageId, SubmittedMessage},
    metric,
    queue::{Message, Route, header as queue_header, traced},
};

use crate::{
    api::{
        self, Api,
        callers::Caller,
        error::{ApiError, ErrorBody},
        submission::{Accepted, Checked, Submission},
    },
    body,
};

/// The header in which a caller's own id may stand.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Sends a text to one or many recipients.
///
/// It is answered when all of it is safely queued; then it goes through the outgoing phase of the apps, and is sent. Give an
/// id of your own, here or in the header `Idempotency-Key`, and repeat a request without an answer, or with a 503, as it was.
#[utoipa::path(
    post,
    path = "/api/v1/messages",
    tag = "messages",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 200,
        description = "An id of your own, as `id` in the body, but in printable ASCII.")),
    request_body = Submission,
    responses(
        (status = 202, body = Accepted, description = "All of it is safely queued."),
        (status = 400, body = ErrorBody, description = "It is wrong, and nothing is queued by this request."),
        (status = 401, body = ErrorBody, description = "The token is missing or wrong.",
            headers(("WWW-Authenticate" = String, description = "How to show a token."))),
        (status = 403, body = ErrorBody, description = "The backend is not the token's; or a web page sends it, where no token is asked for."),
        (status = 404, body = ErrorBody, description = "There is no such path."),
        (status = 405, body = ErrorBody, description = "The method is not for this path.",
            headers(("Allow" = String, description = "The methods that are."))),
        (status = 408, body = ErrorBody, description = "The body did not arrive in time."),
        (status = 413, body = ErrorBody, description = "The body is longer than `ingress.max_body_bytes`."),
        (status = 415, body = ErrorBody, description = "The body is not said to be JSON."),
        (status = 429, body = ErrorBody, description = "The token's rate is used up.",
            headers(("Retry-After" = u64, description = "After how many seconds to send it again."))),
        (status = 503, body = ErrorBody, description = "It could not be queued, or only some of it.",
            headers(("Retry-After" = u64, description = "After how many seconds to send it again."))),
    )
)]
pub(crate) async fn submit_message(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Arc<Caller>>,
    request: Request,
) -> Response {
    match submit(&api, &caller, request).await {
        Ok(accepted) => (StatusCode::ACCEPTED, Json(accepted)).into_response(),
        Err(error) => api::refuse(&caller.name, error),
    }
}

async fn submit(api: &Api, caller: &Caller, request: Request) -> Result<Accepted, ApiError> {
    let (parts, body) = request.into_parts();
    // A web page can make a browser send any other type to an address that only its user reaches.
    if !is_json(&parts.headers) {
        return Err(ApiError::MediaType);
    }
    let body = body::read(body, api.body).await?;
    let now = clock::now();
    let checked = Checked::read(&body, parts.headers.get(IDEMPOTENCY_KEY), caller, api.limits, now)?;
    let recipients = checked.identities.len();
    caller.take(recipients)?;
    let (id, messages) = checked.messages(caller, now);
    let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
    let parent = parts.headers.get(queue_header::TRACEPARENT).and_then(|value| value.to_str().ok());
    let queued = messages.iter().map(|message| queued(message, parent, checked.expires_at)).collect();
    api.publisher.publish_all(queued).await.map_err(|cause| {
        caller.give_back(recipients);
        ApiError::Unavailable { cause, has_id: checked.has_id() }
    })?;
    let backend = &checked.backend;
    metrics::counter!(metric::SUBMITTED, "backend" => backend.to_string(), "token" => caller.name.clone())
        .increment(recipients as u64);
    let text = api.privacy.show(&checked.text);
    tracing::info!(submission = %id, caller = caller.name, %backend, recipients, messages = ids.len(), %text, "submitted");
    Ok(Accepted { id, recipients, messages: ids })
}

fn is_json(headers: &HeaderMap) -> bool {
    let named = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    named.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/json")
}

fn queued(message: &SubmittedMessage, parent: Option<&str>, expires_at: Option<UnixMillis>) -> Message {
    let mut headers = traced(parent);
    headers.extend(expires_at.map(|time| (queue_header::EXPIRES_AT.to_owned(), time.0.to_string())));
    Message::new(&Route::Submit(message.backend.clone()), message, headers)
}

#[cfg(test)]
mod tests;
