//! The `vumi` engine: a POST to the `RapidSMS` relay of a Vumi, which passes it on to each address and lists what it passed.
//!
//! A reply names the message that it answers, so that it goes into the same session. The relay forgets messages after
//! `vumi_reply_timeout` (10 minutes) and then refuses to answer them: a part that it refuses is sent once more without that name, as
//! a message of its own, within the same call and its time.

mod answer;

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{
    Method, Request,
    header::{AUTHORIZATION, HeaderValue},
};
use serde_json::{Map, Value, json};
use shared::{
    config::{Backend, backends::Vumi},
    lifecycle::Failure,
    message::{BackendName, Identity, MAX_IDENTITIES, OutgoingMessage},
};
use tokio::time::Instant;
use url::Url;

use super::{
    Engine, Part, SendError, SendReceipt,
    calls::Calls,
    client::Client,
    request::{JSON, authorization, set_body},
};

/// The most that is read of an answer, which repeats the text for each address.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The engine of one backend, with its own pool of connections.
pub struct VumiEngine {
    client: Client,
    blueprint: Blueprint,
    timeout: Duration,
    /// How many identities one call has at most: a `rate` counts them, so each has its own.
    batch: usize,
}

impl VumiEngine {
    /// The engine that `vumi` describes.
    pub fn new(name: &BackendName, vumi: &Vumi, backend: &Backend, calls: &Calls) -> Result<Self, Failure> {
        let client = Client::of(name, backend, calls)?;
        let batch = if backend.rate.is_some() { 1 } else { MAX_IDENTITIES };
        let client = client.reading(MAX_ANSWER_BYTES);
        Ok(Self { client, blueprint: Blueprint::new(vumi), timeout: backend.timeout, batch })
    }

    async fn call(&self, part: &Part<'_>) -> Result<SendReceipt, SendError> {
        let begun = Instant::now();
        let original = original(part);
        let mut answer = self.client.call(self.blueprint.request(part, original)).await?;
        if original.is_some() && answer.status == 400 {
            let left = self.timeout.saturating_sub(begun.elapsed());
            answer = self.client.call_within(left, self.blueprint.request(part, None)).await?;
        }
        answer::read(&answer, part)
    }
}

impl Engine for VumiEngine {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::batches(message, self.batch)
    }

    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.call(part).boxed()
    }
}

/// Vumi's id of the message that `part` answers, which the relay knows only as an answer to its sender, and to nobody else.
fn original<'m>(part: &Part<'m>) -> Option<&'m str> {
    let fields = &part.message.fields;
    let sender = fields.get("from_addr").map(String::as_str);
    let only_to_sender = part.identities().map(Identity::as_str).eq(sender);
    fields.get("external_id").filter(|_| only_to_sender).map(String::as_str)
}

/// How requests are made. Pure.
struct Blueprint {
    url: Url,
    params: Map<String, Value>,
    basic: Option<HeaderValue>,
}

impl Blueprint {
    fn new(vumi: &Vumi) -> Self {
        Self {
            url: vumi.url.get().clone(),
            params: vumi.params.0.clone(),
            basic: vumi.basic.as_ref().and_then(authorization),
        }
    }

    /// The request for `part`, as an answer to `original` or a message of its own.
    fn request(&self, part: &Part<'_>, original: Option<&str>) -> Request {
        let mut body = self.params.clone();
        let to: Vec<&str> = part.identities().map(Identity::as_str).collect();
        body.insert("content".to_owned(), json!(&*part.text));
        body.insert("to_addr".to_owned(), json!(to));
        body.insert("session_event".to_owned(), Value::Null);
        body.insert("metadata".to_owned(), json!({ "rapidsms_msg_id": part.message.id }));
        if let Some(original) = original {
            body.insert("in_reply_to".to_owned(), json!(original));
        }
        let mut request = Request::new(Method::POST, self.url.clone());
        set_body(&mut request, JSON, Value::Object(body).to_string());
        if let Some(basic) = &self.basic {
            request.headers_mut().insert(AUTHORIZATION, basic.clone());
        }
        request
    }
}

#[cfg(test)]
mod tests;
