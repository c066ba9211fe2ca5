//! From a phone through Kannel, the gateway and Kannel back to the phone.

use anyhow::{Result, anyhow};
use integration_tests::{
    Broker, Kannel, eventually,
    kannel::{BACKEND, OnAir},
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(every_text_comes_back, who_is_not_answered_hears_nothing);

const PHONE: &str = "+254711222333";

/// What a phone sends in one message, beside the word for the app.
const TEXTS: [(&str, &str); 5] = [
    ("text", "h\u{e9}llo @ 5\u{20ac} [x] {y} ~ \\ ^ | \u{c4}\u{f1}\u{df} \u{3a9} 1+1 & 100% #?=;"),
    ("text", "a  b   %41 &text=c&id=d"),
    ("ucs-2", "\u{645}\u{631}\u{62d}\u{628}\u{627} 1+1 & 100%"),
    ("ucs-2", "\u{1f469}\u{200d}\u{1f469} \u{1f600}[\u{20ac}]"),
    ("ucs-2", "\u{645}\u{631}\n& 1+1\r\n\n%0A \u{1f600}"),
];

/// A message from the phone to the number of the service.
fn sent(kind: &str, text: &str) -> OnAir {
    OnAir::new(PHONE, "123", kind, text)
}

/// The gateway's answer on the phone.
fn received(kind: &str, text: &str) -> OnAir {
    OnAir::new("123", PHONE, kind, text)
}

/// The documented configuration with an app.
fn config(kannel: &Kannel) -> Result<String> {
    Ok(kannel.gateway_config()? + "[[apps]]\napp = 'echo'\n")
}

async fn connected(shape: Shape, changes: &[(&str, &str)]) -> Result<(Kannel, Stack)> {
    let mut kannel = Kannel::start_with(changes).await?;
    let stack = Stack::start(shape, &config(&kannel)?, &[BACKEND]).await?;
    kannel.connect(&stack.url("/")?).await?;
    Ok((kannel, stack))
}

/// Each of [`TEXTS`] comes back, once.
async fn send_all(mut kannel: Kannel, stack: Stack) -> Result<()> {
    for (count, (kind, text)) in TEXTS.into_iter().enumerate() {
        kannel.inject(&sent(kind, &format!("echo {text}"))).await?;
        let on_air = kannel.wait_on_air(count + 1, DEADLINE).await?;
        assert_eq!(on_air[count], received(kind, text));
    }
    stack.finish().await?;
    assert_eq!(kannel.on_air()?.len(), TEXTS.len());
    Ok(())
}

async fn every_text_comes_back(shape: Shape) -> Result<()> {
    let (kannel, stack) = connected(shape, &[]).await?;
    send_all(kannel, stack).await
}

/// Some have Kannel decode UTF-16; then `%C` says what it made of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_comes_back_where_kannel_decodes_it() -> Result<()> {
    let recoding = [("http-timeout = 30", "http-timeout = 30\nmo-recode = true")];
    let (kannel, stack) = connected(Shape::Standalone, &recoding).await?;
    send_all(kannel, stack).await
}

/// The parts in the order in which no phone sends them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_several_parts_is_one() -> Result<()> {
    let (mut kannel, stack) = connected(Shape::Standalone, &[]).await?;
    kannel.inject_line(&format!("{PHONE} 123 udh %05%00%03%07%02%02 and+the+second")).await?;
    kannel.inject_line(&format!("{PHONE} 123 udh %05%00%03%07%02%01 echo+the+first+")).await?;
    let on_air = kannel.wait_on_air(1, DEADLINE).await?;
    assert_eq!(on_air, [received("text", "the first and the second")]);
    stack.finish().await
}

/// No app answers the first message, and the answer to Kannel is empty. Would Kannel make a message of that, it came first.
async fn who_is_not_answered_hears_nothing(shape: Shape) -> Result<()> {
    let (mut kannel, stack) = connected(shape, &[]).await?;
    kannel.inject(&sent("text", "hello")).await?;
    stack.expect_logged("outcome=\"unclaimed\"").await?;
    kannel.inject(&sent("text", "echo a")).await?;
    kannel.wait_on_air(1, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(kannel.on_air()?, [received("text", "a")]);
    Ok(())
}

/// The first request is given up, though the broker has its message; the others are the same message by `%I`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kannel_repeats_is_answered_once() -> Result<()> {
    let mut broker = Broker::start().await?;
    let mut kannel = Kannel::start().await?;
    let mut stack = Stack::start_on(&broker, &config(&kannel)?, &[BACKEND]).await?;
    kannel.connect(&stack.url("/")?).await?;
    broker.pause()?;
    kannel.inject(&sent("text", "echo a")).await?;
    let logged = async |text: &str| {
        eventually(&format!("{text} is logged"), DEADLINE, async || {
            let log = stack.logged();
            if log.contains(text) { Ok(()) } else { Err(anyhow!("{log}")) }
        })
        .await
    };
    logged("reason=\"unavailable\"").await?;
    broker.resume()?;
    logged("accepted").await?;
    kannel.wait_on_air(1, DEADLINE).await?;
    stack.expect_logged("was sent before: not sent again").await?;
    stack.wait_ready().await?;
    stack.reconnect(&broker, &[BACKEND]).await?;
    stack.finish().await?;
    assert_eq!(kannel.on_air()?, [received("text", "a")]);
    Ok(())
}
