//! The request to the byte, and calls over the loopback, each answer through the router.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread::{self, JoinHandle},
};

use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;
use shared::{
    clock::UnixMillis,
    message::{IncomingMessage, MessageId, OutgoingMessage},
    report::State,
    telemetry::Chain,
};

use super::*;
use crate::{
    apps::{self, Context, Draft},
    router::{Outcome, Router},
};

const HANDLE: &str = include_str!("../../../fixtures/hook/request.handle.v1.json");
const OUTGOING: &str = include_str!("../../../fixtures/hook/request.outgoing.v1.json");
const REPORT: &str = include_str!("../../../fixtures/hook/request.report.v1.json");

/// What the signature of [`HANDLE`] is, by another implementation of HMAC-SHA256.
const SIGNED: &str = "t=1795392000,v1=14ea0e8762be9ca36cdbbe5d5ea87363d6d90f58bba5e393cd4c9970f9fa1236";

fn id(number: u128) -> MessageId {
    MessageId(uuid::Uuid::from_u128(number))
}

fn incoming(text: &str) -> IncomingMessage {
    IncomingMessage {
        id: id(7),
        accepted_at: UnixMillis(1_795_392_000_123),
        backend: "kannel".parse().unwrap(),
        identity: "+256700000001".into(),
        text: text.to_owned(),
        fields: BTreeMap::from([("external_id".to_owned(), "9".to_owned())]),
        no_reply: false,
    }
}

fn delivered() -> DeliveryReport {
    DeliveryReport {
        id: id(9),
        accepted_at: UnixMillis(1_795_392_000_123),
        message_id: id(8),
        part: 1,
        backend: "kannel".parse().unwrap(),
        identity: Some("+256700000001".into()),
        external_id: None,
        state: State::Delivered,
        detail: Some("ACK/".to_owned()),
    }
}

#[test]
fn a_golden_report_is_written_to_the_byte() {
    let request = Request::report(&delivered());
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), REPORT.trim());
    assert_eq!(request.key(), "00000000-0000-0000-0000-000000000009-report");
}

#[test]
fn golden_requests_are_written_to_the_byte() {
    let request = Request::incoming(Phase::Handle, &Context::new(incoming("join \u{c5}nn \u{263a}"), 2, "P"));
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), HANDLE.trim());
    assert_eq!(request.key(), "00000000-0000-0000-0000-000000000007-handle");
    let secret = SecretString::from("whsec");
    assert_eq!(request.signature(&secret, UnixMillis(1_795_392_000_999)), SIGNED);

    let request = Request::outgoing(&Draft(OutgoingMessage {
        id: id(8),
        accepted_at: UnixMillis(1_795_392_000_123),
        backend: "kannel".parse().unwrap(),
        identities: vec!["+256700000001".into(), "+256700000002".into()],
        text: "Thank you, \"\u{c5}nn\"!\n".to_owned(),
        in_response_to: Some(id(7)),
        fields: BTreeMap::from([("external_id".to_owned(), "9".to_owned())]),
    }));
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), OUTGOING.trim());
    assert_eq!(request.key(), "00000000-0000-0000-0000-000000000008-outgoing");
}

#[test]
fn another_attempt_asks_the_same_under_the_same_key() {
    let asked = |attempt| {
        let request = Request::incoming(Phase::Handle, &Context::new(incoming("x"), attempt, "P"));
        ((request.key(), request.body), request.attempt)
    };
    let (first, third) = (asked(1), asked(3));
    assert_eq!((first.0, third.0.clone()), (third.0, asked(2).0));
    assert_eq!((first.1, third.1), (Some(1), Some(3)));
}

proptest! {
    #[test]
    fn every_text_number_and_field_can_be_read_back(text: String, identity: String, name: String, value: String) {
        let fields = BTreeMap::from([(name.clone(), value.clone())]);
        let message = IncomingMessage { identity: identity.as_str().into(), fields, ..incoming(&text) };
        let request = Request::incoming(Phase::Parse, &Context::new(message, 1, "P"));
        let document: Value = serde_json::from_slice(&request.body).unwrap();
        prop_assert_eq!(&document["text"], &text);
        prop_assert_eq!(&document["identity"], &identity);
        prop_assert_eq!(&document["fields"][&name], &value);
    }
}

/// Answers so many calls, one connection after the other, with what `answer` makes of their number and document; gives back the
/// requests.
fn serve(
    count: usize,
    answer: impl Fn(usize, &Value) -> String + Send + 'static,
) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer_one = move |number| {
        let (mut stream, _) = listener.accept().unwrap();
        let request = read_request(&mut stream);
        // A client that has enough of the answer closes the connection.
        stream.write_all(answer(number, &document(&request)).as_bytes()).ok();
        request
    };
    (address, thread::spawn(move || (0..count).map(answer_one).collect()))
}

fn document(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

fn read_request(stream: &mut impl Read) -> String {
    let mut request = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).unwrap();
        request.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&request);
        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            body.len() == length.parse::<usize>().unwrap()
        });
        if whole {
            return text.into_owned();
        }
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

fn ok(body: &str) -> String {
    http("200 OK", body)
}

/// What became of a message, the replies, and the requests that were made.
#[derive(Debug)]
struct Seen {
    outcome: String,
    replies: Vec<String>,
    requests: Vec<String>,
}

/// Routes a message through an app of this kind at `address` with these keys, and a `default` app behind it.
async fn route_to(address: SocketAddr, kind: &str, keys: &str) -> Seen {
    let text = format!(
        "[queue]\nurl = 'embedded:x'\n[[apps]]\napp = '{kind}'\nurl = 'http://{address}/sms?key=K'\n{keys}\n\
         [[apps]]\napp = 'default'\nreply = 'default {{text}}'\n"
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let apps = Router::new(apps::build(&config, &Calls::Made).unwrap(), &config);
    let (outcome, replies) = match apps.route(incoming("join Ann"), 1).await {
        Ok(routed) => {
            let outcome = match routed.outcome {
                Outcome::Handled { app, .. } => format!("handled by {app}"),
                Outcome::Filtered(app) => format!("filtered by {app}"),
                Outcome::Unclaimed => "unclaimed".to_owned(),
            };
            (outcome, routed.replies.into_iter().map(|reply| reply.text).collect())
        }
        Err(error) => (Chain(&error).to_string(), Vec::new()),
    };
    Seen { outcome: outcome.replace(&address.to_string(), "HOST"), replies, requests: Vec::new() }
}

/// As [`route_to`], where these answers are given.
async fn route(kind: &str, keys: &str, answers: Vec<String>) -> Seen {
    route_by(kind, keys, answers.len(), move |number, _| answers[number].clone()).await
}

/// As [`route_to`], where so many calls are answered.
async fn route_by(
    kind: &str,
    keys: &str,
    calls: usize,
    answer: impl Fn(usize, &Value) -> String + Send + 'static,
) -> Seen {
    let (address, requests) = serve(calls, answer);
    let seen = route_to(address, kind, keys).await;
    Seen { requests: requests.join().unwrap(), ..seen }
}

/// The phases that were asked for, in order.
fn phases(seen: &Seen) -> Vec<String> {
    seen.requests.iter().map(|request| document(request)["phase"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_webhook_that_answers_has_handled_the_message() {
    let keys = "secret = 'whsec'\nheaders = { Authorization = 'Bearer T' }";
    let seen = route("webhook", keys, vec![ok(r#"{"messages": [{"text": "Hi"}, {"text": "Ann"}]}"#)]).await;
    assert_eq!(
        (seen.outcome.as_str(), &seen.replies[..]),
        ("handled by webhook HOST", &["Hi".into(), "Ann".into()][..])
    );
    let request = &seen.requests[0];
    assert!(request.starts_with("POST /sms?key=K HTTP/1.1\r\n"), "{request}");
    for line in [
        "content-type: application/json\r\n",
        "authorization: Bearer T\r\n",
        "idempotency-key: 00000000-0000-0000-0000-000000000007-handle\r\n",
        "x-gateway-signature: t=1",
        "x-gateway-attempt: 1\r\n",
        r#"{"version":1,"phase":"handle","id":"00000000-0000-0000-0000-000000000007","#,
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
}

#[tokio::test]
async fn a_webhook_that_says_nothing_leaves_the_message_to_others() {
    for answer in [http("204 No Content", ""), ok(""), ok("{}"), http("202 Accepted", "\n")] {
        let seen = route("webhook", "", vec![answer]).await;
        assert_eq!(
            (seen.outcome.as_str(), &seen.replies[..]),
            ("handled by default", &["default join Ann".into()][..])
        );
        assert!(!seen.requests[0].contains("x-gateway-signature"), "{seen:?}");
    }
}

#[tokio::test]
async fn a_webhook_takes_part_in_each_of_its_phases() {
    let all = "timeout = '4s'\nphases = ['filter', 'parse', 'handle', 'cleanup', 'outgoing']";
    let answers = [
        "{}",
        r#"{"text": "join Bob"}"#,
        r#"{"messages": [{"text": "one"}, {"text": "two"}], "handled": false}"#,
        r#"{"messages": [{"text": "bye"}]}"#,
    ];
    let answer = move |number, document: &Value| {
        // The replies come beside each other.
        let of_reply = || match document["text"].as_str() {
            Some("one") => r#"{"text": "ONE"}"#,
            Some("two") => r#"{"cancel": true}"#,
            _ => "",
        };
        ok(answers.get(number).copied().unwrap_or_else(of_reply))
    };
    let seen = route_by("webhook", all, 8, answer).await;
    let outgoing = ["outgoing"; 4];
    assert_eq!(phases(&seen), [&["filter", "parse", "handle", "cleanup"][..], &outgoing].concat());
    assert_eq!(
        (seen.outcome.as_str(), &seen.replies[..]),
        ("handled by default", &["ONE".into(), "default join Bob".into(), "bye".into()][..])
    );
    assert!(seen.requests[2].contains(r#""text":"join Bob""#), "{seen:?}");

    let stop = r#"{"stop": true, "messages": [{"text": "You are blocked."}]}"#;
    let seen = route("webhook", "phases = ['filter']", vec![ok(stop)]).await;
    assert_eq!(
        (seen.outcome.as_str(), &seen.replies[..]),
        ("filtered by webhook HOST", &["You are blocked.".into()][..])
    );

    // Before the `default` app, whose turn it then is not.
    let seen = route("webhook", "phases = ['default']", vec![ok(r#"{"handled": true}"#)]).await;
    assert_eq!((seen.outcome.as_str(), seen.replies.len()), ("handled by webhook HOST", 0));
}

/// Each with a name and keys of its own.
#[tokio::test]
async fn two_apps_of_one_host_are_told_from_each_other() {
    let (address, requests) = serve(3, |number, _| if number == 2 { http("500 Oops", "") } else { ok("") });
    let second = format!("[[apps]]\napp = 'webhook'\nurl = 'http://{address}/other'\ntimeout = '4s'");
    let seen =
        route_to(address, "webhook", &format!("phases = ['parse', 'handle']\ntimeout = '4s'\n{second}"))
            .await;
    assert_eq!(seen.outcome, "the app `webhook HOST 2` failed in handle: status 500");
    for (request, key) in requests.join().unwrap().iter().zip(["7-parse", "7-handle", "7-handle-2"]) {
        assert!(request.contains(&format!("{key}\r\n")), "{key} is not in {request}");
    }
}

#[tokio::test]
async fn an_outgoing_call_that_fails_leaves_its_reply_as_it_was() {
    let answer = |_, document: &Value| match document["text"].as_str() {
        Some("default join Ann") => http("500 Oops", ""),
        other => panic!("{other:?}"),
    };
    let seen = route_by("webhook", "phases = ['outgoing']", 1, answer).await;
    assert_eq!(seen.replies, ["default join Ann"]);
}

#[tokio::test]
async fn what_is_no_answer_fails_the_message_with_a_reason_without_anything_of_it() {
    let large = format!("{{\"messages\": [{{\"text\": \"{}\"}}]}}", "x".repeat(70_000));
    for (answer, reason) in [
        (http("500 Oops", "+256700000001"), "status 500"),
        (http("400 Bad Request", "+256700000001"), "status 400"),
        (http("401 Unauthorized", ""), "status 401"),
        (http("429 Too Many Requests", ""), "status 429"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\n\r\n".to_owned(),
            "status 302, a redirect, which is not followed: correct the url",
        ),
        (ok("OK"), "the answer is no JSON object"),
        (
            ok(r#"{"mesages": ["+256700000001"]}"#),
            "the answer is not what is documented for this phase, at line 1 column 10",
        ),
        (ok(&large), "the answer is too large"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}".to_owned(),
            "the answer broke off, or was too slow",
        ),
        ("+256700000001".to_owned(), "the connection broke before the answer"),
    ] {
        let seen = route("webhook", "", vec![answer.clone()]).await;
        assert_eq!(seen.outcome, format!("the app `webhook HOST` failed in handle: {reason}"), "{answer}");
    }
}

#[tokio::test]
async fn who_does_not_answer_fails_the_message_or_is_ignored() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = route_to(address, "webhook", "timeout = '200ms'").await;
    assert_eq!(seen.outcome, "the app `webhook HOST` failed in handle: no answer in time");
    drop(listener);
    let seen = route_to(address, "webhook", "").await;
    assert!(seen.outcome.contains("failed in handle: no connection: "), "{seen:?}");
    let seen = route_to(address, "webhook", "on_error = 'ignore'").await;
    assert_eq!(
        (seen.outcome.as_str(), &seen.replies[..]),
        ("handled by default", &["default join Ann".into()][..])
    );
}

#[tokio::test]
async fn a_forward_copies_and_what_it_is_answered_counts_for_nothing() {
    let says = ok(r#"{"text": "other", "messages": [{"text": "x"}]}"#);
    let seen = route("forward", "", vec![says.clone()]).await;
    assert_eq!((phases(&seen), seen.outcome.as_str()), (vec!["parse".to_owned()], "handled by default"));
    assert_eq!(seen.replies, ["default join Ann"]);

    let seen = route("forward", "phases = ['parse', 'outgoing']", vec![ok("OK"), says]).await;
    assert_eq!(
        (phases(&seen), &seen.replies[..]),
        (vec!["parse".to_owned(), "outgoing".to_owned()], &["default join Ann".into()][..])
    );

    let seen = route("forward", "", vec![http("500 Oops", "")]).await;
    assert_eq!(seen.outcome, "the app `forward HOST` failed in parse: status 500");
    let seen = route("forward", "on_error = 'ignore'", vec![http("500 Oops", "")]).await;
    assert_eq!(seen.replies, ["default join Ann"]);
}

#[tokio::test]
async fn who_hangs_at_a_report_is_not_told_of_the_next_for_a_while() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        "[queue]\nurl = 'embedded:x'\n[[apps]]\napp = 'forward'\nurl = 'http://{}/'\ntimeout = '1s'\nphases = ['report']\n",
        silent.local_addr().unwrap()
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let router = Router::new(apps::build(&config, &Calls::Made).unwrap(), &config);
    let told = async || Chain(&router.report(&delivered()).await.unwrap_err()).to_string();
    let first = told().await;
    assert!(first.ends_with("no answer in time"), "{first}");
    let next = told().await;
    assert!(next.ends_with("it has failed just before"), "{next}");
}
