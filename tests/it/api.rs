//! Sending through the API: what is submitted goes through the apps and is sent once, or ends where it can be seen; and every
//! answer is as the served description says.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::{
    Broker, Provider, eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::on_every_shape;

on_every_shape!(
    one_text_to_many_is_sent_to_each_of_them_once,
    a_repeat_with_the_same_id_is_the_same_message,
    what_is_late_is_never_sent,
    tokens_say_who_may_send_what_and_how_much,
);

const PAIR: Shape = Shape::Pair { ingress: 1, dispatchers: 1 };

/// The tokens `survey` is `test`, `slow` is `old`.
const TOKENS: &str = "[[api.tokens]]\nname = 'survey'\nbackends = ['p']\n\
    hash = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'\n\
    [[api.tokens]]\nname = 'slow'\nbackends = ['p']\nrate = 0.01\n\
    hash = 'cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4'\n";

const MESSAGES: &str = "/api/v1/messages";

/// The backends `p`, which is `provider`, and `q`.
fn config(provider: &Provider) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ to = '{{identity}}', msg = '{{text}}' }}\n\
         [backends.q]\nengine = 'httptester'\n{TOKENS}",
        provider.url("/send")
    )
}

/// An answer of the API.
#[derive(Debug)]
struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answered {
    async fn of(request: reqwest::RequestBuilder) -> Result<Self> {
        let answer = request.send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await?;
        Ok(Self { status, headers, body: serde_json::from_str(&text).with_context(|| text)? })
    }

    fn code(&self) -> (u16, &str) {
        (self.status, self.body["error"]["code"].as_str().unwrap_or(""))
    }
}

/// Submits on the private listener, which must take it, and gives the answer.
async fn submit(stack: &Stack, body: &Value) -> Result<Value> {
    let answered = Answered::of(stack.client().post(stack.private_url(MESSAGES)).json(body)).await?;
    ensure!(answered.status == 202, "not taken: {answered:?}");
    Ok(answered.body)
}

async fn one_text_to_many_is_sent_to_each_of_them_once(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    let recipients: Vec<String> = (0..450).map(|number| format!("+{number:03}")).collect();
    let twice: Vec<&String> = recipients.iter().chain(&recipients[..50]).collect();
    let answer =
        submit(&stack, &json!({ "backend": "p", "to": twice, "text": "rendez-vous \u{263a}" })).await?;
    assert_eq!((&answer["recipients"], answer["messages"].as_array().map(Vec::len)), (&json!(450), Some(3)));
    let requests = provider.wait_for(450, DEADLINE).await?;
    let called: BTreeSet<String> = requests.iter().filter_map(|request| request.field("to")).collect();
    let ids: BTreeSet<&str> =
        requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    assert_eq!((called.len(), ids.len(), called), (450, 450, recipients.into_iter().collect()));
    assert!(provider.texts("msg").iter().all(|text| text == "rendez-vous \u{263a}"));
    stack.finish().await?;
    assert_eq!(provider.count(), 450);
    Ok(())
}

async fn a_repeat_with_the_same_id_is_the_same_message(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    let body = json!({ "backend": "p", "to": ["1", "2"], "text": "a", "id": "reminder" });
    let first = submit(&stack, &body).await?;
    provider.wait_for(2, DEADLINE).await?;
    let mut repeat = body.clone();
    repeat["to"] = json!(["2", "1"]);
    assert_eq!(submit(&stack, &repeat).await?, first);
    // In the lanes of both it is behind the repeat.
    submit(&stack, &json!({ "backend": "p", "to": ["1", "2"], "text": "b", "id": "reminder" })).await?;
    eventually("the last message is sent", DEADLINE, async || {
        let texts = provider.texts("msg");
        if texts.iter().filter(|text| *text == "b").count() == 2 { Ok(()) } else { Err(anyhow!("{texts:?}")) }
    })
    .await?;
    let dispatchers = stack.admin_urls("").len();
    stack.finish().await?;
    let requests = provider.requests();
    let ids: BTreeSet<&str> =
        requests.iter().filter_map(|request| request.header("idempotency-key")).collect();
    // Each dispatcher knows only what it has sent itself: another one may send the repeat, with the same ids.
    assert!(ids.len() == 4 && (dispatchers > 1 || requests.len() == 4), "{requests:?}");
    Ok(())
}

async fn what_is_late_is_never_sent(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(503, "").header("retry-after", "600"));
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    let body = json!({ "backend": "p", "to": ["1"], "text": "soon", "expires_in": 2 });
    submit(&stack, &body).await?;
    provider.wait_for(1, DEADLINE).await?;
    provider.behave(Answer::new(200, ""));
    let left = stack.wait_dead_and_stop(1).await?;
    let [letter] = &left["dead"][..] else { panic!("{left:?}") };
    assert_eq!((letter.route.as_str(), letter.headers["class"].as_str()), ("outgoing.p", "expired"));
    assert_eq!(
        letter.headers["reason"],
        "the time that its sender set, expires_at, has passed: not tried any more"
    );
    assert_eq!((provider.count(), left.len()), (1, 1));
    Ok(())
}

async fn tokens_say_who_may_send_what_and_how_much(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    // One process, which knows how much of the rate is used.
    let url = stack.url(MESSAGES)?;
    let with = |token: &str, backend: &str| {
        let body = json!({ "backend": backend, "to": ["1"], "text": "hello" });
        Answered::of(stack.client().post(&url).bearer_auth(token).json(&body))
    };
    let none = Answered::of(stack.client().post(&url).json(&json!({}))).await?;
    assert_eq!(
        (none.code(), none.headers["www-authenticate"].to_str()?),
        ((401, "unauthorized"), r#"Bearer realm="gateway""#)
    );
    assert_eq!(with("wrong", "p").await?.code(), (401, "unauthorized"));
    let (other, unknown) = (with("test", "q").await?, with("test", "unknown").await?);
    assert_eq!((other.code(), &other.body), ((403, "forbidden_backend"), &unknown.body));
    assert_eq!(with("test", "p").await?.status, 202);
    assert_eq!(with("old", "p").await?.status, 202);
    let too_many = with("old", "p").await?;
    assert_eq!(too_many.code(), (429, "rate_limited"));
    let wait: u64 = too_many.headers["retry-after"].to_str()?.parse()?;
    assert!((90..=100).contains(&wait), "{wait}");
    provider.wait_for(2, DEADLINE).await?;

    assert_eq!(stack.counted(r#"gateway_submitted_total{backend="p",token="survey"}"#).await?, 1);
    assert_eq!(stack.counted(r#"gateway_refused_total{reason="unauthorized",backend=""}"#).await?, 2);
    let logged = stack.logged();
    assert!(logged.contains("caller=\"survey\"") && !logged.contains("Bearer"), "{logged}");
    stack.finish().await?;
    assert_eq!(provider.count(), 2);
    Ok(())
}

/// A pair whose dispatcher has an app of its own in the outgoing phase.
async fn start_odd(provider: &Provider) -> Result<Stack> {
    let mut stack = Stack::start(PAIR, &config(provider), &["p", "q"]).await?;
    stack.stop_senders().await?;
    stack.start_sender_of("odd-dispatcher").await?;
    Ok(stack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_change_and_cancel_what_is_submitted() -> Result<()> {
    let provider = Provider::start()?;
    let stack = start_odd(&provider).await?;
    for text in ["cancel it", "change it", "leave it"] {
        submit(&stack, &json!({ "backend": "p", "to": ["1"], "text": text })).await?;
    }
    provider.wait_for(2, DEADLINE).await?;
    stack.expect_logged("outcome=\"cancelled\"").await?;
    stack.finish().await?;
    assert_eq!(provider.texts("msg"), ["it is changed", "leave it"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_app_could_not_handle_is_replayed() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = start_odd(&provider).await?;
    submit(&stack, &json!({ "backend": "p", "to": ["1"], "text": "panic on the way out" })).await?;
    stack.wait_dead(1).await?;
    let listed = stack.tool(&["dead-letters", "list", "--json"]).await?;
    let letter: Value = serde_json::from_str(&listed.stdout)?;
    assert_eq!((&letter["route"], &letter["class"]), (&json!("submit.p"), &json!("panicked")));
    stack.stop_senders().await?;
    stack.start_sender().await?;
    let replayed = stack.tool(&["dead-letters", "replay", "--class", "panicked"]).await?;
    assert_eq!(replayed.code, 0, "{replayed:?}");
    provider.wait_for(1, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(provider.texts("msg"), ["panic on the way out"]);
    Ok(())
}

/// The page for callers, as they would follow it on the machine of the gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_the_page_give_what_it_says() -> Result<()> {
    let config =
        format!("[backends.httptester]\nengine = 'httptester'\n{}", TOKENS.replace("'p'", "'httptester'"));
    let stack = Stack::start(Shape::Standalone, &config, &["httptester"]).await?;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/api.md"))?;
    let page = page.replace("http://127.0.0.1:8000/", &stack.url("/")?);
    let page = page.replace("http://127.0.0.1:8001/", &stack.private_url("/")).replace("\\\n", " ");
    let commands = page.lines().zip(page.lines().skip(1)).filter(|(line, _)| line.starts_with("$ curl "));
    let mut count = 0;
    for (command, expected) in commands {
        let mut curl = Command::new("sh");
        let output = curl.arg("-c").arg(command.trim_start_matches("$ ")).env("TOKEN", "test").output()?;
        let given = String::from_utf8(output.stdout)?;
        assert_eq!(without_random_id(&given)?, without_random_id(expected)?, "{command}");
        count += 1;
    }
    assert_eq!(count, 4);
    let sent = ["The clinic is open until 18:00.", "See you at 9.", "See you at 9."];
    stack.expect_sent("httptester", "+1112223333", &sent).await?;
    stack.expect_sent("httptester", "+4445556666", &sent[1..2]).await?;
    stack.finish().await
}

/// An answer, without its ids when they are others each time.
fn without_random_id(answer: &str) -> Result<Value> {
    let mut answer: Value = serde_json::from_str(answer).with_context(|| answer.to_owned())?;
    let id: Option<uuid::Uuid> = answer["id"].as_str().map(str::parse).transpose()?;
    if id.is_some_and(|id| id.get_version_num() == 7) {
        answer["id"] = Value::Null;
        for message in answer["messages"].as_array_mut().into_iter().flatten() {
            *message = Value::Null;
        }
    }
    Ok(answer)
}

/// The description that a service serves.
struct Description(Value);

impl Description {
    /// Checks that `answered` is one of the answers that it has.
    fn check(&self, answered: &Answered) -> Result<()> {
        let Answered { status, headers, body } = answered;
        ensure!(headers["content-type"] == "application/json", "{answered:?}");
        let described = &self.0["paths"][MESSAGES]["post"]["responses"][status.to_string()];
        let mut schema = described["content"]["application/json"]["schema"].clone();
        ensure!(schema.is_object(), "the status {status} is not described");
        schema["components"] = self.0["components"].clone();
        let validator = jsonschema::validator_for(&schema)?;
        let problems: Vec<String> = validator.iter_errors(body).map(|error| error.to_string()).collect();
        ensure!(problems.is_empty(), "{body}: {problems:?}");
        for header in described["headers"].as_object().into_iter().flatten().map(|(name, _)| name) {
            ensure!(headers.contains_key(header), "{status} without {header}");
        }
        Ok(())
    }

    /// Whether a body is one that it allows.
    fn takes(&self, body: &Value) -> Result<bool> {
        let mut schema =
            self.0["paths"][MESSAGES]["post"]["requestBody"]["content"]["application/json"]["schema"].clone();
        schema["components"] = self.0["components"].clone();
        Ok(jsonschema::validator_for(&schema)?.is_valid(body))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_the_served_description_says() -> Result<()> {
    let mut broker = Broker::start().await?;
    let provider = Provider::start()?;
    let stack = Stack::start_on(&broker, &config(&provider), &["p", "q"]).await?;
    let client = stack.client();
    let description =
        Description(client.get(stack.private_url("/api/v1/openapi.json")).send().await?.json().await?);
    let index = client.get(stack.private_url("/")).send().await?.text().await?;
    assert!(index.contains("\n/api/v1/messages\n/api/v1/openapi.json\n"), "{index}");

    let url = stack.url(MESSAGES)?;
    let good = json!({ "backend": "p", "to": ["1"], "text": "x", "expires_in": 60, "fields": { "a": "b" } });
    for (token, body, status) in [
        ("test", good.clone(), 202),
        ("old", good.clone(), 202),
        ("old", good.clone(), 429),
        ("wrong", good.clone(), 401),
        ("test", json!({ "backend": "q", "to": ["1"], "text": "x" }), 403),
        ("test", json!({ "backend": "p", "to": "1", "txt": "x" }), 400),
        ("test", json!({ "backend": "p", "to": ["1"], "text": "x", "expires_in": 0 }), 400),
        ("test", json!([]), 400),
        ("test", json!({ "backend": "p", "to": ["1"], "text": "x".repeat(1024 * 1024) }), 413),
    ] {
        let answered = Answered::of(client.post(&url).bearer_auth(token).json(&body)).await?;
        assert_eq!(answered.status, status, "{answered:?}");
        description.check(&answered)?;
        assert_eq!(description.takes(&body)?, ![400].contains(&status), "{body}");
    }
    for (request, status) in [
        (client.get(&url), 405),
        (client.post(format!("{url}/x")), 404),
        (client.post(&url).header("content-type", "text/plain").body(good.to_string()), 415),
    ] {
        let answered = Answered::of(request.bearer_auth("test")).await?;
        assert_eq!(answered.status, status, "{answered:?}");
        description.check(&answered)?;
    }
    let page = client.post(stack.private_url(MESSAGES)).header("origin", "http://evil.example").json(&good);
    let answered = Answered::of(page).await?;
    assert_eq!(answered.code(), (403, "forbidden_origin"));
    description.check(&answered)?;
    provider.wait_for(2, DEADLINE).await?;

    broker.kill().await?;
    let begun = Instant::now();
    let answered = Answered::of(client.post(&url).bearer_auth("test").json(&good)).await?;
    assert_eq!((answered.status, answered.headers["retry-after"].to_str()?), (503, "5"));
    assert!(begun.elapsed() < Duration::from_millis(5_500), "{:?}", begun.elapsed());
    description.check(&answered)?;
    broker.restart().await?;
    stack.wait_ready().await?;
    let mut stack = stack;
    stack.reconnect(&broker, &["p", "q"]).await?;
    stack.finish().await
}
