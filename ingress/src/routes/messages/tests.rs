//! The whole public service with a queue that records, or fails on purpose. No socket.

use std::collections::BTreeMap;

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
    publishing::{Publisher, tests::Recorder},
    routes,
};

mod golden;

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
        let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
        let request: HttpRequest<Body> = request.extension(peer).body(Body::from(body.to_owned())).unwrap();
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
    assert_eq!((message.route.as_str(), message.kind.as_str()), ("incoming.b", "incoming.v1"));
    assert_eq!(trace::trace_id(&message.headers["traceparent"]), trace::trace_id(parent));
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
    assert_eq!(response.headers()[header::CONNECTION], "close");
    // A document as well, before anybody looks at it.
    let (response, _) = service.send(HttpRequest::post("/vumi"), &"[".repeat(101)).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn a_repeat_with_the_providers_own_id_is_the_same_message() {
    let service = Service::new(Recorder::default());
    let message = |id: &str| {
        format!(r#"{{"message_id":{id},"from_addr":1,"to_addr":2,"transport_name":3,"transport_type":4}}"#)
    };
    let mut ids = Vec::new();
    for id in ["7", "7", "8"] {
        let (response, _) = service.send(HttpRequest::post("/vumi"), &message(id)).await;
        ids.push(response.headers()["message-id"].to_str().unwrap().to_owned());
    }
    assert!(ids[0] == ids[1] && ids[1] != ids[2], "{ids:?}");
    assert_eq!(ids[0], MessageId::external(&"b".parse().unwrap(), "7").to_string());
    let published = service.queue.published.lock().unwrap();
    assert_eq!(published.iter().map(|message| message.id.clone()).collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn only_a_body_that_nobody_reads_ends_the_connection() {
    let service = Service::new(Recorder::default());
    let (response, _) = service.send(post("/nowhere/"), "phone=1").await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::CONNECTION]),
        (404, &HeaderValue::from_static("close"))
    );
    for (request, body) in [
        (HttpRequest::get("/nowhere/"), ""),
        (post("/backends/b/"), "text=x"),
        (post("/backends/b/"), "phone=1&text=x"),
    ] {
        let (response, _) = service.send(request, body).await;
        assert!(!response.headers().contains_key(header::CONNECTION));
    }
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
