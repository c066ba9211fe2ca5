//! Puts each request into a trace, so that all log lines of it, and of what it leads to, have one id.

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
    middleware::Next,
    response::Response,
};
use shared::{queue::header::TRACEPARENT, trace};
use tracing::{Instrument, Span};

/// Goes on with the trace that the sender names, or begins one: its `traceparent`, and the span for the log lines.
pub(crate) fn trace(headers: &HeaderMap) -> (String, Span) {
    let parent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let traceparent = trace::child_of(parent);
    let span = tracing::error_span!("request", trace_id = trace::trace_id(&traceparent));
    (traceparent, span)
}

/// As a layer, which tells whoever looks at the request's headers after it. Providers' requests do without: a layer costs
/// each of them two allocations, and the header one or two.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let (traceparent, span) = trace(request.headers());
    // Hexadecimal digits can always be written.
    if let Ok(value) = HeaderValue::try_from(traceparent) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
    next.run(request).instrument(span).await
}
