//! The forms: how the requests of each kind of endpoint are read. One file a form, one line in [`build`].
//!
//! A form is pure: it sees a whole request and gives a reading or a refusal. It does no I/O.

pub mod http;

pub mod params;

pub mod fields;

use std::collections::BTreeMap;

use axum::http::Method;
use shared::config::{Config, Endpoint, endpoints::Form as Settings};

use crate::{refusal::Refusal, request::Request};

/// What a form reads from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Who sent the message.
    pub identity: String,
    /// What it says.
    pub text: String,
    /// The other fields that the endpoint declares.
    pub fields: BTreeMap<String, String>,
}

/// What a form answers when the message is in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The `Content-Type`.
    pub content_type: String,
    /// The body, as this kind of provider wants it.
    pub body: String,
}

/// Reads the requests of one endpoint.
pub trait Form: Send + Sync {
    /// The methods it takes.
    fn methods(&self) -> &[Method];

    /// Authenticates by parameters, decodes and validates.
    fn read(&self, request: &Request) -> Result<Reading, Refusal>;

    /// The answer to a message that is in the queue.
    fn answer(&self) -> &Answer;
}

/// The form of `endpoint`.
#[must_use]
pub fn build(endpoint: &Endpoint, config: &Config) -> Box<dyn Form> {
    match &endpoint.form {
        Settings::Http { methods, answer } => {
            Box::new(http::HttpForm::new(endpoint, methods, answer, config))
        }
    }
}
