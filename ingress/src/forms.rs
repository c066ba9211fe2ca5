//! The forms: how the requests of each kind of endpoint are read. One file a form, one line in [`build`].
//!
//! A form is pure: it sees a whole request and gives a reading or a refusal. It does no I/O, and it knows nothing of
//! authentication, which comes between its two steps.

pub mod http;

pub mod kannel;

pub mod vumi;

pub mod twilio;

pub mod reports;

pub mod params;

pub mod fields;

use std::collections::BTreeMap;

use axum::http::{HeaderValue, Method, StatusCode};
use bytes::Bytes;
use shared::{
    config::{
        Config, Endpoint,
        endpoints::{self, Form as Settings},
    },
    message::EXTERNAL_ID,
};

use self::params::Params;
use crate::{refusal::Problem, request::Request};

/// What a form reads from a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Who sent the message.
    pub identity: String,
    /// What it says.
    pub text: String,
    /// The other fields that the form knows or the endpoint declares.
    pub fields: BTreeMap<String, String>,
    /// Whether the sender cannot be answered any more.
    pub no_reply: bool,
}

impl Reading {
    /// The provider's own id of the message, the same when it repeats the request.
    #[must_use]
    pub fn external_id(&self) -> Option<&str> {
        self.fields.get(EXTERNAL_ID).map(String::as_str)
    }
}

/// The content type of a plain text.
const PLAIN: &str = "text/plain; charset=utf-8";

/// What a form answers when the message is in the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The `Content-Type`.
    pub content_type: HeaderValue,
    /// The body, as this kind of provider wants it.
    pub body: Bytes,
}

impl Answer {
    /// The answer that is configured.
    fn of(settings: &endpoints::Answer) -> Self {
        let endpoints::Answer { status, body, content_type } = settings;
        Self {
            status: StatusCode::from_u16(*status).unwrap_or(StatusCode::OK),
            // The configuration takes nothing that a header cannot have.
            content_type: HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static(PLAIN)),
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    /// 200 with an empty text.
    fn empty() -> Self {
        Self::ok(PLAIN, "")
    }

    /// 200 with this body.
    fn ok(content_type: &'static str, body: &'static str) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: HeaderValue::from_static(content_type),
            body: Bytes::from_static(body.as_bytes()),
        }
    }
}

/// A method as it is configured.
fn method(method: endpoints::HttpMethod) -> Method {
    match method {
        endpoints::HttpMethod::Get => Method::GET,
        endpoints::HttpMethod::Post => Method::POST,
    }
}

/// Reads the requests of one endpoint.
pub trait Form: Send + Sync {
    /// The methods it takes.
    fn methods(&self) -> &[Method];

    /// Takes a request apart.
    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem>;

    /// Decodes and validates, once it is known who has sent it.
    fn read(&self, params: Params<'_>) -> Result<Reading, Vec<Problem>>;

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
        Settings::Kannel => Box::new(kannel::KannelForm::new(endpoint, config)),
        Settings::Vumi => Box::new(vumi::VumiForm::new(endpoint, config)),
        Settings::Twilio => Box::new(twilio::TwilioForm::new(endpoint, config)),
    }
}

#[cfg(test)]
pub(crate) mod testing;
