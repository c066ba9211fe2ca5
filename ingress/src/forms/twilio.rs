//! The `twilio` form: what Twilio, and whoever is compatible with it, posts for each message.
//!
//! <https://www.twilio.com/docs/messaging/guides/webhook-request>. The answer is a document without instructions.

use axum::http::Method;
use shared::{
    config::{Config, Endpoint},
    message::EXTERNAL_ID,
};

use super::{Answer, Form, Reading, fields::Fields, params::Params};
use crate::{refusal::Problem, request::Request};

static METHODS: [Method; 1] = [Method::POST];

const NO_INSTRUCTIONS: &str = r#"<?xml version="1.0" encoding="UTF-8"?><Response/>"#;

/// Older names of the message's id, for who does not send the newer one.
const OLD_IDS: [&str; 2] = ["SmsSid", "SmsMessageSid"];

/// The form of one endpoint.
pub struct TwilioForm {
    charset: &'static encoding_rs::Encoding,
    fields: Fields,
    /// A message that has pictures needs no text.
    fields_with_media: Fields,
    answer: Answer,
}

impl TwilioForm {
    /// The form that `endpoint` describes.
    #[must_use]
    pub fn new(endpoint: &Endpoint, config: &Config) -> Self {
        let fields = Fields::new(endpoint, config);
        Self {
            charset: endpoint.charset,
            fields_with_media: fields.clone().with_blank_text(),
            fields,
            answer: Answer::ok("text/xml", NO_INSTRUCTIONS),
        }
    }

    fn has_media(&self, params: &Params<'_>) -> bool {
        let count = params.raw(self.fields.parameter("NumMedia")).unwrap_or_default();
        str::from_utf8(&count).is_ok_and(|count| count.trim().parse::<u32>().is_ok_and(|count| count > 0))
    }
}

impl Form for TwilioForm {
    fn methods(&self) -> &[Method] {
        &METHODS
    }

    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        Params::body(request, self.charset, false)
    }

    fn read(&self, params: Params<'_>) -> Result<Reading, Vec<Problem>> {
        let fields = if self.has_media(&params) { &self.fields_with_media } else { &self.fields };
        let mut reading = fields.read(&params)?;
        let old_id = OLD_IDS.iter().find_map(|name| reading.fields.get(*name)).cloned();
        if let (None, Some(id)) = (reading.external_id(), old_id) {
            reading.fields.insert(EXTERNAL_ID.to_owned(), id);
        }
        Ok(reading)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
