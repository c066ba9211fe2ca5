//! A recipe for a real gateway, both ways: the example of its page is the configuration, but for the host and the secrets.

use anyhow::{Context, Result};
use integration_tests::{
    Provider,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::json;

use crate::{on_every_shape, sending::dead};

on_every_shape!(a_gateway_that_refuses_with_a_201_is_understood,);

/// The example of the page, with `provider` as the gateway.
fn config(provider: &Provider) -> Result<String> {
    let page = include_str!("../../docs/backends/africastalking.md");
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
    let example = example.context("no example")?.replace("https://api.africastalking.com", &provider.url(""));
    let example =
        example.replace("${AFRICASTALKING_API_KEY}", "key").replace("${AFRICASTALKING_TOKEN}", "t0ken");
    Ok(format!("{example}\n[[apps]]\napp = 'echo'\n"))
}

/// What Africa's Talking says of the one recipient of a call.
fn recipient(code: u16, status: &str, id: &str) -> Answer {
    let recipient =
        json!({ "statusCode": code, "status": status, "messageId": id, "number": "+254711000111" });
    Answer::new(
        201,
        json!({ "SMSMessageData": { "Message": "Sent", "Recipients": [recipient] } }).to_string(),
    )
}

async fn a_gateway_that_refuses_with_a_201_is_understood(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(recipient(101, "Success", "ATXid_1"));
    let stack = Stack::start(shape, &config(&provider)?, &["africastalking"]).await?;
    let path = "/backends/africastalking/?token=t0ken";
    let say = async |id: &str, text: &str| {
        let fields = [("from", "+254711000111"), ("to", "20880"), ("id", id), ("text", text), ("linkId", "")];
        assert_eq!(stack.post(path, &fields).await?, (200, "OK".to_owned()));
        anyhow::Ok(())
    };
    provider.behave_once(recipient(405, "InsufficientBalance", "None"));
    say("1", "echo caf\u{e9} \u{645}").await?;
    let requests = provider.wait_for(2, DEADLINE).await?;
    assert_eq!(requests[0].body, requests[1].body);
    assert_eq!(requests[1].header("apikey"), Some("key"));
    assert_eq!(provider.texts("message"), ["caf\u{e9} \u{645}", "caf\u{e9} \u{645}"]);
    assert_eq!(provider.texts("to"), ["+254711000111", "+254711000111"]);
    stack.expect_logged("external_id=\"ATXid_1\"").await?;

    provider.behave_once(recipient(403, "InvalidPhoneNumber", "None"));
    say("2", "echo b").await?;
    provider.wait_for(3, DEADLINE).await?;
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "class"), ["rejected"]);
    let reason = dead(&left, "reason").concat();
    assert!(reason.contains("not that of a success") && reason.contains("InvalidPhoneNumber"), "{reason}");
    Ok(())
}
