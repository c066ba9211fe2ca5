//! What every request passes on its way in, and its answer on the way out.

use axum::{extract::Request, middleware::Next, response::Response};
use tracing::{Instrument, Span};

use crate::{
    body::{self, Unread},
    traced,
};

/// A request that is not answered yet.
pub(crate) struct Visit {
    /// All its log lines are in it.
    pub(crate) span: Span,
    unread: Unread,
}

/// Takes a request in. No future around that of the handler: each would be moved, with all that is in it, for every request.
pub(crate) fn enter(mut request: Request) -> (Request, Visit) {
    let span = traced::trace(request.headers_mut());
    let (request, unread) = body::watch(request);
    (request, Visit { span, unread })
}

impl Visit {
    /// Lets the answer out.
    pub(crate) fn leave(self, answer: Response) -> Response {
        self.unread.close(answer)
    }
}

/// The same as a layer. Providers' requests do without: a layer costs each of them two allocations.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let (request, visit) = enter(request);
    let answer = next.run(request).instrument(visit.span.clone()).await;
    visit.leave(answer)
}
