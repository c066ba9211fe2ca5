//! The `kannel` engine: a GET of smsbox's `sendsms`, as in Kannel's user guide, "Using the HTTP interface to send SMS messages".
//!
//! Kannel answers a call to many numbers with what became of the first one only, and is silent about the others: with its own
//! `1.4.5`, a number that it does not route, or has on a black list, is lost behind a 202. Therefore each identity has a
//! call of its own unless `batch` is configured.

mod answer;

mod encoding;

use futures_util::{FutureExt, future::BoxFuture};
use percent_encoding::percent_encode;
use reqwest::{Method, Request};
use secrecy::ExposeSecret;
use shared::{
    config::{Backend, Reports, backends::Kannel},
    lifecycle::Failure,
    message::{BackendName, Identity, OutgoingMessage},
    text::Alphabet,
};
use url::Url;

use self::encoding::{Encoding, Wire};
use super::{Engine, Part, SendError, SendReceipt, calls::Calls, client::Client, request::IN_URL};

/// Every report that there is: delivered 1, failed 2, buffered 4, handed over 8, refused 16.
const DLR_MASK: &[u8] = b"31";

/// What each report tells, beside our name of the part: all that RapidSMS's URL has, for who reads Kannel's log beside it.
const REPORT_VALUES: &str = "&status=%d&status_text=%A&smsc=%i&sms_id=%I&date_sent=%t&identity=%p";

/// The engine of one backend, with its own pool of connections.
pub struct KannelEngine {
    client: Client,
    blueprint: Blueprint,
}

impl KannelEngine {
    /// The engine that `kannel` describes.
    pub fn new(
        name: &BackendName,
        kannel: &Kannel,
        backend: &Backend,
        calls: &Calls,
        reports: Option<&Reports>,
    ) -> Result<Self, Failure> {
        let client = Client::of(name, backend, calls)?;
        Ok(Self { client, blueprint: Blueprint::new(kannel, reports) })
    }

    async fn call(&self, part: &Part<'_>) -> Result<SendReceipt, SendError> {
        let answer = self.client.call(self.blueprint.request(part)?).await?;
        answer::read(&answer, part)
    }
}

impl Engine for KannelEngine {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        self.blueprint.plan(message)
    }

    fn alphabet(&self, text: &str) -> Result<Alphabet, SendError> {
        self.blueprint.encoding.alphabet(text)
    }

    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.call(part).boxed()
    }
}

/// How requests are made. Pure.
struct Blueprint {
    kannel: Kannel,
    encoding: Encoding,
    /// Where Kannel shall report, if it shall.
    callback: Option<Url>,
}

impl Blueprint {
    fn new(kannel: &Kannel, reports: Option<&Reports>) -> Self {
        let base = kannel.delivery_report_url.as_ref();
        Self {
            kannel: kannel.clone(),
            encoding: Encoding::new(kannel.coding, kannel.charset.clone()),
            callback: reports.zip(base).map(|(reports, base)| reports.callback(base)),
        }
    }

    /// One that Kannel cannot be told is alone in its part, so that it takes no other along.
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        if message.identities.iter().all(can_be_told) {
            Part::batches(message, self.kannel.batch)
        } else {
            Part::for_each_identity(message)
        }
    }

    /// The request for `part`, its parameters in the order of `RapidSMS`.
    fn request(&self, part: &Part<'_>) -> Result<Request, SendError> {
        if !part.identities().all(can_be_told) {
            let reason =
                "Kannel would take a space in a number for the end of it, and an empty number for none";
            return Err(SendError::Rejected { reason: reason.to_owned(), answer: String::new() });
        }
        let to: Vec<&str> = part.identities().map(Identity::as_str).collect();
        let Wire { bytes, coding, charset } = self.encoding.encode(&part.text)?;
        let mut url = self.kannel.url.get().clone();
        let mut query = Query(url.query().map(str::to_owned).unwrap_or_default());
        for (name, value) in &self.kannel.params {
            query.push(name, value.expose_secret().as_bytes());
        }
        query.push("to", to.join(" ").as_bytes());
        query.push("text", &bytes);
        if let Some(coding) = coding {
            query.push("coding", (coding as u8).to_string().as_bytes());
        }
        if let Some(charset) = charset {
            query.push("charset", charset.as_bytes());
        }
        if let Some(callback) = &self.callback {
            query.push("dlr-mask", DLR_MASK);
            query.push("dlr-url", report_url(callback, part).as_bytes());
        }
        url.set_query(Some(&query.0));
        Ok(Request::new(Method::GET, url))
    }
}

/// The URL that Kannel calls with each report: as in `RapidSMS`, Kannel puts its own values for what begins with `%`.
fn report_url(callback: &Url, part: &Part<'_>) -> String {
    let own = callback.as_str().replace('%', "%%");
    let begin = if callback.query().is_some() { '&' } else { '?' };
    format!("{own}{begin}message_id={}{REPORT_VALUES}", part.reference())
}

/// Kannel separates numbers by white space.
fn can_be_told(identity: &Identity) -> bool {
    !identity.as_str().is_empty() && !identity.as_str().contains(char::is_whitespace)
}

/// Parameters in a URL, encoded as Python does it.
struct Query(String);

impl Query {
    fn push(&mut self, name: &str, value: &[u8]) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        for (bytes, after) in [(name.as_bytes(), "="), (value, "")] {
            self.0.push_str(&percent_encode(bytes, IN_URL).to_string().replace("%20", "+"));
            self.0.push_str(after);
        }
    }
}

#[cfg(test)]
mod tests;
