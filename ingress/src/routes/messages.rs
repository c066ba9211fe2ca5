//! Receives a provider's message or reports: they are answered with success only after the queue has confirmed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::{ConnectInfo, State as Extract},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use shared::{
    clock,
    message::{EXTERNAL_ID, Identity, IncomingMessage, MessageId},
    queue::{self, Message, Route},
    telemetry::Privacy,
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{Endpoint, State, Takes, reports};
use crate::{
    auth, body,
    forms::{Answer, Reading, reports::Read},
    refusal::{Problem, Refusal, refused},
    request::Request,
    traced,
};

/// The header of an answer that has the id of the message.
const MESSAGE_ID: HeaderName = HeaderName::from_static("message-id");

/// Any request on the public listener. Between its phases little is kept: many requests wait at a time, and whatever a
/// future holds is moved and kept with it.
pub fn receive_message(
    Extract(state): Extract<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> impl Future<Output = Response> + Send {
    let (traceparent, span) = traced::trace(request.headers());
    receive(state, peer.ip(), traceparent, request).instrument(span)
}

async fn receive(
    state: Arc<State>,
    peer: IpAddr,
    traceparent: String,
    request: axum::extract::Request,
) -> Response {
    let Some(endpoint) = state.endpoints.find(request.uri().path()) else {
        return refuse(Refusal::UnknownPath, None);
    };
    let understood = match hear(&state, endpoint, peer, &traceparent, request).await {
        Ok(understood) => understood,
        Err(refusal) => return refuse(refusal, Some(endpoint)),
    };
    match accept(&state, endpoint, understood).await {
        Ok(id) => success(id, endpoint.takes.answer()),
        Err(refusal) => refuse(refusal, Some(endpoint)),
    }
}

/// Checks that a request may post to `endpoint`, reads it, and understands it.
async fn hear(
    state: &State,
    endpoint: &Endpoint,
    peer: IpAddr,
    traceparent: &str,
    request: axum::extract::Request,
) -> Result<Understood, Refusal> {
    let (parts, body) = request.into_parts();
    if !endpoint.takes.methods().contains(&parts.method) {
        return Err(Refusal::Method(endpoint.takes.methods().to_vec()));
    }
    let mut request = Request {
        method: parts.method,
        uri: parts.uri,
        headers: auth::believed(&endpoint.auth, parts.headers),
        body: Bytes::new(),
        peer,
        at: clock::now(),
    };
    auth::check_head(&endpoint.auth, &request)?;
    request.body = body::read(body, state.endpoints.body).await?;
    understand(endpoint, &request, traceparent)
}

/// Returns when the queue has confirmed all of it.
async fn accept(
    state: &State,
    endpoint: &Endpoint,
    understood: Understood,
) -> Result<Option<MessageId>, Refusal> {
    match understood {
        Understood::Message { message, queued } => {
            state.publisher.publish(queued).await.map_err(Refusal::Unavailable)?;
            endpoint.accepted.increment(1);
            log(&message, state.endpoints.privacy);
            Ok(Some(message.id))
        }
        Understood::Reports { queued, unread } => {
            let count = queued.len() as u64;
            state.publisher.publish_all(queued).await.map_err(Refusal::Unavailable)?;
            endpoint.accepted.increment(count);
            if !unread.is_empty() {
                // The others are in the queue: a refusal would bring them again, and these with them.
                note(&Refusal::Invalid(unread), Some(endpoint));
            }
            Ok(None)
        }
    }
}

/// What a request says, ready for the queue.
enum Understood {
    Message { message: IncomingMessage, queued: Message },
    Reports { queued: Vec<Message>, unread: Vec<Problem> },
}

fn understand(endpoint: &Endpoint, request: &Request, traceparent: &str) -> Result<Understood, Refusal> {
    auth::check_body(&endpoint.auth, request)?;
    let params = endpoint.takes.params(request);
    // Before anything is said of them: a stranger is told nothing, and cannot fill the log.
    auth::check_params(&endpoint.auth, request, params.as_ref().ok())?;
    let params = params.map_err(|problem| Refusal::Invalid(vec![problem]))?;
    Ok(match &endpoint.takes {
        Takes::Messages(form) => {
            let message = message(endpoint, form.read(params).map_err(Refusal::Invalid)?);
            let route = Route::Incoming(message.backend.clone());
            let queued = Message::new(&route, &message, queue::traced(Some(traceparent)));
            Understood::Message { message, queued }
        }
        Takes::Reports(form) => {
            let Read { reports, unread } = form.read(request, &params).map_err(Refusal::Invalid)?;
            Understood::Reports { queued: reports::queued(&endpoint.backend, reports, traceparent), unread }
        }
    })
}

fn log(message: &IncomingMessage, privacy: Privacy) {
    let (identity, text) = (privacy.show(message.identity.as_str()), privacy.show(&message.text));
    // Some have the number in it.
    let external_id = privacy.show(message.fields.get(EXTERNAL_ID).map_or("", String::as_str));
    tracing::info!(message_id = %message.id, backend = %message.backend, %external_id, %identity, %text, "accepted");
}

/// The message that was read. A provider that repeats it, with its own id of it, gives the same message.
fn message(endpoint: &Endpoint, reading: Reading) -> IncomingMessage {
    let identity = Identity::from(reading.identity.as_str());
    let external_id = reading.external_id().map(|id| MessageId::external(&endpoint.backend, &identity, id));
    IncomingMessage {
        id: external_id.unwrap_or_default(),
        accepted_at: clock::now(),
        backend: endpoint.backend.clone(),
        identity,
        text: reading.text,
        fields: reading.fields,
        no_reply: reading.no_reply,
    }
}

/// The answer to what is in the queue, with the id of a message.
fn success(id: Option<MessageId>, answer: &Answer) -> Response {
    let mut response = Response::default();
    *response.status_mut() = answer.status;
    // These two have no body, whatever is configured.
    if !matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        *response.body_mut() = Body::from(answer.body.clone());
        response.headers_mut().insert(header::CONTENT_TYPE, answer.content_type.clone());
    }
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id.to_string()).ok()) {
        response.headers_mut().insert(MESSAGE_ID, id);
    }
    response
}

fn refuse(refusal: Refusal, endpoint: Option<&Endpoint>) -> Response {
    note(&refusal, endpoint);
    refusal.into_response()
}

/// Counts and logs what is not accepted.
fn note(refusal: &Refusal, endpoint: Option<&Endpoint>) {
    let reason = refusal.reason();
    let backend = endpoint.map_or("", |endpoint| endpoint.backend.as_str());
    refused(reason, backend).increment(1);
    let detail = refusal.detail();
    match refusal.status() {
        StatusCode::SERVICE_UNAVAILABLE => tracing::error!(backend, reason, detail, "refused"),
        // A provider whose messages are lost: its operator wants to know why.
        StatusCode::BAD_REQUEST => tracing::warn!(backend, reason, detail, "refused"),
        // The same, when a secret or an address is written wrongly. But anybody can cause it, as often as they like.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            if endpoint.is_some_and(|endpoint| endpoint.seldom.is_due(Instant::now())) =>
        {
            tracing::warn!(backend, reason, detail, "refused; others like it are only counted for a minute");
        }
        // Anybody can cause the others as well.
        _ => tracing::debug!(backend, reason, detail, "refused"),
    }
}

#[cfg(test)]
mod tests;
