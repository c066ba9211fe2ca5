//! Puts each request into a trace, so that all log lines of it, and of what it leads to, have one id.

use axum::http::{HeaderMap, HeaderValue};
use shared::{queue::header::TRACEPARENT, trace};
use tracing::Span;

/// Goes on with the trace that the sender names, or begins one, and tells whoever looks at the request's headers after it.
pub(crate) fn trace(headers: &mut HeaderMap) -> Span {
    let parent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let traceparent = trace::child_of(parent);
    let span = tracing::error_span!("request", trace_id = trace::trace_id(&traceparent));
    // Hexadecimal digits can always be written.
    if let Ok(value) = HeaderValue::try_from(traceparent) {
        headers.insert(TRACEPARENT, value);
    }
    span
}
