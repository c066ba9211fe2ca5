//! Reads the body of a request, within a size and a time; and what becomes of a connection when nobody reads it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body::{Frame, SizeHint};
use shared::config;

/// How much a body may be, and how long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    max_bytes: usize,
    timeout: Duration,
}

impl Limits {
    /// As the configuration says.
    #[must_use]
    pub fn of(ingress: &config::Ingress) -> Self {
        Self { max_bytes: ingress.max_body_bytes, timeout: ingress.request_timeout }
    }
}

/// Why there is no body.
#[derive(Debug)]
pub enum BodyError {
    /// It is longer than this number of bytes.
    TooLarge(usize),
    /// It did not arrive within this time.
    TooSlow(Duration),
    /// It could not be read.
    Unreadable,
}

/// All of `body`.
pub async fn read(body: Body, limits: Limits) -> Result<Bytes, BodyError> {
    let Limits { max_bytes: limit, timeout } = limits;
    // Before the first read, which would ask a client that waits for `100 Continue` to send it all.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyError::TooLarge(limit));
    }
    let reading = async {
        let mut chunks = body.into_data_stream();
        // Most bodies come in one piece, which is not copied.
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_| BodyError::Unreadable)?;
            if first.len() + all.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(limit));
            }
            if first.is_empty() && all.is_empty() {
                first = chunk;
            } else {
                all.extend_from_slice(&std::mem::take(&mut first));
                all.extend_from_slice(&chunk);
            }
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    };
    tokio::time::timeout(timeout, reading).await.unwrap_or(Err(BodyError::TooSlow(timeout)))
}

/// Watches whether somebody reads the body of `request`.
pub(crate) fn watch(request: Request) -> (Request, Unread) {
    let (head, body) = request.into_parts();
    let is_read = Arc::new(AtomicBool::new(body.is_end_stream()));
    let body = Body::new(Watched { body, is_read: Arc::clone(&is_read) });
    (Request::from_parts(head, body), Unread { is_read })
}

/// A body that may be unread.
pub(crate) struct Unread {
    is_read: Arc<AtomicBool>,
}

impl Unread {
    /// The connection ends with a body that nobody has read to its end; that is said, so that no other request is sent into
    /// it.
    pub(crate) fn close(self, mut answer: Response) -> Response {
        if !self.is_read.load(Ordering::Relaxed) {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

/// A body that tells when it was read to its end.
struct Watched {
    body: Body,
    is_read: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.is_read.store(true, Ordering::Relaxed);
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
