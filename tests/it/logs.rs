//! The log of both services as a machine reads it: one id from the request to the provider's call.

use anyhow::{Result, anyhow};
use integration_tests::{
    Provider, eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::{Value, json};

use crate::on_every_shape;

on_every_shape!(
    a_parent_that_is_none_begins_one_trace,
    what_a_request_leads_to_has_its_id_in_every_line,
    all_recipients_of_a_submission_are_in_one_trace
);

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A stack whose log is JSON, and whose provider fails once.
async fn start(shape: Shape, provider: &Provider) -> Result<Stack> {
    provider.behave_once(Answer::new(500, ""));
    let config = format!(
        "[logging]\nformat = 'json'\n[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    );
    Stack::start(shape, &config, &["p"]).await
}

/// Waits until so many lines have this message. Every line is a JSON object.
async fn lines(stack: &Stack, message: &str, count: usize) -> Result<Vec<Value>> {
    eventually(&format!("{count} lines {message:?}"), DEADLINE, async || {
        let log = stack.logged();
        let all: Vec<Value> = log.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let lines: Vec<Value> = all.into_iter().filter(|line| line["message"] == message).collect();
        if lines.len() == count { Ok(lines) } else { Err(anyhow!("{log}")) }
    })
    .await
}

async fn what_a_request_leads_to_has_its_id_in_every_line(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = start(shape, &provider).await?;
    let request = stack.client().post(stack.url("/backends/p/")?);
    let request = request.header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = request.form(&[("identity", "1"), ("text", "echo hello")]).send().await?;
    let id = answer.headers()["message-id"].to_str()?.to_owned();
    for (message, is_reply) in [("accepted", false), ("routed", false), ("not sent", true), ("sent", true)] {
        let line = &lines(&stack, message, 1).await?[0];
        assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
        assert!(line["message_id"].is_string(), "{line}");
        assert_eq!(line["message_id"] == *id, !is_reply, "{line}");
    }
    provider.wait_for(2, DEADLINE).await?;
    stack.finish().await
}

async fn a_parent_that_is_none_begins_one_trace(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = start(shape, &provider).await?;
    let request = stack.client().post(stack.url("/backends/p/")?).header("traceparent", "00-ABC-1-01");
    request.form(&[("identity", "1"), ("text", "echo hello")]).send().await?.error_for_status()?;
    let trace = &lines(&stack, "accepted", 1).await?[0]["span"]["trace_id"];
    assert_eq!(trace.as_str().map(str::len), Some(32), "{trace}");
    let sent = &lines(&stack, "sent", 1).await?[0];
    assert_eq!(sent["span"]["trace_id"], *trace, "{sent}");
    stack.finish().await
}

async fn all_recipients_of_a_submission_are_in_one_trace(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = start(shape, &provider).await?;
    // More than one queued message.
    let to: Vec<String> = (0..201).map(|number| number.to_string()).collect();
    let submission = json!({ "backend": "p", "to": to, "text": "hello" });
    let submitted = stack.client().post(stack.private_url("/api/v1/messages")).json(&submission).send();
    submitted.await?.error_for_status()?;
    let trace = &lines(&stack, "submitted", 1).await?[0]["span"]["trace_id"];
    assert!(trace.is_string());
    let routed = lines(&stack, "routed", 2).await?;
    assert!(
        routed.iter().all(|line| line["span"]["trace_id"] == *trace),
        "{routed:?} are not all in {trace}"
    );
    provider.wait_for(202, DEADLINE).await?;
    stack.finish().await
}
