//! No bytes make the service panic, hang, or take what is no message: through every form, and past every kind of `auth`.

use std::{collections::BTreeSet, mem::take};

use axum::http::{HeaderMap, Method};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use proptest::prelude::*;
use sha1::Sha1;
use sha2::Sha256;

use super::*;
use crate::forms::{
    params::Params,
    testing::{URLENCODED, content},
};

/// Endpoints of every form, without `auth` and behind each kind of it.
const ENDPOINTS: &str = r#"
[ingress]
max_body_bytes = 1000
max_text_length = 100
[[endpoints]]
backend = "b"
path = "/http"
allow_blank = true
[endpoints.fields]
n = { integer = true }
[[endpoints]]
backend = "b"
path = "/json"
params = { identity = "/from_addr", text = "/content", external_id = "/message_id" }
[[endpoints]]
backend = "b"
path = "/kannel"
form = "kannel"
[[endpoints]]
backend = "b"
path = "/vumi"
form = "vumi"
[[endpoints]]
backend = "b"
path = "/twilio"
form = "twilio"
[[endpoints]]
backend = "b"
path = "/basic"
auth = { basic = { user = "u", password = "p" }, allow_ips = ["127.0.0.0/8"] }
[[endpoints]]
backend = "b"
path = "/header"
form = "vumi"
auth = { token = { header = "X-Token", value = "t" } }
[[endpoints]]
backend = "b"
path = "/parameter"
form = "kannel"
auth = { token = { parameter = "key", value = "t" } }
[[endpoints]]
backend = "b"
path = "/hmac"
auth = { hmac = { header = "X-Signature", secret = "s" } }
[[endpoints]]
backend = "b"
path = "/timed"
form = "vumi"
auth = { hmac = { header = "X-Signature", secret = "s", tolerance = "5m" } }
[[endpoints]]
backend = "b"
path = "/twilio/signed"
form = "twilio"
auth = { twilio = { auth_token = "s", public_url = "https://h" } }
[[endpoints]]
backend = "b"
path = "/http/twilio"
auth = { twilio = { auth_token = "s", public_url = "https://h" } }
"#;

/// Those whose requests are signed, and others.
const SIGNED: [&str; 4] = ["/hmac", "/timed", "/twilio/signed", "/http/twilio"];

const OTHERS: [&str; 10] =
    ["/http", "/json", "/kannel", "/vumi", "/twilio", "/basic", "/header", "/parameter", "/", "/nowhere"];

const TYPES: [&str; 8] = [
    URLENCODED,
    "application/x-www-form-urlencoded; charset=utf-16be",
    "multipart/form-data; boundary=X",
    "multipart/form-data",
    "application/json",
    "application/x+json; charset=\"iso-8859-1\"",
    "text/plain",
    "",
];

/// The headers that something is read from, and what may be in them.
const HEADERS: [&str; 5] = ["authorization", "x-token", "x-signature", "x-twilio-signature", "traceparent"];

const VALUES: [&str; 5] =
    ["Basic dTpw", "t", "Basic =", "t=1,v1=00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"];

/// What has no place in a URL. The escapes that a client writes stay as they are.
const ESCAPED: AsciiSet = CONTROLS.add(b' ').add(b'#').add(b'"').add(b'<').add(b'>');

thread_local! {
    /// One for each test, of which each has a thread.
    static SERVICE: Service = Service::with(ENDPOINTS, Recorder::default());
}

/// The status of the answer to `request`. What is published is a message for a success, and nothing for a refusal.
fn answered(request: Request) -> u16 {
    let Request { method, uri, headers, body, .. } = request;
    let mut request = HttpRequest::new(Body::from(body));
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9))));
    // Nothing is waited for, but the reading of a body has a clock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (response, published) = SERVICE.with(|service| {
        let response = runtime.block_on(service.router.clone().oneshot(request)).unwrap();
        (response, take(&mut *service.queue.published.lock().unwrap()))
    });
    let status = response.status().as_u16();
    assert_eq!(published.len(), usize::from(status == 200), "{status}");
    for message in published {
        let message: IncomingMessage = envelope::decode(&message.body).unwrap();
        assert!(!message.identity.as_str().is_empty() && !message.text.contains('\0'));
    }
    status
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    let any = prop::collection::vec(any::<u8>(), 0..60)
        .prop_filter_map("no header", |bytes| HeaderValue::from_bytes(&bytes).ok());
    prop_oneof![any, prop::sample::select(&VALUES[..]).prop_map(HeaderValue::from_static)]
}

prop_compose! {
    fn request(paths: &'static [&'static str], methods: &'static [Method])(
        method in prop::sample::select(methods),
        path in prop::sample::select(paths),
        query in content(),
        kind in prop::sample::select(&TYPES[..]),
        more in prop::collection::vec((prop::sample::select(&HEADERS[..]), header_value()), 0..4),
        body in content(),
        times in prop_oneof![9 => Just(1), 1 => Just(50)],
    ) -> Request {
        let kind = [("content-type", HeaderValue::from_static(kind))].into_iter();
        let headers = kind.chain(more).map(|(name, value)| (name.parse().unwrap(), value));
        Request {
            method,
            uri: format!("{path}?{}", percent_encode(&query, &ESCAPED)).parse().unwrap(),
            headers: headers.collect::<HeaderMap>(),
            body: body.repeat(times).into(),
            peer: [127, 0, 0, 1].into(),
            at: clock::now(),
        }
    }
}

fn signature<M: Mac + KeyInit>(pieces: &[&[u8]]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(b"s").unwrap();
    for piece in pieces {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

/// `request` with the signature of somebody who knows the secret.
fn signed(mut request: Request) -> Request {
    let (name, value) = match request.uri.path() {
        "/hmac" => ("x-signature", hex::encode(signature::<Hmac<Sha256>>(&[request.content()]))),
        "/timed" => {
            let time = request.at.seconds().to_string();
            let signature = signature::<Hmac<Sha256>>(&[time.as_bytes(), b".", request.content()]);
            ("x-signature", format!("t={time},v1={}", hex::encode(signature)))
        }
        _ => {
            let params = Params::body(&request, encoding_rs::UTF_8, false).ok();
            let params = params.filter(|_| request.method == Method::POST);
            let pairs: BTreeSet<_> = params.iter().flat_map(Params::pairs).collect();
            let target = request.uri.to_string();
            let mut content = vec![&b"https://h"[..], target.as_bytes()];
            content.extend(pairs.iter().flat_map(|(name, value)| [*name, *value]));
            ("x-twilio-signature", BASE64_STANDARD.encode(signature::<Hmac<Sha1>>(&content)))
        }
    };
    request.headers.insert(name, HeaderValue::from_str(&value).unwrap());
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn no_request_panics_or_is_taken_for_what_it_is_not(
        request in prop_oneof![
            3 => request(&OTHERS, &[Method::GET, Method::POST, Method::HEAD]),
            1 => request(&SIGNED, &[Method::GET, Method::POST]),
        ],
    ) {
        let is_signed = SIGNED.contains(&request.uri.path());
        let status = answered(request);
        prop_assert!([200, 400, 401, 403, 404, 405, 413].contains(&status), "{}", status);
        prop_assert!(!is_signed || status != 200, "by chance");
    }

    #[test]
    fn nothing_that_is_signed_panics_and_its_signature_is_right(
        request in request(&SIGNED, &[Method::GET, Method::POST]).prop_map(signed),
    ) {
        // Twilio signs parameters: without any that can be read there is nothing to compare.
        let is_of_twilio = !["/hmac", "/timed"].contains(&request.uri.path());
        let is_unreadable = is_of_twilio && Params::body(&request, encoding_rs::UTF_8, false).is_err();
        let status = answered(request);
        prop_assert!([200, 400, 405, 413].contains(&status) || is_unreadable && status == 403, "{}", status);
    }
}
