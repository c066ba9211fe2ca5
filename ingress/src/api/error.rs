//! Every answer of the API that is not a success: one table of code and status, each with what to do next.

use std::time::Duration;

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use shared::{message::BackendName, queue::PublishError};
use utoipa::ToSchema;

use crate::{body::BodyError, refusal::RETRY_AFTER};

/// How many problems are told of one request.
const MAX_TOLD: usize = 20;

/// Why a request is not accepted.
#[derive(Debug)]
pub enum ApiError {
    /// The API has no such path.
    UnknownPath,
    /// The path is not for this method.
    Method,
    /// No token is shown.
    NoToken,
    /// The token is nobody's.
    WrongToken,
    /// A web page sends it, through somebody's browser, to the listener that asks for no token.
    Origin,
    /// The backend is not the token's, which has these.
    Backend(Vec<BackendName>),
    /// The body is not said to be JSON.
    MediaType,
    /// The body is longer than this number of bytes.
    TooLarge(usize),
    /// The body did not arrive within this time.
    TooSlow(Duration),
    /// The body is no JSON object, as is seen at this place.
    Malformed {
        /// The line.
        line: usize,
        /// The column in it.
        column: usize,
    },
    /// These fields are wrong.
    Invalid(Vec<Problem>),
    /// The token's rate is used up for so long.
    TooMany(Duration),
    /// The queue did not confirm all of it.
    Unavailable {
        /// Why.
        cause: PublishError,
        /// Whether the caller gave an id of its own.
        has_id: bool,
    },
}

/// What went wrong, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 404: the API has no such path.
    UnknownPath,
    /// 405: the path is not for this method.
    MethodNotAllowed,
    /// 401: the token is missing or wrong.
    Unauthorized,
    /// 403: the backend is not the token's.
    ForbiddenBackend,
    /// 403: a web page may not send where no token is asked for.
    ForbiddenOrigin,
    /// 415: the body is not said to be JSON.
    UnsupportedMediaType,
    /// 413: the body is too long.
    TooLarge,
    /// 408: the body did not arrive in time.
    TooSlow,
    /// 400: the body is no JSON object.
    Malformed,
    /// 400: some fields are wrong.
    Invalid,
    /// 429: the token's rate is used up.
    RateLimited,
    /// 503: the message may not be in the queue.
    Unavailable,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// What went wrong.
    error: ErrorDetail,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorDetail {
    /// For programs.
    code: Code,
    /// For people: what is wrong and what to do about it.
    message: String,
    /// The fields that are wrong, at most 20 of them.
    fields: Vec<Problem>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// The field, such as `text` or `to[3]`.
    #[schema(example = "to[3]")]
    pub field: String,
    /// The rule that it breaks.
    #[schema(example = "ensure this value has at most 100 characters (it has 101)")]
    pub problem: String,
}

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

impl Code {
    /// The code as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The table: what is written, and with which status.
    fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::UnknownPath => ("unknown_path", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED),
            Self::ForbiddenBackend => ("forbidden_backend", StatusCode::FORBIDDEN),
            Self::ForbiddenOrigin => ("forbidden_origin", StatusCode::FORBIDDEN),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::TooSlow => ("too_slow", StatusCode::REQUEST_TIMEOUT),
            Self::Malformed => ("malformed", StatusCode::BAD_REQUEST),
            Self::Invalid => ("invalid", StatusCode::BAD_REQUEST),
            Self::RateLimited => ("rate_limited", StatusCode::TOO_MANY_REQUESTS),
            Self::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}

impl ApiError {
    /// What went wrong, for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownPath => Code::UnknownPath,
            Self::Method => Code::MethodNotAllowed,
            Self::NoToken | Self::WrongToken => Code::Unauthorized,
            Self::Backend(_) => Code::ForbiddenBackend,
            Self::Origin => Code::ForbiddenOrigin,
            Self::MediaType => Code::UnsupportedMediaType,
            Self::TooLarge(_) => Code::TooLarge,
            Self::TooSlow(_) => Code::TooSlow,
            Self::Malformed { .. } => Code::Malformed,
            Self::Invalid(_) => Code::Invalid,
            Self::TooMany(_) => Code::RateLimited,
            Self::Unavailable { .. } => Code::Unavailable,
        }
    }

    /// What is wrong and what to do about it.
    fn message(&self) -> String {
        match self {
            Self::UnknownPath => {
                "there is nothing at this path; /api/v1/openapi.json describes what there is".to_owned()
            }
            Self::Method => {
                "this method is not for this path; the header Allow has those that are".to_owned()
            }
            Self::NoToken => "a token is wanted; send the header Authorization: Bearer TOKEN".to_owned(),
            Self::WrongToken => {
                "this token is not known; ask whoever runs the gateway for a new one".to_owned()
            }
            Self::Backend(known) => format!(
                "this token does not send through that backend; name one of its own: {}",
                known.iter().map(BackendName::as_str).collect::<Vec<_>>().join(", ")
            ),
            Self::Origin => {
                "a web page may not send here; send it from a program, without the header Origin".to_owned()
            }
            Self::MediaType => "JSON is wanted; send the header Content-Type: application/json".to_owned(),
            Self::TooLarge(limit) => format!(
                "the body is longer than {limit} bytes; send it in several requests, each with some of the recipients"
            ),
            Self::TooSlow(limit) => {
                format!("the body did not arrive within {} seconds; send it again", limit.as_secs_f32())
            }
            Self::Malformed { line, column } => format!(
                "a JSON object in UTF-8 with backend, to and text is wanted; the body is none from line {line} column {column} on"
            ),
            Self::Invalid(_) => {
                "nothing was queued by this request; correct the fields and send it again".to_owned()
            }
            Self::TooMany(_) => {
                "the token's rate is used up; send it again after the seconds in the header Retry-After"
                    .to_owned()
            }
            Self::Unavailable { has_id, .. } => {
                let known = if *has_id {
                    ", with the same id, by which what is queued already is known again"
                } else {
                    "; an id of your own is what would make the repeat known"
                };
                format!(
                    "nobody knows how much of it is queued; send it again after the seconds in the header Retry-After{known}"
                )
            }
        }
    }

    /// How to show a token, for whom it is wanted from.
    fn challenge(&self) -> Option<&'static str> {
        if matches!(self, Self::WrongToken) {
            return Some(r#"Bearer realm="gateway", error="invalid_token""#);
        }
        matches!(self, Self::NoToken).then_some(r#"Bearer realm="gateway""#)
    }

    /// When to send it again, in seconds.
    fn retry_after(&self) -> Option<HeaderValue> {
        if let Self::TooMany(wait) = self {
            // Rounded up: who comes a moment too early is sent away once more.
            return Some((wait.as_secs() + 1).into());
        }
        matches!(self, Self::Unavailable { .. }).then_some(RETRY_AFTER)
    }
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::TooLarge(limit),
            BodyError::TooSlow(limit) => Self::TooSlow(limit),
            BodyError::Unreadable => Self::Malformed { line: 0, column: 0 },
        }
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

/// The first problems, and how many more there are.
fn told(mut problems: Vec<Problem>) -> Vec<Problem> {
    let more = problems.len().saturating_sub(MAX_TOLD);
    if more > 0 {
        problems.truncate(MAX_TOLD - 1);
        problems.push(Problem::new("", format!("{} more problems", more + 1)));
    }
    problems
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (code, message) = (self.code(), self.message());
        let (_, status) = code.row();
        let mut headers = HeaderMap::new();
        if let Some(challenge) = self.challenge() {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, wait);
        }
        let fields = if let Self::Invalid(problems) = self { told(problems) } else { Vec::new() };
        let body = ErrorBody { error: ErrorDetail { code, message, fields } };
        (status, headers, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_written_as_it_is_logged() {
        let codes = [
            Code::UnknownPath,
            Code::MethodNotAllowed,
            Code::Unauthorized,
            Code::ForbiddenBackend,
            Code::ForbiddenOrigin,
            Code::UnsupportedMediaType,
            Code::TooLarge,
            Code::TooSlow,
            Code::Malformed,
            Code::Invalid,
            Code::RateLimited,
            Code::Unavailable,
        ];
        for code in codes {
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }

    #[test]
    fn of_many_problems_the_first_are_told() {
        let problems = |count| vec![Problem::new("to", "wrong"); count];
        assert_eq!(told(problems(20)).len(), 20);
        let told = told(problems(10_000));
        assert_eq!((told.len(), told[19].problem.as_str()), (20, "9981 more problems"));
    }
}
