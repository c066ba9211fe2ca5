//! The `http` engine against a real provider: what goes over the wire, and what each answer makes of the message.

use anyhow::Result;
use integration_tests::{
    Provider,
    provider::{Answer, Behaviour},
    stack::{DEADLINE, Leftovers, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(
    the_request_is_as_configured,
    a_refused_message_is_dead_lettered_with_the_reason,
    a_failed_call_is_repeated_with_the_same_id,
    a_lost_answer_is_not_repeated,
    what_is_never_taken_is_dead_after_its_attempts,
);

/// A configuration whose backend `p` is `provider`, with `keys` of the engine.
fn config(provider: &Provider, keys: &str) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\ntimeout = '2s'\n{keys}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

const FORM: &str = "form = { to = '{identity}', msg = '{text}' }";

/// A header of each dead letter.
pub(crate) fn dead<'l>(left: &'l Leftovers, header: &str) -> Vec<&'l str> {
    left["dead"].iter().map(|message| message.headers.get(header).map_or("", String::as_str)).collect()
}

async fn the_request_is_as_configured(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(202, r#"{"messages":[{"id":"SM1"}]}"#));
    let keys = "json = { to = ['{identity}'], text = '{text}', id = '{id}', flash = false }\n\
                headers = { X-Account = 'a' }\nbasic = { user = 'u', password = 'p' }\n\
                success = { status = [202] }\nmessage_id = { json = '/messages/0/id' }";
    let stack = Stack::start(shape, &config(&provider, keys), &["p"]).await?;
    stack.accept("/backends/p/", "+1112223333", "echo \"h\u{e9}llo\" \u{263a}").await?;
    let request = provider.wait_for(1, DEADLINE).await?.remove(0);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/send"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("x-account"), Some("a"));
    assert_eq!(request.header("authorization"), Some("Basic dTpw"));
    let body = request.json()?;
    assert_eq!(body["to"], serde_json::json!(["+1112223333"]));
    assert_eq!(body["text"], "\"h\u{e9}llo\" \u{263a}");
    assert_eq!(body["flash"], false);
    assert_eq!(request.header("idempotency-key"), body["id"].as_str());
    stack.expect_logged("external_id=\"SM1\"").await?;
    stack.finish().await
}

async fn a_refused_message_is_dead_lettered_with_the_reason(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(400, "no such number"));
    let stack = Stack::start(shape, &config(&provider, FORM), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.accept("/backends/p/", "1", "echo b").await?;
    provider.wait_for(2, DEADLINE).await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(provider.texts("msg"), ["a", "b"]);
    assert_eq!(dead(&left, "class"), ["rejected"]);
    assert_eq!(dead(&left, "reason"), ["status 400: no such number"]);
    assert_eq!(left["dead"][0].route, "outgoing.p");
    assert_eq!(left.len(), 1);
    Ok(())
}

async fn a_failed_call_is_repeated_with_the_same_id(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(500, ""));
    provider.behave_once(Answer::new(408, ""));
    let stack = Stack::start(shape, &config(&provider, FORM), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    let requests = provider.wait_for(3, DEADLINE).await?;
    let mut ids: Vec<_> =
        requests.iter().map(|request| request.header("idempotency-key").map(str::to_owned)).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    stack.finish().await
}

async fn a_lost_answer_is_not_repeated(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Behaviour::Close);
    let stack = Stack::start(shape, &config(&provider, FORM), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "class"), ["unknown"]);
    assert_eq!(provider.count(), 1);

    let provider = Provider::start()?;
    provider.behave_once(Behaviour::Close);
    let stack =
        Stack::start(shape, &config(&provider, &format!("{FORM}\non_unknown = 'resend'")), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(2, DEADLINE).await?;
    stack.finish().await
}

async fn what_is_never_taken_is_dead_after_its_attempts(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(500, ""));
    let stack = Stack::start(shape, &config(&provider, FORM), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!((dead(&left, "class"), dead(&left, "attempts")), (vec!["not_sent"], vec!["3"]));
    assert_eq!(dead(&left, "reason"), ["given up after 3 attempts: status 500"]);
    let history: Vec<serde_json::Value> = serde_json::from_str(dead(&left, "history")[0])?;
    assert_eq!(history.len(), 3);
    assert!(
        history.iter().all(|attempt| attempt["class"] == "not_sent" && attempt["at"].is_u64()),
        "{history:?}"
    );
    assert_eq!(provider.count(), 3);
    Ok(())
}

/// Only a broker lets others publish, so this one has no embedded half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_read_or_route_is_kept() -> Result<()> {
    let provider = Provider::start()?;
    let shape = Shape::Pair { ingress: 1, dispatchers: 1 };
    let stack = Stack::start(shape, &config(&provider, FORM), &["p"]).await?;
    let queues = stack.queues()?;
    queues.publish("incoming.p", lapin::BasicProperties::default(), b"not json").await?;
    queues.publish("nowhere.p", lapin::BasicProperties::default(), b"for nobody").await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    queues.wait_depth("unrouted", 1, DEADLINE).await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "class"), ["undecodable"]);
    assert_eq!(left["dead"][0].body, b"not json");
    assert_eq!((left["unrouted"][0].route.as_str(), left.len()), ("nowhere.p", 2));
    Ok(())
}
