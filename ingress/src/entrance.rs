//! What every request passes on its way in, and its answer on the way out.

use axum::{extract::Request, middleware::Next, response::Response};

use crate::{body, traced};

/// Has `answer` answer the request, in a trace, and the connection end with a body that nobody has read.
pub(crate) async fn enter(request: Request, answer: impl AsyncFnOnce(Request) -> Response) -> Response {
    traced::trace_request(request, async |request| body::close_unread(request, answer).await).await
}

/// The same as a layer. Providers' requests do without: a layer costs each of them two allocations.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    enter(request, async |request| next.run(request).await).await
}
