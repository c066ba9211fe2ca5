//! The whole services with a queue that records, or fails on purpose. No socket.

use std::{collections::BTreeMap, net::SocketAddr};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::{Request as HttpRequest, request::Builder},
};
use proptest::prelude::*;
use serde_json::Value;
use shared::{config::Config, envelope, queue::PublishError};
use tower::ServiceExt;

use super::*;
use crate::{
    body::tests::noted,
    publishing::{Publisher, tests::Recorder},
    routes,
};

const PATH: &str = "/api/v1/messages";

const BODY: &str = r#"{"backend":"b","to":["1"],"text":"hello"}"#;

/// A queue that takes nothing.
fn full() -> Recorder {
    Recorder { error: Some(PublishError::Refused("full".to_owned())), ..Recorder::default() }
}

/// Both listeners of one process. The token `survey` is `test`, that of `slow` is `old`.
struct Service {
    public: Router,
    private: Router,
    queue: Arc<Recorder>,
}

impl Service {
    fn new(queue: Recorder) -> Self {
        let tokens = "[[api.tokens]]\nname = 'survey'\nbackends = ['b']\n\
                      hash = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\n\
                      [[api.tokens]]\nname = 'slow'\nbackends = ['b']\nrate = 0.5\n\
                      hash = 'cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4'\n";
        Self::with_tokens(tokens, queue)
    }

    fn with_tokens(tokens: &str, queue: Recorder) -> Self {
        let text = format!(
            "[queue]\nurl = 'embedded:x'\n[ingress]\nmax_body_bytes = 2000\n\
             [backends.b]\nengine = 'httptester'\n[backends.c]\nengine = 'httptester'\n\
             [[endpoints]]\nbackend = 'b'\n{tokens}"
        );
        let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
        let queue = Arc::new(queue);
        let publisher = Publisher::new(Arc::clone(&queue) as _);
        let private = api::private(&config, publisher.clone());
        Self { public: routes::router(&config, publisher), private, queue }
    }

    fn published(&self) -> Vec<Message> {
        self.queue.published.lock().unwrap().clone()
    }
}

async fn send(router: &Router, request: Builder, body: impl Into<Body>) -> (Response, Value) {
    let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 9)));
    let request = request.extension(peer).body(body.into()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    (Response::from_parts(parts, Body::empty()), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

fn post() -> Builder {
    HttpRequest::post(PATH).header(header::CONTENT_TYPE, "application/json; charset=utf-8")
}

fn with_token(token: &str) -> Builder {
    post().header(header::AUTHORIZATION, format!("Bearer {token}"))
}

/// The status and the code of a refusal, which says what to do.
fn refused((response, body): &(Response, Value)) -> (u16, &str) {
    assert!(body["error"]["message"].as_str().is_some_and(|told| !told.is_empty()), "{body}");
    assert!(body["error"]["fields"].is_array());
    (response.status().as_u16(), body["error"]["code"].as_str().unwrap())
}

#[tokio::test]
async fn a_message_is_published_and_then_answered_with_its_id() {
    let service = Service::new(Recorder::default());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let body = r#"{"backend":"b","to":["1","2","1"],"text":"hello","id":"a","expires_in":60}"#;
    let (response, answer) =
        send(&service.public, with_token("test").header("traceparent", parent), body).await;
    let published = service.published();
    let [message] = &published[..] else { panic!("{published:?}") };
    assert_eq!(
        (response.status().as_u16(), &answer["recipients"], &answer["messages"]),
        (202, &2.into(), &serde_json::json!([message.id]))
    );
    assert_eq!((message.route.as_str(), &*message.kind), ("submit.b", "submit.v1"));
    assert_eq!(shared::trace::trace_id(&message.headers["traceparent"]), shared::trace::trace_id(parent));
    let submitted: SubmittedMessage = envelope::decode(&message.body).unwrap();
    assert_eq!((submitted.caller.as_str(), submitted.text.as_str()), ("survey", "hello"));
    assert_eq!(message.expires_at(), Some(submitted.accepted_at.plus(std::time::Duration::from_secs(60))));
    assert_eq!(answer["id"], submitted.submission.to_string());

    // The repeat has the same ids, whichever way it carries the caller's own.
    let request = with_token("test").header("Idempotency-Key", "a");
    let (_, again) = send(&service.public, request, r#"{"backend":"b","to":["2","1"],"text":"hello"}"#).await;
    assert_eq!((again, &service.published()[1].id), (answer, &message.id));
}

#[tokio::test]
async fn only_the_public_listener_wants_a_token() {
    let service = Service::new(Recorder::default());
    for path in [PATH, "/api/v1/messages/"] {
        let request = || post().uri(path);
        assert_eq!(send(&service.private, request(), BODY).await.0.status(), 202, "{path}");
        let answer = send(&service.public, request(), BODY).await;
        assert_eq!(refused(&answer), (401, "unauthorized"), "{path}");
        assert_eq!(answer.0.headers()[header::WWW_AUTHENTICATE], r#"Bearer realm="gateway""#);
    }
    let answer = send(&service.public, with_token("tesT"), BODY).await;
    assert_eq!(refused(&answer), (401, "unauthorized"));
    assert_eq!(
        answer.0.headers()[header::WWW_AUTHENTICATE],
        r#"Bearer realm="gateway", error="invalid_token""#
    );
    assert_eq!(send(&service.public, with_token("test"), BODY).await.0.status(), 202);
    assert_eq!(service.published().len(), 3);
}

#[tokio::test]
async fn without_tokens_the_public_listener_has_no_api() {
    let service = Service::with_tokens("", Recorder::default());
    for request in [post(), with_token("test"), HttpRequest::get("/api/v1/openapi.json")] {
        let (response, body) = send(&service.public, request, BODY).await;
        assert_eq!((response.status().as_u16(), body), (404, Value::Null));
    }
    assert_eq!(send(&service.private, post(), BODY).await.0.status(), 202);
}

#[tokio::test]
async fn without_a_token_nothing_is_told_of_paths_methods_and_backends() {
    let service = Service::new(Recorder::default());
    for request in [
        HttpRequest::get("/api/v1/openapi.json"),
        HttpRequest::get("/api"),
        HttpRequest::get("/api/v2/x"),
        HttpRequest::delete(PATH),
    ] {
        assert_eq!(refused(&send(&service.public, request, "").await), (401, "unauthorized"));
    }
    let mut answers = Vec::new();
    for backend in ["c", "unknown"] {
        let answer =
            send(&service.public, with_token("test"), BODY.replace(r#""b""#, &format!("{backend:?}"))).await;
        assert_eq!(refused(&answer), (403, "forbidden_backend"));
        answers.push(answer.1);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_and_types_are_told_in_json() {
    let service = Service::new(Recorder::default());
    for path in ["/api", "/api/", "/api/v1", "/api/v1/messages/7", "/api/v2/messages"] {
        for request in [HttpRequest::get(path), HttpRequest::post(path)] {
            assert_eq!(refused(&send(&service.private, request, "").await), (404, "unknown_path"), "{path}");
        }
    }
    for request in [HttpRequest::get(PATH), HttpRequest::put(PATH)] {
        let answer = send(&service.private, request, "").await;
        assert_eq!(refused(&answer), (405, "method_not_allowed"));
        assert_eq!(answer.0.headers()[header::ALLOW], "POST");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let request = HttpRequest::post(PATH).header(header::CONTENT_TYPE, content_type);
        let (body, was_read) = noted(BODY);
        let answer = send(&service.private, request, body).await;
        assert_eq!(refused(&answer), (415, "unsupported_media_type"), "{content_type}");
        assert!(!was_read());
    }
}

#[tokio::test]
async fn the_description_is_served_on_both() {
    let service = Service::new(Recorder::default());
    let request = || HttpRequest::get("/api/v1/openapi.json");
    let (response, private) = send(&service.private, request(), "").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    assert!(private["paths"][PATH]["post"]["responses"]["202"].is_object());
    let request = request().header(header::AUTHORIZATION, "Bearer test");
    assert_eq!(send(&service.public, request, "").await.1, private);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let service = Service::new(Recorder::default());
    let answer = send(&service.private, post(), format!("{BODY}{}", " ".repeat(2000))).await;
    assert_eq!(refused(&answer), (413, "too_large"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_given_up() {
    let service = Service::new(Recorder::default());
    let never = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    let answer = send(&service.private, post(), Body::from_stream(never)).await;
    assert_eq!(refused(&answer), (408, "too_slow"));
}

#[tokio::test(start_paused = true)]
async fn who_is_over_the_rate_is_told_when_to_come_again() {
    let service = Service::new(Recorder::default());
    let body = BODY.replace(r#"["1"]"#, r#"["1","2","3"]"#);
    assert_eq!(send(&service.public, with_token("old"), body).await.0.status(), 202);
    let answer = send(&service.public, with_token("old"), BODY).await;
    assert_eq!(refused(&answer), (429, "rate_limited"));
    let wait: u64 = answer.0.headers()[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert_eq!(wait, 7);
    // Others have their own.
    assert_eq!(send(&service.public, with_token("test"), BODY).await.0.status(), 202);
    tokio::time::advance(std::time::Duration::from_secs(wait)).await;
    assert_eq!(send(&service.public, with_token("old"), BODY).await.0.status(), 202);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_queued_does_not_use_up_the_rate() {
    let service = Service::new(Recorder { confirmed_between: 1, ..full() });
    let to: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    let body = serde_json::json!({ "backend": "b", "to": to, "text": "x", "id": "a" }).to_string();
    let (first, second) = (
        send(&service.public, with_token("old"), body.clone()).await,
        send(&service.public, with_token("old"), body).await,
    );
    // The first one of two was queued, and is the same one when it is repeated.
    assert_eq!((refused(&first), refused(&second)), ((503, "unavailable"), (503, "unavailable")));
    let published: Vec<String> = service.published().into_iter().map(|message| message.id).collect();
    assert_eq!((published.len(), &published[..2]), (4, &published[2..]));
}

#[tokio::test]
async fn the_private_listener_takes_nothing_from_a_web_page() {
    let service = Service::new(Recorder::default());
    for request in [post(), HttpRequest::get("/api/v1/openapi.json"), HttpRequest::get("/api/x")] {
        let request =
            request.header(header::HOST, "evil.example").header(header::ORIGIN, "http://evil.example");
        assert_eq!(refused(&send(&service.private, request, BODY).await), (403, "forbidden_origin"));
    }
    assert!(service.published().is_empty());
    // A token is not something that a browser adds by itself.
    let request = with_token("test").header(header::ORIGIN, "http://evil.example");
    assert_eq!(send(&service.public, request, BODY).await.0.status(), 202);
}

#[tokio::test]
async fn only_who_gave_an_id_is_told_to_repeat_it() {
    let service = Service::new(full());
    let told = async |body: String| {
        let answer = send(&service.private, post(), body).await;
        answer.1["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(told(BODY.replace('}', r#","id":"a"}"#)).await.contains("with the same id"));
    assert!(!told(BODY.to_owned()).await.contains("the same id"));
}

#[tokio::test]
async fn a_body_is_read_before_a_refusal_only_where_it_counts() {
    let service = Service::new(Recorder::default());
    for (request, body, status, is_read) in [
        (post(), BODY, 401, false),
        (with_token("test").uri("/api/v1/nothing"), BODY, 404, false),
        (with_token("test"), "{}", 400, true),
        (with_token("test"), BODY, 202, true),
    ] {
        let (body, was_read) = noted(body);
        let (response, _) = send(&service.public, request, body).await;
        assert_eq!((response.status().as_u16(), was_read()), (status, is_read));
    }
}

#[tokio::test]
async fn what_the_queue_did_not_confirm_is_never_answered_with_success() {
    let service = Service::new(full());
    let answer = send(&service.private, post(), BODY).await;
    assert_eq!(refused(&answer), (503, "unavailable"));
    assert_eq!(answer.0.headers()[header::RETRY_AFTER], "5");
}

proptest! {
    #[test]
    fn whatever_the_body_is_the_answer_is_a_refusal_in_json(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let service = Service::new(Recorder::default());
        let answer = runtime.block_on(send(&service.private, post(), body));
        prop_assert_eq!(refused(&answer).0, 400);
        prop_assert!(service.published().is_empty());
    }

    #[test]
    fn whatever_the_values_are_the_answer_is_a_success_or_says_which_field(
        to in proptest::collection::vec(".{0,4}", 0..4),
        text in any::<String>(),
        key in any::<String>(),
        value in any::<i64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let service = Service::new(Recorder::default());
        let body = serde_json::json!({ "backend": "b", "to": to, "text": text, "expires_in": value, key: value });
        let (response, body) = runtime.block_on(send(&service.private, post(), body.to_string()));
        let fields = body["error"]["fields"].as_array().map_or(0, Vec::len);
        prop_assert!(matches!((response.status().as_u16(), fields), (202, 0) | (400, 1..)), "{body}");
    }
}
