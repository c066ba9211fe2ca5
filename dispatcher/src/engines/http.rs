//! The `http` engine: calls any HTTP API, as the configuration describes it. One call an identity.
//!
//! [`Blueprint`] makes the request (pure), [`Reader`] reads the answer (pure), [`HttpEngine`] does the call between.

mod answer;

mod blueprint;

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{Client, redirect};
use shared::{
    cli, clock,
    config::{Backend, backends::Http},
    lifecycle::{Exit, Failure},
    message::{BackendName, OutgoingMessage},
};

use self::{
    answer::{Answer, Reader},
    blueprint::Blueprint,
};
use super::{Engine, Part, SendError, SendReceipt};

/// The most that is read of an answer's body.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The longest that a connection may take, whatever `timeout` says.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The engine of one backend, with its own pool of connections.
pub struct HttpEngine {
    client: Client,
    blueprint: Blueprint,
    reader: Reader,
}

impl HttpEngine {
    /// The engine that `http` describes.
    pub fn new(name: &BackendName, http: &Http, backend: &Backend) -> Result<Self, Failure> {
        cli::install_tls_provider();
        let client = Client::builder()
            .user_agent(concat!("rapidsms-gateway/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the message, and the credentials, to somebody else.
            .redirect(redirect::Policy::none())
            .connect_timeout(connect_timeout(backend.timeout))
            .timeout(backend.timeout)
            .pool_max_idle_per_host(backend.concurrency.into())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| {
                Failure::new(Exit::Unavailable, format!("backends.{name}: no HTTP client: {error}"))
            })?;
        Ok(Self { client, blueprint: Blueprint::new(name, http), reader: Reader::new(http) })
    }

    async fn call(&self, part: &Part) -> Result<SendReceipt, SendError> {
        let request = self.blueprint.request(part)?;
        let mut response = self.client.execute(request).await.map_err(|error| lost(&error))?;
        let mut body = Vec::new();
        let mut broke_off = false;
        while body.len() < MAX_ANSWER_BYTES {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    broke_off = true;
                    break;
                }
            }
        }
        body.truncate(MAX_ANSWER_BYTES);
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let status = response.status().as_u16();
        let answer = Answer { status, retry_after, at: clock::now(), body: &body, broke_off };
        self.reader.read(&answer)
    }
}

impl Engine for HttpEngine {
    fn plan(&self, message: &OutgoingMessage) -> Result<Vec<Part>, SendError> {
        Ok(Part::for_each_identity(message))
    }

    fn send<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.call(part).boxed()
    }
}

/// Less than the whole: when both end at once, a host that drops packets is taken for one that lost the answer.
fn connect_timeout(timeout: Duration) -> Duration {
    CONNECT_TIMEOUT.min(timeout * 2 / 3)
}

/// What a call without an answer means. The error's own text would name the URL, which may hold secrets and numbers.
fn lost(error: &reqwest::Error) -> SendError {
    if error.is_connect() {
        let mut reason = "no connection".to_owned();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            reason = format!("no connection: {error}");
            cause = error.source();
        }
        return SendError::Unavailable { reason, retry_after: None };
    }
    if error.is_builder() {
        return SendError::Rejected {
            reason: "no request can be made of it".to_owned(),
            answer: String::new(),
        };
    }
    let reason =
        if error.is_timeout() { "no answer in time" } else { "the connection broke before the answer" };
    SendError::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
