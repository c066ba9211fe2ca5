//! The `http` form: parameters in the URL of a GET, or in the urlencoded or multipart body of a POST, or in its JSON.
//!
//! RapidSMS's `GenericHttpBackendView`, with its bugs fixed: charsets are decoded, never guessed; a refusal says why.

use axum::http::Method;
use shared::config::{
    Config, Endpoint,
    endpoints::{self, HttpMethod},
};

use super::{Answer, Form, Reading, fields::Fields, method, params::Params};
use crate::{refusal::Problem, request::Request};

/// The form of one endpoint.
pub struct HttpForm {
    methods: Vec<Method>,
    charset: &'static encoding_rs::Encoding,
    fields: Fields,
    takes_json: bool,
    answer: Answer,
}

impl HttpForm {
    /// The form that `endpoint` describes.
    #[must_use]
    pub fn new(
        endpoint: &Endpoint,
        methods: &[HttpMethod],
        answer: &endpoints::Answer,
        config: &Config,
    ) -> Self {
        let fields = Fields::new(endpoint, config);
        Self {
            methods: methods.iter().copied().map(method).collect(),
            charset: endpoint.charset,
            takes_json: fields.are_in_json(),
            fields,
            answer: Answer::of(answer),
        }
    }
}

impl Form for HttpForm {
    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        if request.method == Method::GET {
            Params::urlencoded(request.query().as_bytes(), self.charset)
        } else {
            Params::body(request, self.charset, self.takes_json)
        }
    }

    fn read(&self, params: Params<'_>) -> Result<Reading, Vec<Problem>> {
        self.fields.read(&params)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
