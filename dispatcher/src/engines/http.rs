//! The `http` engine: calls any HTTP API, as the configuration describes it. One call an identity.
//!
//! [`Blueprint`] makes the request (pure), [`Reader`] reads the answer (pure), [`HttpEngine`] does the call between.

mod answer;

mod blueprint;

use futures_util::{FutureExt, future::BoxFuture};
use shared::{
    config::{Backend, backends::Http},
    lifecycle::Failure,
    message::{BackendName, OutgoingMessage},
};

use self::{answer::Reader, blueprint::Blueprint};
use super::{Engine, Part, SendError, SendReceipt, client::Client};

/// The engine of one backend, with its own pool of connections.
pub struct HttpEngine {
    client: Client,
    blueprint: Blueprint,
    reader: Reader,
}

impl HttpEngine {
    /// The engine that `http` describes.
    pub fn new(name: &BackendName, http: &Http, backend: &Backend) -> Result<Self, Failure> {
        let client = Client::new(&format!("backends.{name}"), backend.timeout, backend.concurrency)?;
        Ok(Self { client, blueprint: Blueprint::new(name, http), reader: Reader::new(http) })
    }

    async fn call(&self, part: &Part<'_>) -> Result<SendReceipt, SendError> {
        let answer = self.client.call(self.blueprint.request(part)?).await?;
        self.reader.read(&answer)
    }
}

impl Engine for HttpEngine {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::for_each_identity(message)
    }

    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.call(part).boxed()
    }
}

#[cfg(test)]
mod tests;
