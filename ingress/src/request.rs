//! A provider's request as the forms see it: bytes and headers, nothing decoded yet.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method};
use bytes::Bytes;

/// A whole request, its body read and within the limit.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// What follows the `?`, encoded.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Who is at the other end of the socket.
    pub peer: IpAddr,
}

impl Request {
    /// The value of a header, when it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}
