//! The whole public service with a queue that records, or fails on purpose. No socket.

use std::collections::{BTreeMap, HashSet};

use axum::{
    Router,
    body::to_bytes,
    http::{Request as HttpRequest, header},
};
use futures_util::StreamExt;
use shared::{config::Config, envelope, queue::PublishError};
use tower::ServiceExt;

use super::*;
use crate::{
    body::tests::noted,
    publishing::{Publisher, tests::Recorder},
    routes,
};

mod golden;

mod any_bytes;

struct Service {
    router: Router,
    queue: Arc<Recorder>,
}

impl Service {
    fn new(queue: Recorder) -> Self {
        Self::with(
            "[ingress]\nmax_body_bytes = 100\n\
             [[endpoints]]\nbackend = 'b'\nparams = { identity = 'phone' }\n\
             [[endpoints]]\nbackend = 'b'\npath = '/silent'\nanswer = { status = 204 }\n\
             [[endpoints]]\nbackend = 'b'\npath = '/in/b'\nmethods = ['POST']\n\
             auth = { basic = { user = 'u', password = 'p' } }\n\
             [[endpoints]]\nbackend = 'b'\npath = '/vumi'\nform = 'vumi'\n",
            queue,
        )
    }

    /// A service with these endpoints of the backend `b`.
    fn with(endpoints: &str, queue: Recorder) -> Self {
        let keys = format!("[backends.b]\nengine = 'httptester'\n{endpoints}");
        Self::configured(&keys, &BTreeMap::new(), queue)
    }

    /// A service with this configuration.
    fn configured(keys: &str, environment: &BTreeMap<String, String>, queue: Recorder) -> Self {
        let text = format!("[queue]\nurl = 'embedded:x'\n{keys}");
        let config = Config::parse("test", &text, environment).unwrap_or_else(|error| panic!("{error}"));
        let queue = Arc::new(queue);
        let publisher = Publisher::new(Arc::clone(&queue) as _);
        Self { router: routes::router(&config, publisher), queue }
    }

    async fn send(&self, request: axum::http::request::Builder, body: &str) -> (Response, String) {
        self.send_body(request, Body::from(body.to_owned())).await
    }

    async fn send_body(&self, request: axum::http::request::Builder, body: Body) -> (Response, String) {
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        let request: HttpRequest<Body> = request.extension(peer).body(body).unwrap();
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (Response::from_parts(parts, Body::empty()), String::from_utf8(body.to_vec()).unwrap())
    }
}

fn post(path: &str) -> axum::http::request::Builder {
    HttpRequest::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
}

#[tokio::test]
async fn a_message_is_published_and_then_answered_with_ok() {
    let service = Service::new(Recorder::default());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = post("/backends/b/").header("traceparent", parent);
    let (response, body) = service.send(request, "phone=1&text=+echo+hello+").await;
    assert_eq!((response.status().as_u16(), body.as_str()), (200, "OK"));

    let published = service.queue.published.lock().unwrap();
    let [message] = &published[..] else { panic!("{published:?}") };
    assert_eq!((message.route.as_str(), &*message.kind), ("incoming.b", "incoming.v1"));
    assert_eq!(shared::trace::trace_id(&message.headers["traceparent"]), shared::trace::trace_id(parent));
    let incoming: IncomingMessage = envelope::decode(&message.body).unwrap();
    assert_eq!((incoming.identity.as_str(), incoming.text.as_str()), ("1", "echo hello"));
    assert_eq!(response.headers()["message-id"], incoming.id.to_string().as_str());
}

#[tokio::test]
async fn both_spellings_of_both_default_paths_are_answered_and_no_other() {
    let service = Service::new(Recorder::default());
    for path in ["/backends/b/", "/backends/b", "/backend/b/", "/backend/b", "/%62ackend%73/b/"] {
        let (response, _) = service.send(post(path), "phone=1&text=x").await;
        assert_eq!(response.status(), 200, "{path}");
    }
    for path in [
        "/",
        "/backends/",
        "/backends/b//",
        "/backends/B/",
        "/backends/b/x",
        "/backends/%FF",
        "/backends/%2562",
    ] {
        let (response, body) = service.send(post(path), "phone=1&text=x").await;
        assert_eq!(
            (response.status().as_u16(), body.as_str()),
            (404, "there is no endpoint at this path\n"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn other_methods_are_told_which_are_allowed() {
    let service = Service::new(Recorder::default());
    for method in ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"] {
        let (response, _) = service.send(HttpRequest::builder().method(method).uri("/backends/b/"), "").await;
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()[header::ALLOW], "GET, POST");
    }
    let (response, _) = service.send(HttpRequest::get("/in/b/"), "").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::ALLOW]),
        (405, &HeaderValue::from_static("POST"))
    );
}

#[tokio::test]
async fn a_refusal_says_which_field_and_nothing_is_published() {
    let service = Service::new(Recorder::default());
    let (response, body) = service.send(HttpRequest::get("/backends/b/?identity=1&text=x"), "").await;
    assert_eq!(response.status(), 400);
    assert_eq!(body, "form failed to validate\nphone: this field is required\n");
    assert!(service.queue.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let service = Service::new(Recorder::default());
    let (response, body) =
        service.send(post("/backends/b/"), &format!("phone=1&text={}", "x".repeat(100))).await;
    assert_eq!((response.status().as_u16(), body.as_str()), (413, "the body is longer than 100 bytes\n"));
    // A document as well, before anybody looks at it.
    let (response, _) = service.send(HttpRequest::post("/vumi"), &"[".repeat(101)).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_repeat_with_the_providers_own_id_is_the_same_message() {
    let service = Service::new(Recorder::default());
    let message = |from: u8, id: u8| {
        format!(
            r#"{{"message_id":{id},"from_addr":{from},"to_addr":2,"transport_name":3,"transport_type":4}}"#
        )
    };
    let mut ids = Vec::new();
    // Providers have numbered the messages of each sender from 1.
    for (from, id) in [(1, 7), (1, 7), (1, 8), (2, 7)] {
        let (response, _) = service.send(HttpRequest::post("/vumi"), &message(from, id)).await;
        ids.push(response.headers()["message-id"].to_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3, "{ids:?}");
    assert_eq!(ids[0], MessageId::external(&"b".parse().unwrap(), &"1".into(), "7").to_string());
    let published = service.queue.published.lock().unwrap();
    assert_eq!(published.iter().map(|message| message.id.clone()).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_body_is_read_before_a_refusal_only_where_it_counts() {
    let service = Service::with(SIGNED, Recorder::default());
    for (request, body, status, is_read) in [
        (post("/nowhere/"), "phone=1", 404, false),
        (post("/basic"), "phone=1", 401, false),
        (post("/backends/b/"), "text=x", 400, true),
        (post("/backends/b/"), "identity=1&text=x", 200, true),
        (post("/hmac"), "identity=1&text=x", 403, true),
        (post("/twilio"), "From=1&Body=x", 403, true),
        (post("/token"), "identity=1&text=x", 401, true),
    ] {
        let (body, was_read) = noted(body);
        let (response, _) = service.send_body(request, body).await;
        assert_eq!((response.status().as_u16(), was_read()), (status, is_read));
    }
}

/// Endpoints with every kind of `auth` that looks at the body or its parameters, and two others.
const SIGNED: &str = "[[endpoints]]\nbackend = 'b'\n\
    [[endpoints]]\nbackend = 'b'\npath = '/basic'\nauth = { basic = { user = 'u', password = 'p' } }\n\
    [[endpoints]]\nbackend = 'b'\npath = '/hmac'\nauth = { hmac = { header = 'X-Signature', secret = 'k3y' } }\n\
    [[endpoints]]\nbackend = 'b'\npath = '/twilio'\nform = 'twilio'\n\
    auth = { twilio = { auth_token = 't', public_url = 'https://sms.example.org' } }\n\
    [[endpoints]]\nbackend = 'b'\npath = '/token'\nauth = { token = { parameter = 'key', value = 't' } }\n";

#[tokio::test]
async fn a_stranger_is_not_told_what_is_wrong_with_his_parameters() {
    let service = Service::with(SIGNED, Recorder::default());
    let unreadable = || HttpRequest::post("/token").header(header::CONTENT_TYPE, "text/plain");
    for (request, status) in [
        (unreadable(), 401),
        (unreadable().uri("/token?key=x"), 401),
        (unreadable().uri("/token?key=t"), 400),
        (HttpRequest::post("/twilio").header(header::CONTENT_TYPE, "text/plain"), 403),
    ] {
        assert_eq!(service.send(request, "x").await.0.status().as_u16(), status);
    }
}

#[tokio::test]
async fn what_a_signature_does_not_cover_does_not_change_what_is_signed() {
    let service = Service::with(SIGNED, Recorder::default());
    let kind = "application/x-www-form-urlencoded; charset=koi8-r";
    // Of `identity=1&text=h%C3%A9llo`.
    let signature = "0ba5cf75a0a937f10fd5354fb19b534726632c6af6bffbdcdf9ff13fcd394573";
    let signed =
        HttpRequest::post("/hmac").header(header::CONTENT_TYPE, kind).header("x-signature", signature);
    assert_eq!(service.send(signed, "identity=1&text=h%C3%A9llo").await.0.status(), 200);
    let open = HttpRequest::post("/backends/b/").header(header::CONTENT_TYPE, kind);
    assert_eq!(service.send(open, "identity=1&text=h%C3%A9llo").await.0.status(), 200);
    let published = service.queue.published.lock().unwrap();
    let texts: Vec<_> = published
        .iter()
        .map(|message| envelope::decode::<IncomingMessage>(&message.body).unwrap().text)
        .collect();
    assert_eq!(texts, ["h\u{e9}llo", "h\u{446}\u{2558}llo"]);
}

#[tokio::test]
async fn basic_authentication_is_asked_for_and_checked() {
    let service = Service::new(Recorder::default());
    let (response, _) = service.send(post("/in/b/"), "identity=1&text=x").await;
    assert_eq!(response.status(), 401);
    assert!(response.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    let request = post("/in/b/").header(header::AUTHORIZATION, "Basic dTpw");
    assert_eq!(service.send(request, "identity=1&text=x").await.0.status(), 200);
}

#[tokio::test]
async fn an_answer_without_content_has_no_body() {
    let service = Service::new(Recorder::default());
    let (response, body) = service.send(post("/silent"), "identity=1&text=x").await;
    assert_eq!((response.status().as_u16(), body.as_str()), (204, ""));
    assert!(!response.headers().contains_key(header::CONTENT_TYPE));
}

#[tokio::test]
async fn what_the_queue_did_not_confirm_is_never_answered_with_ok() {
    for error in [
        PublishError::Timeout(std::time::Duration::from_secs(5)),
        PublishError::Unavailable("gone".to_owned()),
        PublishError::Refused("full".to_owned()),
    ] {
        let service = Service::new(Recorder { error: Some(error), ..Recorder::default() });
        let (response, body) = service.send(post("/backends/b/"), "phone=1&text=x").await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
            (503, &HeaderValue::from_static("5"))
        );
        assert_eq!(body, "the message could not be queued, send it again\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let service = Service::new(Recorder::default());
    let begun = || futures_util::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"{")) });
    for request in [post("/backends/b/"), HttpRequest::post("/vumi")] {
        let stalled = begun().chain(futures_util::stream::pending());
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        let request = request.extension(peer).body(Body::from_stream(stalled)).unwrap();
        let response = service.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 408);
    }
}
