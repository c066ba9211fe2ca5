//! The engine and the form `kannel` with a real Kannel, configured as its page says: what the phones would show.

mod habits;

mod receiving;

mod reports;

use anyhow::Result;
use integration_tests::{
    kannel::{BACKEND, Kannel, OnAir, PASSWORD, UNROUTABLE},
    stack::{DEADLINE, Shape, Stack},
};
use shared::message::Identity;

use crate::{on_every_shape, sending::dead};

on_every_shape!(
    every_text_reaches_the_phone,
    what_kannel_cannot_route_is_dead_lettered_alone,
    a_text_is_whole_or_a_dead_letter,
);

/// The documented configuration, with a path for messages from elsewhere.
fn config(kannel: &Kannel) -> Result<String> {
    let elsewhere = format!("[[endpoints]]\nbackend = '{BACKEND}'\npath = '/in'\n[[apps]]\napp = 'echo'\n");
    Ok(kannel.gateway_config()? + &elsewhere)
}

async fn every_text_reaches_the_phone(shape: Shape) -> Result<()> {
    let kannel = Kannel::start().await?;
    let stack = Stack::start(shape, &config(&kannel)?, &[BACKEND]).await?;
    let texts = [
        ("text", "h\u{e9}llo @ 5\u{20ac} [x] {y} ~ \u{c4}\u{f1}\u{df} \u{3a9} + & % #"),
        ("ucs-2", "\u{645}\u{631}\u{62d}\u{628}\u{627} 1+1"),
        ("ucs-2", "h\u{e9}llo \u{1f469}\u{200d}\u{1f469} \u{1f600}"),
    ];
    for (count, (kind, text)) in texts.into_iter().enumerate() {
        stack.accept("/in", "+1112223333", &format!("echo {text}")).await?;
        let on_air = kannel.wait_on_air(count + 1, DEADLINE).await?;
        assert_eq!(on_air[count], OnAir::new("123", "+1112223333", kind, text));
    }
    stack.finish().await
}

async fn what_kannel_cannot_route_is_dead_lettered_alone(shape: Shape) -> Result<()> {
    let kannel = Kannel::start().await?;
    let stack = Stack::start(shape, &config(&kannel)?, &[BACKEND]).await?;
    stack.accept("/in", UNROUTABLE, "echo a").await?;
    stack.wait_dead(1).await?;
    stack.accept("/in", "1", "echo b").await?;
    let on_air = kannel.wait_on_air(1, DEADLINE).await?;
    assert_eq!((on_air[0].to.as_str(), on_air[0].text.as_str()), ("1", "b"));
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(
        (dead(&left, "class"), dead(&left, "reason")),
        (vec!["rejected"], vec!["status 403: Not routable. Do not try again."])
    );
    Ok(())
}

/// `max_parts` is Kannel's `max-messages`: Kannel takes all that the gateway lets through, and cuts nothing off.
async fn a_text_is_whole_or_a_dead_letter(shape: Shape) -> Result<()> {
    let kannel = Kannel::start().await?;
    let stack = Stack::start(shape, &config(&kannel)?, &[BACKEND]).await?;
    let ten_parts = format!("{}\u{20ac}{}", "a".repeat(152), "b".repeat(9 * 153 - 2));
    stack.accept("/in", "1", &format!("echo {ten_parts}c")).await?;
    stack.wait_dead(1).await?;
    stack.accept("/in", "1", &format!("echo {ten_parts}")).await?;
    let on_air = kannel.wait_on_air(10, DEADLINE).await?;
    assert!(on_air.iter().all(|part| part.kind == "part"), "{on_air:?}");
    assert_eq!(on_air.into_iter().map(|part| part.text).collect::<String>(), ten_parts);
    let left = stack.wait_dead_and_stop(1).await?;
    assert_eq!(dead(&left, "class"), ["rejected"]);
    Ok(())
}

/// Kannel says whether the first number is routable, and nothing of the others: why `batch` is not the default.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_reaches_all_and_only_its_first_number_is_told_of() -> Result<()> {
    let kannel = Kannel::start().await?;
    let config = config(&kannel)?.replacen("\n[[endpoints]]", "batch = 50\n[[endpoints]]", 1);
    let stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config, &[BACKEND]).await?;
    let publish = async |identities: &[&str], text| {
        let identities = identities.iter().map(|identity| Identity::from(*identity)).collect();
        stack.queues()?.publish_outgoing(&format!("outgoing.{BACKEND}"), identities, text).await
    };
    publish(&["+1", "22", "3-3"], "a").await?;
    kannel.wait_on_air(3, DEADLINE).await?;
    publish(&["1", UNROUTABLE], "b").await?;
    kannel.wait_on_air(4, DEADLINE).await?;
    publish(&[UNROUTABLE, "2"], "c").await?;
    let on_air = kannel.wait_on_air(5, DEADLINE).await?;
    let on_air: Vec<(&str, &str)> = on_air.iter().map(|it| (it.to.as_str(), it.text.as_str())).collect();
    assert_eq!(on_air, [("+1", "a"), ("22", "a"), ("3-3", "a"), ("1", "b"), ("2", "c")]);
    let left = stack.wait_dead_and_stop(1).await?;
    let reason = "status 403, which Kannel says of the first of these numbers only";
    assert_eq!((dead(&left, "class"), dead(&left, "reason")), (vec!["unknown"], vec![reason]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_pauses_the_backend_and_loses_nothing() -> Result<()> {
    let kannel = Kannel::start().await?;
    let wrong = config(&kannel)?.replace(PASSWORD, "wrong");
    let stack = Stack::start(Shape::Standalone, &wrong, &[BACKEND]).await?;
    stack.accept("/in", "1", "echo a").await?;
    stack.expect_logged("paused: the provider takes nothing").await?;
    let left = stack.stop().await?;
    assert_eq!((left[&format!("outgoing.{BACKEND}")].len(), left.len()), (1, 1));
    assert!(kannel.on_air()?.is_empty());
    Ok(())
}

/// Kannel cuts what is too long for its `max-messages`, and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_text_in_a_coding_that_it_does_not_need_arrives_whole() -> Result<()> {
    let kannel = Kannel::start().await?;
    let (written, coded) = ("max_parts      = 10", "max_parts = 10\ncoding = 2\nsplit = true");
    let config = config(&kannel)?.replacen(written, coded, 1);
    let stack = Stack::start(Shape::Standalone, &config, &[BACKEND]).await?;
    let text = "0123456789".repeat(20);
    stack.accept("/in", "1", &format!("echo {text}")).await?;
    let on_air = kannel.wait_on_air(3, DEADLINE).await?;
    assert!(on_air.iter().all(|part| part.kind == "ucs-2"), "{on_air:?}");
    assert_eq!(on_air.iter().map(|part| part.text.as_str()).collect::<String>(), text);
    stack.finish().await
}
