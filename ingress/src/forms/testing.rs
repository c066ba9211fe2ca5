//! Endpoints and requests for the tests of the forms, and of who may post.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use shared::{clock::UnixMillis, config::auth::Auth};

use super::*;
use crate::refusal::Refusal;

pub(crate) const URLENCODED: &str = "application/x-www-form-urlencoded";

fn configured(keys: &str) -> Config {
    let text = format!(
        "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n{keys}"
    );
    Config::parse("test", &text, &BTreeMap::new()).unwrap()
}

/// The form of an endpoint with these keys.
pub(crate) fn form(keys: &str) -> Box<dyn Form> {
    let config = configured(keys);
    build(&config.endpoints[0], &config)
}

/// The `auth` of an endpoint, as it is written.
pub(crate) fn auth(written: &str) -> Auth {
    configured(&format!("auth = {written}\n")).endpoints[0].auth.clone()
}

pub(crate) fn get(query: &str) -> Request {
    Request {
        method: Method::GET,
        uri: format!("/in/b?{query}").parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        peer: [10, 1, 2, 3].into(),
        at: UnixMillis(1_790_000_000_123),
    }
}

pub(crate) fn post(content_type: &str, body: impl AsRef<[u8]>) -> Request {
    let request = Request {
        method: Method::POST,
        body: Bytes::copy_from_slice(body.as_ref()),
        ..get("identity=query&text=query")
    };
    with(request, "content-type", content_type)
}

/// `request` with one more header.
pub(crate) fn with(mut request: Request, name: &str, value: &str) -> Request {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    request.headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    request
}

/// What `form` reads, without asking who has sent it.
pub(crate) fn read(form: &dyn Form, request: &Request) -> Result<Reading, Refusal> {
    let params = form.params(request).map_err(|problem| Refusal::Invalid(vec![problem]))?;
    form.read(params).map_err(Refusal::Invalid)
}

/// The lines of a refusal.
pub(crate) fn lines(refused: Result<Reading, Refusal>) -> Vec<String> {
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.status(), 400);
    refusal.body().lines().map(str::to_owned).collect()
}

/// `fields` of a reading.
pub(crate) fn fields(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
