//! The engines of named providers: what goes over the wire, and what each provider's own answers make of the message.

use anyhow::{Context, Result};
use integration_tests::{
    Provider,
    provider::{Answer, Request},
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::{Value, json};

use crate::{on_every_shape, sending::dead};

on_every_shape!(
    kannel_has_each_text_in_the_coding_that_it_needs,
    kannel_says_whether_it_is_the_number_or_itself,
    a_reply_through_vumi_names_what_it_answers,
    a_relay_that_has_forgotten_the_original_is_given_a_message_of_its_own,
    what_a_relay_refuses_twice_is_dead_lettered,
    twilio_has_a_form_and_gives_an_id,
    twilio_says_when_to_come_again,
    a_number_that_twilio_refuses_is_dead_lettered_with_the_code,
);

/// A configuration whose backend `p` has `keys`; its endpoint takes the fields that Vumi has.
fn config(keys: &str) -> String {
    format!(
        "[backends.p]\ntimeout = '10s'\n{keys}\n[[endpoints]]\nbackend = 'p'\n\
         fields = {{ external_id = {{}}, from_addr = {{}} }}\n[[apps]]\napp = 'echo'\n"
    )
}

pub(crate) fn kannel(provider: &Provider) -> String {
    let url = provider.url("/cgi-bin/sendsms");
    format!(
        "engine = 'kannel'\nsendsms_url = '{url}'\nsendsms_params = {{ from = '123', username = 'u', password = 'p' }}"
    )
}

pub(crate) fn vumi(provider: &Provider) -> String {
    let url = provider.url("/send/");
    format!("engine = 'vumi'\nsendsms_url = '{url}'\nsendsms_user = 'u'\nsendsms_pass = 'p'")
}

pub(crate) fn twilio(provider: &Provider) -> String {
    let url = provider.url("");
    format!("engine = 'twilio'\napi_url = '{url}'\naccount_sid = 'AC1'\nauth_token = 'p'\nfrom = '+15550001'")
}

/// A message from +1 that Vumi knows as `m1`.
async fn accept_from_vumi(stack: &Stack, text: &str) -> Result<()> {
    let fields = [("identity", "+1"), ("text", text), ("external_id", "m1"), ("from_addr", "+1")];
    assert_eq!(stack.post("/backends/p/", &fields).await?, (200, "OK".to_owned()));
    Ok(())
}

/// What the relay answers: the messages that it has made for these numbers.
fn passed_on(numbers: &[&str]) -> Answer {
    let one = |number: &&str| json!({ "message_id": format!("v{number}"), "to_addr": number });
    Answer::new(200, numbers.iter().map(one).collect::<Value>().to_string())
}

fn bodies(requests: &[Request]) -> Result<Vec<Value>> {
    requests.iter().map(Request::json).collect()
}

async fn kannel_has_each_text_in_the_coding_that_it_needs(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(202, "0: Accepted for delivery"));
    let stack = Stack::start(shape, &config(&kannel(&provider)), &["p"]).await?;
    for (count, (text, encoded)) in [
        ("h\u{e9}llo", "text=h%C3%A9llo"),
        ("\u{645}\u{631}", "text=%06E%061&coding=2"),
        ("\u{1f600}", "text=%D8%3D%DE%00&coding=2"),
    ]
    .into_iter()
    .enumerate()
    {
        stack.accept("/backends/p/", "+1112223333", &format!("echo {text}")).await?;
        let request = provider.wait_for(count + 1, DEADLINE).await?.remove(count);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/cgi-bin/sendsms"));
        assert_eq!(request.query, format!("from=123&username=u&password=p&to=%2B1112223333&{encoded}"));
    }
    stack.finish().await
}

async fn kannel_says_whether_it_is_the_number_or_itself(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(202, "3: Queued for later delivery"));
    let stack = Stack::start(shape, &config(&kannel(&provider)), &["p"]).await?;
    provider.behave_once(Answer::new(403, "Not routable. Do not try again."));
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    for (calls, refusal) in [
        (3, Answer::new(403, "Authorization failed for sendsms")),
        (5, Answer::new(503, "Temporal failure, try again later.")),
    ] {
        provider.behave_once(refusal);
        stack.accept("/backends/p/", "1", "echo b").await?;
        provider.wait_for(calls, DEADLINE).await?;
    }
    let left = stack.wait_dead_and_stop(1).await?;
    let reason = "status 403: Not routable. Do not try again.";
    assert_eq!((dead(&left, "class"), dead(&left, "reason")), (vec!["rejected"], vec![reason]));
    assert_eq!(provider.texts("text"), ["a", "b", "b", "b", "b"]);
    Ok(())
}

async fn a_reply_through_vumi_names_what_it_answers(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(passed_on(&["+1"]));
    let stack = Stack::start(shape, &config(&vumi(&provider)), &["p"]).await?;
    accept_from_vumi(&stack, "echo h\u{e9}llo \u{263a}").await?;
    let requests = provider.wait_for(1, DEADLINE).await?;
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("POST", "/send/"));
    assert_eq!(requests[0].header("authorization"), Some("Basic dTpw"));
    assert_eq!(requests[0].header("content-type"), Some("application/json"));
    let mut body = bodies(&requests)?.remove(0);
    let metadata = body.as_object_mut().and_then(|body| body.remove("metadata")).context("no metadata")?;
    assert!(metadata["rapidsms_msg_id"].is_string(), "{metadata}");
    let expected = json!({
        "content": "h\u{e9}llo \u{263a}", "to_addr": ["+1"], "session_event": null, "in_reply_to": "m1",
    });
    assert_eq!(body, expected);
    stack.expect_logged("external_id=\"v+1\"").await?;
    stack.finish().await
}

async fn a_relay_that_has_forgotten_the_original_is_given_a_message_of_its_own(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(passed_on(&["+1"]));
    provider.behave_once(Answer::new(400, "Original message u'm1' not found."));
    let stack = Stack::start(shape, &config(&vumi(&provider)), &["p"]).await?;
    accept_from_vumi(&stack, "echo a").await?;
    let sent = bodies(&provider.wait_for(2, DEADLINE).await?)?;
    assert_eq!((&sent[0]["in_reply_to"], sent[1].get("in_reply_to")), (&json!("m1"), None));
    assert_eq!((&sent[0]["content"], &sent[1]["metadata"]), (&sent[1]["content"], &sent[0]["metadata"]));
    stack.expect_logged("external_id=\"v+1\"").await?;
    stack.finish().await?;
    assert_eq!(provider.count(), 2);
    Ok(())
}

async fn what_a_relay_refuses_twice_is_dead_lettered(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(400, "Endpoint not defined"));
    let stack = Stack::start(shape, &config(&vumi(&provider)), &["p"]).await?;
    accept_from_vumi(&stack, "echo a").await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "reason"), ["status 400: Endpoint not defined"]);
    assert_eq!(provider.count(), 2);
    Ok(())
}

async fn twilio_has_a_form_and_gives_an_id(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(201, r#"{"sid":"SM1","status":"queued"}"#));
    let stack = Stack::start(shape, &config(&twilio(&provider)), &["p"]).await?;
    stack.accept("/backends/p/", "+1112223333", "echo h\u{e9}llo \u{1f600} & more").await?;
    let request = provider.wait_for(1, DEADLINE).await?.remove(0);
    let path = "/2010-04-01/Accounts/AC1/Messages.json";
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", path));
    assert_eq!(request.header("authorization"), Some("Basic QUMxOnA="));
    let field = |name: &str| request.field(name).unwrap_or_default();
    assert_eq!((field("To").as_str(), field("From").as_str()), ("+1112223333", "+15550001"));
    assert_eq!(field("Body"), "h\u{e9}llo \u{1f600} & more");
    stack.expect_logged("external_id=\"SM1\"").await?;
    stack.finish().await
}

async fn twilio_says_when_to_come_again(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let refusal = Answer::new(429, r#"{"code":20429,"message":"Too many requests","status":429}"#);
    provider.behave_once(refusal.header("retry-after", "1"));
    let stack = Stack::start(shape, &config(&twilio(&provider)), &["p"]).await?;
    stack.accept("/backends/p/", "+1", "echo a").await?;
    stack.expect_logged("reason=\"status 429, error 20429\" wait=1s").await?;
    provider.wait_for(2, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(provider.texts("Body"), ["a", "a"]);
    Ok(())
}

async fn a_number_that_twilio_refuses_is_dead_lettered_with_the_code(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(400, r#"{"code":21211,"message":"not valid"}"#));
    let stack = Stack::start(shape, &config(&twilio(&provider)), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "reason"), [r#"status 400, error 21211: {"code":21211,"message":"not valid"}"#]);
    assert_eq!(provider.count(), 1);
    Ok(())
}

/// A gateway with a broker, which lets a test publish a message to many.
async fn with_many(keys: &str) -> Result<Stack> {
    let stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config(keys), &["p"]).await?;
    let identities = ["1", "2", "3"].map(Into::into).to_vec();
    stack.queues()?.publish_outgoing("outgoing.p", identities, "hello").await?;
    Ok(stack)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_number_of_many_costs_the_others_nothing() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(202, "Sent. Denied receivers are: 2"));
    let left = with_many(&format!("{}\nbatch = 50", kannel(&provider))).await?.wait_dead_and_stop(1).await?;
    assert_eq!(provider.texts("to"), ["1 2 3"]);
    assert_eq!(dead(&left, "failed"), [r#"{"1/1":"rejected"}"#]);

    let provider = Provider::start()?;
    provider.decide(|request| match request.field("To").as_deref() {
        Some("2") => Answer::new(400, r#"{"code":21614}"#).into(),
        _ => Answer::new(201, "{}").into(),
    });
    let left = with_many(&twilio(&provider)).await?.wait_dead_and_stop(1).await?;
    assert_eq!(provider.texts("To"), ["1", "2", "3"]);
    assert_eq!(dead(&left, "failed"), [r#"{"1/1":"rejected"}"#]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_the_relay_does_not_list_is_tried_again_alone() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(passed_on(&["2"]));
    provider.behave_once(passed_on(&["1", "3"]));
    let stack = with_many(&vumi(&provider)).await?;
    let sent = bodies(&provider.wait_for(2, DEADLINE).await?)?;
    assert_eq!((&sent[0]["to_addr"], &sent[1]["to_addr"]), (&json!(["1", "2", "3"]), &json!(["2"])));
    stack.finish().await?;
    assert_eq!(provider.count(), 2);
    Ok(())
}
