//! The `http` engine: calls any HTTP API, as the configuration describes it. One call an identity.
//!
//! [`Blueprint`] makes the request (pure), [`answer::read`] reads the answer (pure), [`HttpEngine`] does the call between.

mod answer;

mod blueprint;

use futures_util::{FutureExt, future::BoxFuture};
use shared::{
    config::{
        Backend,
        backends::{Http, http::Answers},
    },
    lifecycle::Failure,
    message::{BackendName, OutgoingMessage},
};

use self::blueprint::Blueprint;
use super::{Engine, Part, SendError, SendReceipt, calls::Calls, client::Client};

/// The engine of one backend, with its own pool of connections.
pub struct HttpEngine {
    client: Client,
    blueprint: Blueprint,
    answers: Answers,
}

impl HttpEngine {
    /// The engine that `http` describes.
    pub fn new(name: &BackendName, http: &Http, backend: &Backend, calls: &Calls) -> Result<Self, Failure> {
        let client = Client::of(name, backend, calls)?;
        Ok(Self { client, blueprint: Blueprint::new(name, http), answers: http.answers.clone() })
    }

    async fn call(&self, part: &Part<'_>) -> Result<SendReceipt, SendError> {
        let answer = self.client.call(self.blueprint.request(part)?).await?;
        answer::read(&self.answers, &answer)
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
mod recipes;

#[cfg(test)]
mod tests;
