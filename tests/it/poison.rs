//! Poison: a message that makes its app panic, hang, block or kill the process is dead-lettered alone, and what stands
//! still is started anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use integration_tests::{
    Provider, eventually,
    provider::Answer,
    stack::{DEADLINE, Leftovers, Shape, Stack},
};
const CONFIG: &str = "drain_timeout = '2s'\n[backends.b]\nengine = 'httptester'\ntimeout = '1s'\n[[endpoints]]\nbackend = 'b'\n";

/// The program whose app misbehaves as the message says.
const ODD: &str = "odd-dispatcher";

/// How often the broker gives out a message that is not settled, and a few more.
const MOST_STARTS: usize = 30;

/// A pair whose dispatcher is gone, with `[dispatcher]` keys for the odd one.
async fn start(keys: &str) -> Result<Stack> {
    let config = format!("{CONFIG}[dispatcher]\nadmin_listen = '127.0.0.1:0'\n{keys}\n");
    let mut stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config, &["b"]).await?;
    stack.kill_senders()?;
    Ok(stack)
}

/// The same with a backend `p` that sends to a provider.
async fn start_sending_to(provider: &Provider) -> Result<Stack> {
    let config = format!(
        "drain_timeout = '2s'\n[dispatcher]\nadmin_listen = '127.0.0.1:0'\n[backends.p]\nengine = 'http'\nurl = '{}'\n\
         query = {{ msg = '{{text}}' }}\n[[endpoints]]\nbackend = 'p'\n",
        provider.url("/send")
    );
    let mut stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config, &["p"]).await?;
    stack.kill_senders()?;
    Ok(stack)
}

fn classes(left: &Leftovers) -> Vec<&str> {
    left["dead"].iter().map(|message| message.headers.get("class").map_or("", String::as_str)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_panics_or_never_ends_is_dead_lettered_alone() -> Result<()> {
    let mut stack = start("app_timeout = '1s'").await?;
    for (identity, text) in [("1", "panic"), ("1", "a"), ("2", "endless"), ("2", "b"), ("3", "c")] {
        stack.accept("/backends/b/", identity, text).await?;
    }
    stack.start_sender_of(ODD).await?;
    for (identity, text) in [("1", "a"), ("2", "b"), ("3", "c")] {
        stack.expect_sent("b", identity, &[text]).await?;
    }
    let left = stack.wait_dead_and_stop(2).await?;
    let mut classes = classes(&left);
    classes.sort_unstable();
    assert_eq!((classes, left.len()), (vec!["over_time", "panicked"], 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_the_process_is_dead_lettered_alone() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = start_sending_to(&provider).await?;
    let neighbours: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    for identity in &neighbours[..20] {
        stack.accept("/backends/p/", identity, identity).await?;
    }
    stack.accept("/backends/p/", "poison", "abort").await?;
    for identity in &neighbours[20..] {
        stack.accept("/backends/p/", identity, identity).await?;
    }
    let starts = start_until_dead_lettered(&mut stack).await?;
    assert_eq!(starts, 22);
    assert_only_the_poison_died(stack, &provider, neighbours.into_iter().collect()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_stands_still_is_told_and_ends_the_process() -> Result<()> {
    let stack = start("stuck_after = '6s'\napp_timeout = '1s'").await?;
    stack.accept("/backends/b/", "1", "block").await?;
    let mut dispatcher = stack.start_program(ODD).await?;
    stack.wait_unready(&dispatcher.admin_url("/health/ready"), "queue incoming").await?;
    assert_eq!(dispatcher.wait_exit(DEADLINE).await?, 70);
    let log = dispatcher.stderr().join("\n");
    assert!(log.contains("the queue `incoming` has messages and nothing of it was settled for 6s"), "{log}");
    stack.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_that_block_every_thread_end_the_process_too() -> Result<()> {
    let stack = start("stuck_after = '2s'\napp_timeout = '1s'").await?;
    stack.accept("/backends/b/", "1", "block all").await?;
    let mut dispatcher = stack.start_program(ODD).await?;
    assert_eq!(dispatcher.wait_exit(DEADLINE).await?, 70);
    let log = dispatcher.stderr().join("\n");
    assert!(log.contains("every thread of it is blocked"), "{log}");
    stack.stop().await?;
    Ok(())
}

/// What kills the process waits in one queue, and what other queues have does not die of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kills_the_process_takes_nothing_of_other_queues_along() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(Duration::from_millis(300)));
    let mut stack = start_sending_to(&provider).await?;
    let queued: BTreeSet<String> = (0..5).map(|number| format!("queued {number}")).collect();
    for text in &queued {
        stack.queues()?.publish_outgoing("outgoing.p", vec!["+1".into()], text).await?;
    }
    let accepted: BTreeSet<String> = (0..6).map(|number| format!("accepted {number}")).collect();
    for (number, text) in accepted.iter().enumerate() {
        if number == 3 {
            stack.accept("/backends/p/", "poison", "abort later").await?;
        }
        stack.accept("/backends/p/", &number.to_string(), text).await?;
    }
    start_until_dead_lettered(&mut stack).await?;
    assert_only_the_poison_died(stack, &provider, &queued | &accepted).await
}

/// Waits until all `others` are sent, and looks at what is left. That may be one of them, too: sent by a process that died
/// before it could settle it.
async fn assert_only_the_poison_died(
    stack: Stack,
    provider: &Provider,
    others: BTreeSet<String>,
) -> Result<()> {
    eventually("all others are sent", DEADLINE, async || {
        let sent: BTreeSet<String> = provider.texts("msg").into_iter().collect();
        if sent == others { Ok(()) } else { Err(anyhow!("{sent:?}")) }
    })
    .await?;
    let left = stack.stop().await?;
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for text in provider.texts("msg") {
        *calls.entry(text).or_default() += 1;
    }
    assert!(calls.values().all(|count| *count <= 4), "{calls:?}");
    let dead: Vec<_> = left["dead"].iter().map(|letter| String::from_utf8_lossy(&letter.body)).collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let body: serde_json::Value = serde_json::from_str(&dead[0])?;
    assert_eq!(body["identity"].as_str(), Some("poison"));
    Ok(())
}

/// What a supervisor does: starts it anew whenever it dies, and says how often.
async fn start_until_dead_lettered(stack: &mut Stack) -> Result<usize> {
    let mut starts = 0;
    loop {
        starts += 1;
        ensure!(starts < MOST_STARTS, "the poison was given out {starts} times");
        let mut dispatcher = stack.start_program(ODD).await?;
        let lives = eventually("it dies, or the poison is dead-lettered", DEADLINE, async || {
            match (dispatcher.exit_status()?.is_some(), stack.queues()?.depth("dead").await?) {
                (true, _) => Ok(false),
                (false, Some(depth)) if depth > 0 => Ok(true),
                (false, depth) => Err(anyhow!("it lives, dead letters: {depth:?}")),
            }
        });
        if lives.await? {
            stack.adopt_sender(dispatcher);
            return Ok(starts);
        }
    }
}
