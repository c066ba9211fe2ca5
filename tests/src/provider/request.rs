//! A request as the provider received it.

use std::fmt;
use std::time::Instant;

use anyhow::{Context, Result};
use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;

/// A request as it was received, nothing decoded.
#[derive(Clone)]
pub struct Request {
    /// The method, upper case.
    pub method: String,
    /// The path, still encoded.
    pub path: String,
    /// The query without the question mark, still encoded; empty when there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// When the whole request had arrived.
    pub at: Instant,
}

impl Request {
    /// The fields of the query, then those of a form body, decoded to bytes, in their order.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, Vec<u8>)> {
        let body: &[u8] = if self.has_form() { &self.body } else { &[] };
        [self.query.as_bytes(), body].into_iter().flat_map(parse_fields).collect()
    }

    /// The bytes of the first field with this name: a text in another charset than UTF-8 needs them.
    #[must_use]
    pub fn field_bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.fields().into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The first field with this name, as UTF-8.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        self.field_bytes(name).map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// The first header with this name; `None` also when it is not plain text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("the body of {self:?}"))
    }

    fn has_form(&self) -> bool {
        self.header(header::CONTENT_TYPE.as_str())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, path, query, body, .. } = self;
        write!(f, "{method} {path}?{query} {:?}", String::from_utf8_lossy(body))
    }
}

fn parse_fields(encoded: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        (String::from_utf8_lossy(&decode(key)).into_owned(), decode(value))
    })
}

fn decode(encoded: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}
