//! Reads the body of a request, within a size and a time.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
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

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        convert::Infallible,
        iter,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
    };

    use futures_util::stream;

    use super::*;

    /// A body that tells whether it was read to its end.
    pub(crate) fn noted(text: &str) -> (Body, impl Fn() -> bool) {
        let is_read = Arc::new(AtomicBool::new(false));
        let noting = Arc::clone(&is_read);
        let end = iter::from_fn(move || {
            noting.store(true, Ordering::Relaxed);
            None
        });
        let frames = iter::once(Ok::<_, Infallible>(text.to_owned())).chain(end);
        (Body::from_stream(stream::iter(frames)), move || is_read.load(Ordering::Relaxed))
    }
}
