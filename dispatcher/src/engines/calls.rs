//! Whether calls are made, or only noted: a dry run sees each request as it would go out, and nobody else does.

use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Body, Request};

/// What becomes of the calls of engines and apps.
#[derive(Clone)]
pub enum Calls {
    /// They are made.
    Made,
    /// They are noted, and answered with an empty 204.
    Noted(Notes),
}

/// The calls that were noted, in order.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<Call>>>);

/// A call that was not made. What the HTTP client itself adds to one is not in it: `host`, `user-agent` and the like.
pub struct Call {
    /// Who would have made it: a table of the configuration, or an app.
    pub caller: String,
    /// The method.
    pub method: String,
    /// The URL.
    pub url: String,
    /// The headers, by name.
    pub headers: Vec<Header>,
    /// The body.
    pub body: String,
}

/// A header of a call.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Header {
    /// Its name, in small letters.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether it has credentials.
    pub is_secret: bool,
}

impl Notes {
    pub(super) fn note(&self, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Those that were noted since this was asked before.
    #[must_use]
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Call {
    pub(super) fn new(caller: &str, request: &Request) -> Self {
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = request.headers().iter().map(|(name, value)| Header {
            name: name.to_string(),
            value: lossy(value.as_bytes()),
            is_secret: value.is_sensitive(),
        });
        let mut headers: Vec<Header> = headers.collect();
        headers.sort();
        Self {
            caller: caller.to_owned(),
            method: request.method().to_string(),
            url: request.url().to_string(),
            headers,
            body: request.body().and_then(Body::as_bytes).map(lossy).unwrap_or_default(),
        }
    }
}
