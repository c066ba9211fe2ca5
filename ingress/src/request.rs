//! A provider's request as the forms see it: bytes and headers, nothing decoded yet.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use shared::clock::UnixMillis;

/// A whole request, its body read and within the limit.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// Path and query, as they were sent.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who is at the other end of the socket.
    pub peer: IpAddr,
    /// When its head had arrived.
    pub at: UnixMillis,
}

impl Request {
    /// What follows the `?`, encoded.
    #[must_use]
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or("")
    }

    /// What a sender can sign of it: the body, and of a GET, which has none, the query.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        if self.method == Method::GET { self.query().as_bytes() } else { &self.body }
    }

    /// The value of a header, when it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
