//! The `kannel` form: the GET that Kannel's smsbox makes for each message, by its `get-url`.
//!
//! A text is bytes in the charset that Kannel names beside it (`%C`), and UTF-16BE whenever its coding (`%c`) is 2. The
//! answer is empty: Kannel would send any other one to the person.

mod charset;

use axum::http::Method;
use encoding_rs::{Encoding, UTF_16BE};
use shared::config::{Config, Endpoint};

use super::{Answer, Form, Reading, fields::Fields, params::Params};
use crate::{refusal::Problem, request::Request};

static METHODS: [Method; 1] = [Method::GET];

/// `%c` of a text with characters beyond the GSM alphabet.
const UCS2: &[u8] = b"2";

/// What Kannel calls bytes in no charset that it knows of, in all its versions.
const UNNAMED: [&str; 4] = ["", "8-BIT", "GSM", "binary"];

/// The form of one endpoint.
pub struct KannelForm {
    charset: &'static Encoding,
    fields: Fields,
    answer: Answer,
}

impl KannelForm {
    /// The form that `endpoint` describes.
    #[must_use]
    pub fn new(endpoint: &Endpoint, config: &Config) -> Self {
        let answer = Answer::empty();
        Self { charset: endpoint.charset, fields: Fields::new(endpoint, config), answer }
    }

    /// The charset of the text.
    fn charset_of(&self, params: &Params<'_>) -> Result<&'static Encoding, Problem> {
        let (coding, charset) = (self.fields.parameter("coding"), self.fields.parameter("charset"));
        if params.raw(coding).is_some_and(|coding| coding.trim_ascii() == UCS2) {
            return Ok(UTF_16BE);
        }
        let named = params.text(charset).map_err(|rule| Problem::new(charset, rule))?;
        match named.as_deref().map_or("", str::trim) {
            name if UNNAMED.iter().any(|unnamed| name.eq_ignore_ascii_case(unnamed)) => Ok(self.charset),
            name => charset::named(name).ok_or_else(|| Problem::new(charset, "this charset is not known")),
        }
    }
}

impl Form for KannelForm {
    fn methods(&self) -> &[Method] {
        &METHODS
    }

    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        Params::urlencoded(request.query().as_bytes(), self.charset)
    }

    fn read(&self, mut params: Params<'_>) -> Result<Reading, Vec<Problem>> {
        let charset = self.charset_of(&params).map_err(|problem| vec![problem])?;
        params.set_charset(self.fields.parameter("text"), charset);
        self.fields.read(&params)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
