//! A message through each form, as its provider sends it: the reply, the repeat, and the end of a session.

use anyhow::{Result, anyhow};
use integration_tests::{
    Provider, eventually,
    stack::{DEADLINE, Shape, Stack},
};
use reqwest::{RequestBuilder, Response};
use serde_json::json;

use crate::on_every_shape;

on_every_shape!(
    every_form_is_answered,
    a_forged_request_is_refused,
    a_repeated_request_makes_the_same_reply,
    who_has_hung_up_is_not_answered,
);

const ECHO: &str = "[[apps]]\napp = 'echo'\n";

const TWILIO: &str = "form = 'twilio'\n\
                      auth = { twilio = { auth_token = 't', public_url = 'https://sms.example.org' } }\n";

/// A backend of that name, whose endpoint has these keys.
fn backend(name: &str, keys: &str) -> String {
    format!("[backends.{name}]\nengine = 'httptester'\n[[endpoints]]\nbackend = '{name}'\n{keys}")
}

/// Sends a request that must be taken, and gives the answer.
async fn accepted(request: RequestBuilder) -> Result<Response> {
    Ok(request.send().await?.error_for_status()?)
}

/// A message as Twilio posts it; the signature of its URL and parameters was made for it.
fn twilio(stack: &Stack, sid: &str, body: &str, signature: &str) -> Result<RequestBuilder> {
    let form = [("From", "+14155550123"), ("To", "+15005550006"), ("Body", body), ("MessageSid", sid)];
    let request = stack.client().post(stack.url("/backends/twilio/?a=b%20c")?).form(&form);
    Ok(request.header("x-twilio-signature", signature))
}

/// A message as Vumi's relay posts it: without a content type.
fn vumi(stack: &Stack, id: &str, content: &str, event: &str) -> Result<RequestBuilder> {
    let message = json!({
        "message_id": id, "from_addr": "+27831234567", "to_addr": "*120*8864#", "content": content,
        "transport_name": "ussd", "transport_type": "ussd", "session_event": event, "in_reply_to": null,
    });
    Ok(stack.client().post(stack.url("/backends/vumi/")?).body(message.to_string()))
}

async fn every_form_is_answered(shape: Shape) -> Result<()> {
    let json = "params = { identity = '/from', text = '/sms/0/text' }\nanswer = { status = 202, body = '{}' }\n\
                auth = { hmac = { header = 'X-Signature', secret = 'k3y', prefix = 'sha256=' } }\n";
    let config = backend("kannel", "form = 'kannel'\n")
        + &backend("vumi", "form = 'vumi'\n")
        + &backend("twilio", TWILIO)
        + &backend("json", json)
        + ECHO;
    let stack = Stack::start(shape, &config, &["kannel", "vumi", "twilio", "json"]).await?;

    // "echo مرحبا 😀" in UTF-16BE, as Kannel writes it.
    let text = "%00e%00c%00h%00o%00+%06E%061%06-%06%28%06%27%00+%D8%3D%DE%00";
    let target = format!("/backends/kannel/?id=%2B254711&text={text}&charset=UTF-16BE&coding=2&sms_id=a-1");
    let answer = accepted(stack.client().get(stack.url(&target)?)).await?;
    assert_eq!((answer.status().as_u16(), answer.text().await?.as_str()), (200, ""));
    stack.expect_sent("kannel", "+254711", &["\u{645}\u{631}\u{62d}\u{628}\u{627} \u{1f600}"]).await?;

    let answer = accepted(vumi(&stack, "1", "echo h\u{e9}llo", "resume")?).await?;
    assert_eq!((answer.status().as_u16(), answer.text().await?.as_str()), (200, ""));
    stack.expect_sent("vumi", "+27831234567", &["h\u{e9}llo"]).await?;

    let answer =
        accepted(twilio(&stack, "SM1", "echo \u{bf}qu\u{e9}? & m\u{e1}s", "Co9WLv9IEYr9V2mrklHp7r0Kibw=")?)
            .await?;
    assert_eq!(answer.headers()["content-type"], "text/xml");
    assert!(answer.text().await?.ends_with("<Response/>"));
    stack.expect_sent("twilio", "+14155550123", &["\u{bf}qu\u{e9}? & m\u{e1}s"]).await?;

    let request =
        stack.client().post(stack.url("/backends/json/")?).header("content-type", "application/json");
    let request = request
        .header("x-signature", "sha256=753085e5ce832919217e323bc267ecdd2b95f4fef3ab60ccebdca2508586c150");
    let answer = accepted(request.body(r#"{"from":254711,"sms":[{"text":"echo \u263a"}]}"#)).await?;
    assert_eq!((answer.status().as_u16(), answer.text().await?.as_str()), (202, "{}"));
    stack.expect_sent("json", "254711", &["\u{263a}"]).await?;
    stack.finish().await
}

async fn a_forged_request_is_refused(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &(backend("twilio", TWILIO) + ECHO), &["twilio"]).await?;
    for signature in ["", "p5zxFh3COQklhfsbj9Eqv7Xy7Yk="] {
        let answer = twilio(&stack, "SM1", "echo forged", signature)?.send().await?;
        assert_eq!(answer.status(), 403);
    }
    let refused = r#"gateway_refused_total{reason="signature",backend="twilio"}"#;
    assert_eq!(stack.counted(refused).await?, 2);
    // Each of them has met one of the two, and tells no second one within a minute.
    let processes = if matches!(shape, Shape::Pair { ingress: 2, .. }) { 2 } else { 1 };
    eventually("each tells one", DEADLINE, async || {
        let told = stack.logged().matches("refused; others like it").count();
        if told == processes { Ok(()) } else { Err(anyhow!("{told}")) }
    })
    .await?;
    accepted(twilio(&stack, "SM1", "echo a", "p5zxFh3COQklhfsbj9Eqv7Xy7Yk=")?).await?;
    stack.expect_sent("twilio", "+14155550123", &["a"]).await?;
    assert_eq!(stack.counted(r#"gateway_accepted_total{backend="twilio"}"#).await?, 1);
    stack.finish().await
}

async fn a_repeated_request_makes_the_same_reply(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let engine =
        format!("engine = 'http'\nurl = '{}'\nform = {{ text = '{{text}}' }}", provider.url("/send"));
    let config = backend("twilio", TWILIO).replace("engine = 'httptester'", &engine) + ECHO;
    let stack = Stack::start(shape, &config, &["twilio"]).await?;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let answer = accepted(twilio(&stack, "SM1", "echo a", "p5zxFh3COQklhfsbj9Eqv7Xy7Yk=")?).await?;
        ids.push(answer.headers()["message-id"].to_str()?.to_owned());
    }
    assert_eq!(ids[0], ids[1]);
    eventually("both are done with", DEADLINE, async || {
        let (sent, skipped) = (provider.count(), stack.logged().matches("not sent again").count());
        if sent + skipped == 2 { Ok(()) } else { Err(anyhow!("sent: {sent}, skipped: {skipped}")) }
    })
    .await?;
    stack.finish().await?;

    let calls = provider.requests().into_iter();
    let mut keys: Vec<_> = calls.map(|call| call.header("idempotency-key").map(str::to_owned)).collect();
    // Two dispatchers do not know of each other what they sent.
    if !matches!(shape, Shape::Pair { dispatchers: 2.., .. }) {
        assert_eq!(keys.len(), 1);
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "{keys:?}");
    Ok(())
}

async fn who_has_hung_up_is_not_answered(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &(backend("vumi", "form = 'vumi'\n") + ECHO), &["vumi"]).await?;
    accepted(vumi(&stack, "1", "echo too late", "close")?).await?;
    stack.expect_logged("outcome=\"handled\" app=\"echo\" replies=0 dropped=1").await?;
    accepted(vumi(&stack, "2", "echo again", "new")?).await?;
    stack.expect_sent("vumi", "+27831234567", &["again"]).await?;
    stack.finish().await
}
