//! What the provider does with a request.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

/// What the provider does with a request that it has read and recorded.
#[derive(Clone, Debug)]
pub enum Behaviour {
    /// Answers.
    Answer(Answer),
    /// Never answers and keeps the connection open.
    Hang,
    /// Closes the connection without an answer.
    Close,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self::Answer(Answer::new(200, ""))
    }
}

impl From<Answer> for Behaviour {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    delay: Duration,
}

impl Answer {
    /// An answer at once, without headers beyond what HTTP needs.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Answers only after `delay`.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits and answers; what is no valid status or header becomes a 500 that says so.
    pub(super) async fn respond(self) -> Response {
        tokio::time::sleep(self.delay).await;
        self.response().unwrap_or_else(|error| {
            let mut response = Response::new(Body::from(format!("the test's answer is invalid: {error}")));
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        })
    }

    fn response(self) -> Result<Response, axum::http::Error> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status)?;
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response.headers_mut().append(name, HeaderValue::from_str(&value)?);
        }
        Ok(response)
    }
}
