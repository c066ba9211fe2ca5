//! Every answer that is not a success: one table of reason, status and body.
//!
//! A body says which field is wrong and why. It never repeats a value: it may be logged by others.

use std::time::Duration;

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::Counter;
use shared::{metric, queue::PublishError};

use crate::body::BodyError;

/// How long a sender shall wait before it repeats a request that could not be queued, in seconds.
pub(crate) const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// What the body of every 400 starts with, as RapidSMS's does.
const INVALID: &str = "form failed to validate";

/// Why a request is not accepted.
#[derive(Debug)]
pub enum Refusal {
    /// 404: no endpoint has this path.
    UnknownPath,
    /// 405: the endpoint takes these methods only.
    Method(Vec<Method>),
    /// 403: the address is not in `allow_ips`.
    Address,
    /// 401: the credentials are missing or wrong.
    Credentials {
        /// Whether to ask for user and password.
        basic: bool,
    },
    /// 403: the signature is missing, wrong or too old, in these words.
    Signature(&'static str),
    /// 413: the body is longer than this number of bytes.
    TooLarge(usize),
    /// 408: the body did not arrive within this time.
    TooSlow(Duration),
    /// 400: the body could not be read.
    Unreadable,
    /// 400: these fields are wrong.
    Invalid(Vec<Problem>),
    /// 503: the queue did not confirm.
    Unavailable(PublishError),
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::TooSlow(limit) => Self::TooSlow(limit),
            BodyError::Unreadable => Self::Unreadable,
        }
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field, by the name that the sender used.
    pub field: String,
    /// The rule that it breaks, in our words.
    pub rule: String,
    /// What the configuration tells the sender instead. Not for the log: it may name a number.
    pub message: Option<String>,
}

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into(), message: None }
    }
}

/// How many requests were refused for this reason; of the API, without a backend.
pub(crate) fn refused(reason: &'static str, backend: &str) -> Counter {
    metrics::counter!(metric::REFUSED, "reason" => reason, "backend" => backend.to_owned())
}

/// Has the count of what could not be queued from the start: who looks at growth does not see a count that begins with 1.
pub(crate) fn refused_nothing_yet(backend: &str) {
    refused("unavailable", backend).increment(0);
}

impl Refusal {
    /// The name of the reason, for metrics and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownPath => "unknown_path",
            Self::Method(_) => "method",
            Self::Address => "address",
            Self::Credentials { .. } => "credentials",
            Self::Signature(_) => "signature",
            Self::TooLarge(_) => "too_large",
            Self::TooSlow(_) => "too_slow",
            Self::Unreadable => "unreadable",
            Self::Invalid(_) => "invalid",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Address | Self::Signature(_) => StatusCode::FORBIDDEN,
            Self::Credentials { .. } => StatusCode::UNAUTHORIZED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Unreadable | Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the log tells beside the reason: the rules that were broken, the queue's error; never a value.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Invalid(problems) => {
                let broken = problems.iter().map(|Problem { field, rule, .. }| format!("{field}: {rule}"));
                broken.collect::<Vec<_>>().join("; ")
            }
            Self::Unavailable(error) => error.to_string(),
            Self::Signature(why) => (*why).to_owned(),
            Self::UnknownPath
            | Self::Method(_)
            | Self::Address
            | Self::Credentials { .. }
            | Self::TooLarge(_)
            | Self::TooSlow(_)
            | Self::Unreadable => String::new(),
        }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::UnknownPath => "there is no endpoint at this path\n".to_owned(),
            Self::Method(methods) => format!("this endpoint takes {} only\n", list(methods)),
            Self::Address => "this address may not post here\n".to_owned(),
            Self::Credentials { .. } => "the credentials are missing or wrong\n".to_owned(),
            Self::Signature(why) => format!("{why}\n"),
            Self::TooLarge(limit) => format!("the body is longer than {limit} bytes\n"),
            Self::TooSlow(limit) => {
                format!("the body did not arrive within {} seconds\n", limit.as_secs_f32())
            }
            Self::Unreadable => format!("{INVALID}\nthe body could not be read\n"),
            Self::Invalid(problems) => {
                let line = |Problem { field, rule, message }: &Problem| {
                    format!("{field}: {}\n", message.as_ref().unwrap_or(rule))
                };
                format!("{INVALID}\n{}", problems.iter().map(line).collect::<String>())
            }
            Self::Unavailable(_) => "the message could not be queued, send it again\n".to_owned(),
        }
    }
}

fn list(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
        let mut response =
            (self.status(), [(header::CONTENT_TYPE, content_type)], self.body()).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Method(methods) => {
                if let Ok(allow) = HeaderValue::from_str(&list(&methods)) {
                    headers.insert(header::ALLOW, allow);
                }
            }
            Self::Credentials { basic: true } => {
                let challenge = HeaderValue::from_static(r#"Basic realm="gateway", charset="UTF-8""#);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::Unavailable(_) => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Self::UnknownPath
            | Self::Address
            | Self::Credentials { basic: false }
            | Self::Signature(_)
            | Self::TooLarge(_)
            | Self::TooSlow(_)
            | Self::Unreadable
            | Self::Invalid(_) => {}
        }
        response
    }
}
