//! Endpoints and requests for the tests of the forms, and of who may post.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use proptest::prelude::*;
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

/// A message of every form, as it stands in a query or a body.
const MESSAGES: [&[u8]; 4] = [
    b"identity=1&text=h%C3%A9&From=1&Body=x&NumMedia=1&MessageSid=SM1",
    b"id=%2B1&text=%D8%3D%DE%00&coding=2&charset=UTF-16BE&sms_id=a&key=t",
    br#"{"from_addr":"1","content":"\ud83d\ude00","message_id":7,"to_addr":2,"transport_name":3,"transport_type":4}"#,
    b"--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nx\r\n--X\r\n\
      Content-Disposition: form-data; name=\"identity\"\r\nContent-Type: a/b; charset=utf-8\r\n\r\n1\r\n--X--\r\n",
];

/// What means something in one of them.
const PIECES: [&[u8]; 12] =
    [b"&", b"=", b"%", b"%00", b"+", b"\"", b"\\", b"{", b"]", b",", b"--X\r\n", b"\r\n\r\n"];

/// Any bytes, and messages into which some have got: the forms find something in them.
pub(crate) fn content() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |length| prop::collection::vec(any::<u8>(), 0..length);
    let wrong = prop_oneof![prop::sample::select(&PIECES[..]).prop_map(<[u8]>::to_vec), bytes(6)];
    let wrongs = prop::collection::vec((any::<prop::sample::Index>(), wrong), 0..4);
    let message = (prop::sample::select(&MESSAGES[..]), wrongs).prop_map(|(message, wrongs)| {
        wrongs.into_iter().fold(message.to_vec(), |mut message, (place, wrong)| {
            let place = place.index(message.len());
            message.splice(place..place, wrong);
            message
        })
    });
    prop_oneof![1 => bytes(300), 3 => message]
}
