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
    /// Where the identity of a second message would be.
    next_identity: Option<String>,
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
            next_identity: next(fields.parameter("identity")),
            fields,
            answer: Answer::of(answer),
        }
    }
}

/// The pointer to the element that follows, where `pointer` goes through an array.
fn next(pointer: &str) -> Option<String> {
    let mut tokens: Vec<String> = pointer.strip_prefix('/')?.split('/').map(str::to_owned).collect();
    let place = |(at, token): (usize, &String)| Some((at, token.parse::<u32>().ok()?));
    let (at, place) = tokens.iter().enumerate().rev().find_map(place)?;
    tokens[at] = (u64::from(place) + 1).to_string();
    Some(format!("/{}", tokens.join("/")))
}

impl Form for HttpForm {
    fn methods(&self) -> &[Method] {
        &self.methods
    }

    fn params(&self, request: &Request) -> Result<Params, Problem> {
        if request.method == Method::GET {
            Params::urlencoded(request.query().as_bytes(), self.charset)
        } else {
            Params::body(request, self.charset, self.takes_json)
        }
    }

    fn read(&self, params: Params) -> Result<Reading, Vec<Problem>> {
        if let Some(next) = &self.next_identity
            && params.raw(next).is_some()
        {
            // Taking the first one only would lose the others.
            return Err(vec![Problem::new(next, "a second message: one request is wanted for each")]);
        }
        self.fields.read(&params)
    }

    fn answer(&self) -> &Answer {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
