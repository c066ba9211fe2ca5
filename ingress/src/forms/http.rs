//! The `http` form: parameters in the URL of a GET, or in the urlencoded or multipart body of a POST.
//!
//! RapidSMS's `GenericHttpBackendView`, with its bugs fixed: charsets are decoded, never guessed, and a refusal says why.

use axum::http::Method;
use shared::config::{
    Config, Endpoint,
    auth::Auth,
    endpoints::{self, HttpMethod},
};

use super::{
    Answer, Form, Reading,
    fields::{Fields, Limits},
    params::Params,
};
use crate::{auth, refusal::Refusal, request::Request};

/// The form of one endpoint.
pub struct HttpForm {
    methods: Vec<Method>,
    auth: Auth,
    charset: &'static encoding_rs::Encoding,
    fields: Fields,
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
        let method = |method: &HttpMethod| match method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
        };
        Self {
            methods: methods.iter().map(method).collect(),
            auth: endpoint.auth.clone(),
            charset: endpoint.charset,
            fields: Fields::new(endpoint, Limits::of(config)),
            answer: Answer {
                status: answer.status,
                content_type: answer.content_type.clone(),
                body: answer.body.clone(),
            },
        }
    }
}

impl Form for HttpForm {
    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn read(&self, request: &Request) -> Result<Reading, Refusal> {
        let params = if request.method == Method::GET {
            Params::urlencoded(request.query.as_bytes(), self.charset)
        } else {
            Params::body(request.header("content-type"), &request.body, self.charset)
        };
        let params = params.map_err(|problem| Refusal::Invalid(vec![problem]))?;
        auth::check_parameters(&self.auth, &params)?;
        self.fields.read(&params).map_err(Refusal::Invalid)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
