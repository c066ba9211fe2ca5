//! Receives a provider's message or reports: they are answered with success only after the queue has confirmed.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    body::Body,
    extract::{ConnectInfo, State as Extract},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use shared::{
    clock,
    message::{EXTERNAL_ID, Identity, IncomingMessage, MessageId},
    queue::{Message, Route, header as queue_header, traced},
};
use tokio::time::Instant;

use super::{Endpoint, State, Takes, reports};
use crate::{
    auth, body, entrance,
    forms::{Answer, Reading, reports::Read},
    refusal::{Refusal, refused},
    request::Request,
};

/// Any request on the public listener.
pub async fn receive_message(
    Extract(state): Extract<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: axum::extract::Request,
) -> Response {
    entrance::enter(request, async |request| receive(&state, peer, request).await).await
}

async fn receive(state: &State, peer: SocketAddr, request: axum::extract::Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let endpoint = state.endpoints.find(&path);
    let accepted = match endpoint {
        Some(endpoint) => accept(state, endpoint, peer, parts, body).await,
        None => Err(Refusal::UnknownPath),
    };
    match accepted {
        Ok((id, answer)) => success(id, answer),
        Err(refusal) => refuse(refusal, endpoint.map(Arc::as_ref)),
    }
}

async fn accept<'e>(
    state: &State,
    endpoint: &'e Endpoint,
    peer: SocketAddr,
    parts: Parts,
    body: Body,
) -> Result<(Option<MessageId>, &'e Answer), Refusal> {
    if !endpoint.takes.methods().contains(&parts.method) {
        return Err(Refusal::Method(endpoint.takes.methods().to_vec()));
    }
    let mut request = Request {
        method: parts.method,
        uri: parts.uri,
        headers: auth::believed(&endpoint.auth, parts.headers),
        body: Bytes::new(),
        peer: peer.ip(),
        at: clock::now(),
    };
    auth::check_head(&endpoint.auth, &request)?;
    request.body = body::read(body, state.endpoints.body).await?;
    auth::check_body(&endpoint.auth, &request)?;
    let params = endpoint.takes.params(&request);
    // Before anything is said of them: a stranger is told nothing, and cannot fill the log.
    auth::check_params(&endpoint.auth, &request, params.as_ref().ok())?;
    let params = params.map_err(|problem| Refusal::Invalid(vec![problem]))?;
    let id = match &endpoint.takes {
        Takes::Messages(form) => {
            let message = message(endpoint, form.read(params).map_err(Refusal::Invalid)?);
            publish(state, &message, &request).await?;
            endpoint.accepted.increment(1);
            Some(message.id)
        }
        Takes::Reports(form) => {
            let Read { reports, unread } = form.read(&request, &params).map_err(Refusal::Invalid)?;
            endpoint.accepted.increment(reports::publish(state, endpoint, reports, &request).await?);
            if !unread.is_empty() {
                // The others are in the queue: a refusal would bring them again, and these with them.
                note(&Refusal::Invalid(unread), Some(endpoint));
            }
            None
        }
    };
    Ok((id, endpoint.takes.answer()))
}

async fn publish(state: &State, message: &IncomingMessage, request: &Request) -> Result<(), Refusal> {
    let headers = traced(request.header(queue_header::TRACEPARENT));
    let queued = Message::new(&Route::Incoming(message.backend.clone()), message, headers);
    state.publisher.publish(queued).await.map_err(Refusal::Unavailable)?;
    let privacy = state.endpoints.privacy;
    let (identity, text) = (privacy.show(message.identity.as_str()), privacy.show(&message.text));
    // Some have the number in it.
    let external_id = privacy.show(message.fields.get(EXTERNAL_ID).map_or("", String::as_str));
    tracing::info!(message_id = %message.id, backend = %message.backend, %external_id, %identity, %text, "accepted");
    Ok(())
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
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    // These two have no body, whatever is configured.
    let mut response = if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        status.into_response()
    } else {
        let content_type = [(header::CONTENT_TYPE, answer.content_type.as_str())];
        (status, content_type, answer.body.clone()).into_response()
    };
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert("message-id", id);
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
