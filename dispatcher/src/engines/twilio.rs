//! The `twilio` engine: Twilio's Messages API, and the APIs that are compatible. One call an identity.

mod answer;

use futures_util::{FutureExt, future::BoxFuture};
use reqwest::{
    Method, Request,
    header::{AUTHORIZATION, HeaderValue},
};
use shared::{
    config::{
        Backend, Reports,
        backends::{Twilio, twilio::Sender},
    },
    lifecycle::Failure,
    message::{BackendName, OutgoingMessage},
};
use url::{Url, form_urlencoded};

use super::{
    Engine, Part, SendError, SendReceipt,
    calls::Calls,
    client::Client,
    request::{FORM, authorization, set_body},
};

/// The longest text that Twilio takes, in characters (its error 21617).
const LONGEST: usize = 1600;

/// The engine of one backend, with its own pool of connections.
pub struct TwilioEngine {
    client: Client,
    blueprint: Blueprint,
}

impl TwilioEngine {
    /// The engine that `twilio` describes.
    pub fn new(
        name: &BackendName,
        twilio: &Twilio,
        backend: &Backend,
        calls: &Calls,
        reports: Option<&Reports>,
    ) -> Result<Self, Failure> {
        let client = Client::of(name, backend, calls)?;
        Ok(Self { client, blueprint: Blueprint::new(twilio, reports) })
    }

    async fn call(&self, part: &Part<'_>) -> Result<SendReceipt, SendError> {
        let answer = self.client.call(self.blueprint.request(part)?).await?;
        answer::read(&answer)
    }
}

impl Engine for TwilioEngine {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::for_each_identity(message)
    }

    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.call(part).boxed()
    }
}

/// How requests are made. Pure.
struct Blueprint {
    url: Url,
    sender: Sender,
    basic: Option<HeaderValue>,
    /// Where Twilio shall report, if it shall.
    callback: Option<Url>,
}

impl Blueprint {
    fn new(twilio: &Twilio, reports: Option<&Reports>) -> Self {
        let base = twilio.status_callback.as_ref();
        Self {
            callback: reports.zip(base).map(|(reports, base)| reports.callback(base)),
            url: twilio.url.get().clone(),
            sender: twilio.sender.clone(),
            basic: authorization(&twilio.basic),
        }
    }

    /// The request for `part`.
    fn request(&self, part: &Part<'_>) -> Result<Request, SendError> {
        let length = part.text.chars().count();
        if length > LONGEST {
            let reason = format!("the text has {length} characters, and Twilio takes {LONGEST} at most");
            return Err(SendError::Rejected { reason, answer: String::new() });
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        for identity in part.identities() {
            form.append_pair("To", identity.as_str());
        }
        match &self.sender {
            Sender::From(from) => form.append_pair("From", from),
            Sender::MessagingService(sid) => form.append_pair("MessagingServiceSid", sid),
        };
        form.append_pair("Body", &part.text);
        if let Some(mut callback) = self.callback.clone() {
            callback.query_pairs_mut().append_pair("message_id", &part.reference().to_string());
            form.append_pair("StatusCallback", callback.as_str());
        }
        let mut request = Request::new(Method::POST, self.url.clone());
        set_body(&mut request, FORM, form.finish());
        if let Some(basic) = &self.basic {
            request.headers_mut().insert(AUTHORIZATION, basic.clone());
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests;
