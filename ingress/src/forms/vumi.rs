//! The `vumi` form: the JSON document that Vumi's RapidSMS relay posts for each message, and for the end of a session.
//!
//! Read whatever the `Content-Type`: the relay sends none.

use axum::http::Method;
use shared::{
    config::{Config, Endpoint},
    message::EXTERNAL_ID,
};

use super::{Answer, Form, Reading, fields::Fields, params::Params};
use crate::{refusal::Problem, request::Request};

static METHODS: [Method; 1] = [Method::POST];

/// What `session_event` says of the last message of a session: the person has hung up.
const CLOSE: &str = "close";

/// The form of one endpoint.
pub struct VumiForm {
    fields: Fields,
    answer: Answer,
}

impl VumiForm {
    /// The form that `endpoint` describes.
    #[must_use]
    pub fn new(endpoint: &Endpoint, config: &Config) -> Self {
        Self { fields: Fields::new(endpoint, config), answer: Answer::empty() }
    }
}

impl Form for VumiForm {
    fn methods(&self) -> &[Method] {
        &METHODS
    }

    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        Params::json_object(request)
    }

    fn read(&self, params: Params<'_>) -> Result<Reading, Vec<Problem>> {
        let mut reading = self.fields.read(&params)?;
        reading.no_reply = reading.fields.get("session_event").is_some_and(|event| event == CLOSE);
        // Apps that were written for RapidSMS find these by Vumi's names too.
        let message_id = reading.fields.get(EXTERNAL_ID).cloned().unwrap_or_default();
        let same = [
            ("from_addr", reading.identity.clone()),
            ("content", reading.text.clone()),
            ("message_id", message_id),
        ];
        reading.fields.extend(same.map(|(name, value)| (name.to_owned(), value)));
        Ok(reading)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
