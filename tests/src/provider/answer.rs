//! What the provider does with a request.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::{Stream, StreamExt, stream};

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
    then: Then,
}

/// What follows the text of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The end of it.
    End,
    /// More and more, as fast as it is taken.
    Flood,
    /// A byte now and then, for ever.
    Drip,
    /// The connection breaks.
    Break,
}

/// How much of a flood is written at a time.
const PIECE: &[u8] = &[b' '; 16 * 1024];

/// How often a byte follows that drips; more often than any timeout of the tests. Before a connection breaks, what was
/// written is on its way after this time.
const DRIP: Duration = Duration::from_millis(50);

impl Answer {
    /// An answer at once, without headers beyond what HTTP needs.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, then: Then::End }
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

    /// Lets this follow the text of the body.
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
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
        let mut response = Response::new(body(self.body, self.then));
        *response.status_mut() = StatusCode::from_u16(self.status)?;
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())?;
            response.headers_mut().append(name, HeaderValue::from_str(&value)?);
        }
        Ok(response)
    }
}

fn body(text: String, then: Then) -> Body {
    if then == Then::End {
        return Body::from(text);
    }
    let text = stream::once(async { Ok::<_, io::Error>(Bytes::from(text)) });
    Body::from_stream(text.chain(rest(then)))
}

/// What follows the text.
fn rest(then: Then) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold((), move |()| async move {
        let piece = match then {
            Then::End => return None,
            Then::Flood => Ok(Bytes::from_static(PIECE)),
            Then::Drip => {
                tokio::time::sleep(DRIP).await;
                Ok(Bytes::from_static(b" "))
            }
            Then::Break => {
                tokio::time::sleep(DRIP).await;
                Err(io::Error::other("the provider breaks the connection"))
            }
        };
        Some((piece, ()))
    })
}
