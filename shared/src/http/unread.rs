//! Whether the body of a request was read to its end. A connection ends with one that was not, and the answer says so: into it
//! no other request is to be sent.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, HttpBody},
    http::{HeaderValue, Request, Response, header},
};
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};

/// The body of the request that a connection has in hand: there is one at a time.
#[derive(Clone, Default)]
pub(super) struct Reading {
    is_done: Arc<AtomicBool>,
}

impl Reading {
    /// From here on, the body in hand is that of `request`.
    pub(super) fn begin(&self, request: Request<Incoming>) -> Request<Body> {
        self.is_done.store(request.body().is_end_stream(), Ordering::Relaxed);
        request.map(|body| Body::new(Watched { body, reading: self.clone() }))
    }

    /// Says in the answer that the connection ends, when the body was not read to its end.
    pub(super) fn end(&self, answer: &mut Response<Body>) {
        if !self.is_done.load(Ordering::Relaxed) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// A body that tells when it was read to its end.
struct Watched {
    body: Incoming,
    reading: Reading,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.reading.is_done.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
