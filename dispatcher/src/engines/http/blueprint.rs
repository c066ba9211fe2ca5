//! Makes the provider's request from the configuration's templates. Pure; every value is encoded for where it stands.

use std::borrow::Cow;

use percent_encoding::utf8_percent_encode;
use reqwest::{
    Method, Request,
    header::{AUTHORIZATION, HeaderName, HeaderValue},
};
use serde_json::Value;
use shared::{
    config::backends::http::{self, Content, Http, JsonTemplate},
    message::BackendName,
    template::Template,
};
use url::{Url, form_urlencoded};

use super::super::{
    Part, SendError,
    request::{FORM, IN_URL, JSON, authorization, set_body},
};

/// The header that tells a repeat from a new message, for providers that know it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How requests are made.
pub(super) struct Blueprint {
    backend: String,
    method: Method,
    url: Template,
    /// The URL, when no value stands in it.
    fixed: Option<Url>,
    content: Content,
    headers: Vec<(String, Template)>,
    basic: Option<HeaderValue>,
}

impl Blueprint {
    pub(super) fn new(name: &BackendName, http: &Http) -> Self {
        let method = match http.method {
            http::Method::Get => Method::GET,
            http::Method::Post => Method::POST,
            http::Method::Put => Method::PUT,
        };
        Self {
            backend: name.to_string(),
            method,
            fixed: (http.url.names().next().is_none())
                .then(|| parse(&http.url.render(|_| None)).ok())
                .flatten(),
            url: http.url.clone(),
            content: http.content.clone(),
            headers: http.headers.clone(),
            basic: http.basic.as_ref().and_then(authorization),
        }
    }

    /// The request for `part`.
    pub(super) fn request(&self, part: &Part<'_>) -> Result<Request, SendError> {
        let id = part.id().to_string();
        let identity = part.identities().next().map_or("", |identity| identity.as_str());
        let value = |name: &str| match name {
            "identity" => Some(Cow::Borrowed(identity)),
            "text" => Some(Cow::Borrowed(part.text.as_ref())),
            "id" => Some(Cow::Borrowed(id.as_str())),
            "reference" => Some(Cow::Owned(part.reference().to_string())),
            "backend" => Some(Cow::Borrowed(self.backend.as_str())),
            _ => None,
        };
        let in_url =
            |name: &str| value(name).map(|value| utf8_percent_encode(&value, IN_URL).to_string().into());
        let mut url = match &self.fixed {
            Some(url) => url.clone(),
            None => parse(&self.url.render(in_url))?,
        };
        let body = match &self.content {
            Content::None => None,
            Content::Query(parameters) => {
                let mut pairs = url.query_pairs_mut();
                for (name, template) in parameters {
                    pairs.append_pair(name, &template.render(value));
                }
                None
            }
            Content::Form(parameters) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in parameters {
                    form.append_pair(name, &template.render(value));
                }
                Some((FORM, form.finish()))
            }
            Content::Json(template) => Some((JSON, render_json(template, &value).to_string())),
        };
        let mut request = Request::new(self.method.clone(), url);
        if let Some((content_type, body)) = body {
            set_body(&mut request, content_type, body);
        }
        if let Some(basic) = &self.basic {
            request.headers_mut().insert(AUTHORIZATION, basic.clone());
        }
        let key = HeaderValue::from_str(&id).map_err(|_| unusable("the id"))?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        for (name, template) in &self.headers {
            let unusable = || unusable(&format!("the header {name}"));
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unusable())?;
            let value = HeaderValue::from_bytes(template.render(value).as_bytes()).map_err(|_| unusable())?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }
}

fn parse(url: &str) -> Result<Url, SendError> {
    if has_dot_segment(url) {
        return Err(unusable("the path of the URL"));
    }
    Url::parse(url).map_err(|_| unusable("the URL"))
}

/// Whether a segment of the path is `.` or `..`, which would be resolved away, and a neighbour with it. No encoding
/// prevents that: `%2e` is taken for the same.
fn has_dot_segment(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or("").to_ascii_lowercase().replace("%2e", ".");
    path.split(['/', '\\']).any(|segment| matches!(segment, "." | ".."))
}

fn unusable(what: &str) -> SendError {
    let reason = format!("{what} cannot be made with this message's values");
    SendError::Rejected { reason, answer: String::new() }
}

fn render_json<'v>(template: &JsonTemplate, value: &impl Fn(&str) -> Option<Cow<'v, str>>) -> Value {
    match template {
        JsonTemplate::String(template) => Value::String(template.render(value)),
        JsonTemplate::Plain(plain) => plain.clone(),
        JsonTemplate::Array(items) => items.iter().map(|item| render_json(item, value)).collect(),
        JsonTemplate::Object(entries) => {
            entries.iter().map(|(name, item)| (name.clone(), render_json(item, value))).collect()
        }
    }
}

#[cfg(test)]
mod tests;
