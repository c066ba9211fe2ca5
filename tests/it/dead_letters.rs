//! The operator's tool for dead letters, by the real programs, on both queues.

use std::{collections::BTreeSet, fs::File, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use integration_tests::{
    Provider, eventually,
    processes::{Finished, run_to_end},
    provider::{Answer, Behaviour},
    stack::{DEADLINE, Shape, Stack},
};
use serde_json::Value;

use crate::on_every_shape;

on_every_shape!(
    a_rejected_message_is_listed_shown_and_replayed,
    filters_say_which_are_listed_and_discarded,
    a_replay_of_what_is_rejected_again_ends,
    letters_are_replayed_while_nothing_runs,
    a_replay_that_was_killed_loses_no_letter,
    what_cannot_be_printed_is_an_error,
);

const PAIR: Shape = Shape::Pair { ingress: 1, dispatchers: 1 };

/// A configuration with the backends `p` and `q`, both of `provider`.
fn config(provider: &Provider) -> String {
    let backend = |name: &str| {
        format!(
            "[backends.{name}]\nengine = 'http'\nurl = '{}'\nquery = {{ to = '{{identity}}', msg = '{{text}}' }}\n\
             [[endpoints]]\nbackend = '{name}'\n",
            provider.url(&format!("/{name}"))
        )
    };
    format!("{}{}[[apps]]\napp = 'echo'\n", backend("p"), backend("q"))
}

/// Runs `dead-letters ARGS..`, which must succeed, and gives what it printed.
async fn run(stack: &Stack, args: &[&str]) -> Result<String> {
    let finished = try_to_run(stack, args).await?;
    ensure!(finished.code == 0, "dead-letters {args:?}: {finished:?}");
    Ok(finished.stdout)
}

async fn try_to_run(stack: &Stack, args: &[&str]) -> Result<Finished> {
    let args: Vec<&str> = std::iter::once("dead-letters").chain(args.iter().copied()).collect();
    stack.tool(&args).await
}

/// What `list --json ARGS..` prints.
async fn list(stack: &Stack, args: &[&str]) -> Result<Vec<Value>> {
    let args: Vec<&str> = ["list", "--json"].into_iter().chain(args.iter().copied()).collect();
    run(stack, &args).await?.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

fn id(letter: &Value) -> Result<&str> {
    letter["id"].as_str().context("no id")
}

async fn a_rejected_message_is_listed_shown_and_replayed(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(400, "no such number"));
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    assert_eq!(run(&stack, &["list"]).await?, "no dead letters\n");
    stack.accept("/backends/p/", "1112223333", "echo secret").await?;
    stack.wait_dead(1).await?;

    let listed = run(&stack, &["list"]).await?;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("ID "), "{listed}");
    let cells: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(cells[2..8], ["outgoing.p", "rejected", "1", "0", "status", "400:"], "{listed}");
    assert!(!listed.contains("1112223333") && !listed.contains("secret"), "{listed}");
    assert!(listed.contains("status 400: no such number"), "{listed}");

    let shown = run(&stack, &["show", cells[0]]).await?;
    for expected in ["class      rejected\n", "replays    0\n", "1112223333", "secret", "history\n  20"] {
        assert!(shown.contains(expected), "{expected:?} is not in {shown}");
    }
    assert_eq!(run(&stack, &["replay"]).await?, "replayed 1 dead letter\n");
    provider.wait_for(2, DEADLINE).await?;
    assert_eq!(provider.texts("msg"), ["secret", "secret"]);
    assert_eq!(run(&stack, &["list"]).await?, "no dead letters\n");
    assert_eq!(run(&stack, &["replay"]).await?, "replayed no dead letters\n");
    stack.finish().await
}

async fn filters_say_which_are_listed_and_discarded(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.decide(
        |request| {
            if request.path == "/q" { Behaviour::Close } else { Answer::new(400, "").into() }
        },
    );
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    for (count, backend) in ["p", "q", "p"].into_iter().enumerate() {
        stack.accept(&format!("/backends/{backend}/"), &count.to_string(), "echo a").await?;
        stack.wait_dead(count + 1).await?;
    }
    let all = list(&stack, &[]).await?;
    assert_eq!(all.iter().map(|letter| &letter["backend"]).collect::<Vec<_>>(), ["p", "q", "p"]);
    assert_eq!(list(&stack, &["--class", "unknown"]).await?, all[1..2]);
    assert_eq!(
        list(&stack, &["--backend", "p", "--class", "rejected"]).await?,
        [all[0].clone(), all[2].clone()]
    );
    assert_eq!(list(&stack, &["--id", id(&all[2])?, "--id", id(&all[0])?]).await?.len(), 2);
    let some = run(&stack, &["list", "--limit", "1"]).await?;
    assert!(some.contains(id(&all[0])?) && some.ends_with("and 2 more; see --limit\n"), "{some}");

    assert_eq!(try_to_run(&stack, &["discard"]).await?.code, 2);
    assert_eq!(run(&stack, &["discard", "--id", id(&all[2])?]).await?, "discarded 1 dead letter\n");
    assert_eq!(list(&stack, &[]).await?, all[..2]);
    for args in
        [["show", id(&all[2])?].as_slice(), &["replay", "--id", id(&all[2])?], &["discard", "--id", "x"]]
    {
        let finished = try_to_run(&stack, args).await?;
        assert_eq!(finished.code, 69, "{args:?}");
        assert!(
            finished.stderr.contains("dead-letters list` prints those that there are"),
            "{}",
            finished.stderr
        );
    }
    assert_eq!(run(&stack, &["discard", "--backend", "q"]).await?, "discarded 1 dead letter\n");
    assert_eq!(run(&stack, &["discard", "--all", "--limit", "9"]).await?, "discarded 1 dead letter\n");
    stack.finish().await
}

async fn a_replay_of_what_is_rejected_again_ends(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(400, ""));
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    for identity in ["1", "2", "3"] {
        stack.accept("/backends/p/", identity, "echo a").await?;
    }
    stack.wait_dead(3).await?;
    for replays in 1..=5 {
        assert_eq!(run(&stack, &["replay"]).await?, "replayed 3 dead letters\n");
        provider.wait_for(3 + 3 * replays, DEADLINE).await?;
        stack.wait_dead(3).await?;
    }
    let told = run(&stack, &["replay"]).await?;
    assert!(told.starts_with("replayed no dead letters\n3 stay: replayed 5 times already"), "{told}");
    let letters = list(&stack, &[]).await?;
    assert!(letters.iter().all(|letter| letter["replays"] == 5 && letter["attempts"] == 1), "{letters:?}");
    provider.behave(Answer::new(200, ""));
    assert_eq!(run(&stack, &["replay", "--id", id(&letters[1])?]).await?, "replayed 1 dead letter\n");
    provider.wait_for(19, DEADLINE).await?;
    assert_eq!(run(&stack, &["discard", "--class", "rejected"]).await?, "discarded 2 dead letters\n");
    stack.finish().await
}

async fn letters_are_replayed_while_nothing_runs(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave_once(Answer::new(400, ""));
    provider.behave_once(Answer::new(400, ""));
    let mut stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    stack.accept("/backends/p/", "2", "echo b").await?;
    stack.wait_dead(2).await?;
    stack.halt().await?;
    assert_eq!(list(&stack, &[]).await?.len(), 2);
    assert_eq!(run(&stack, &["replay", "--limit", "1"]).await?, "replayed 1 dead letter\n");
    assert_eq!(list(&stack, &[]).await?.len(), 1);
    stack.start_again(|config| config).await?;
    provider.wait_for(3, DEADLINE).await?;
    assert_eq!(run(&stack, &["replay"]).await?, "replayed 1 dead letter\n");
    provider.wait_for(4, DEADLINE).await?;
    stack.finish().await
}

async fn a_replay_that_was_killed_loses_no_letter(shape: Shape) -> Result<()> {
    const COUNT: usize = 400;
    let provider = Provider::start()?;
    provider.behave(Answer::new(400, ""));
    let stack = Stack::start(shape, &config(&provider), &["p", "q"]).await?;
    let post = async |number: usize| {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await
    };
    stream::iter(0..COUNT).map(Ok).try_for_each_concurrent(20, post).await?;
    stack.wait_dead(COUNT).await?;
    provider.behave(Answer::new(200, ""));
    let mut killed = 0;
    // The first are over before anything is done: on a busy machine a run may be done sooner than it can be killed.
    for lifetime in [1, 3, 6, 10, 15, 20, 30, 40, 60, 80, 120] {
        let lifetime = Duration::from_millis(lifetime);
        killed += usize::from(stack.kill_tool(&["dead-letters", "replay"], lifetime).await?);
    }
    ensure!(killed > 0, "no run was killed");
    run(&stack, &["replay"]).await?;
    eventually("every letter is sent", DEADLINE, async || {
        let requests = provider.requests().split_off(COUNT);
        let sent: BTreeSet<_> = requests.iter().filter_map(|request| request.field("to")).collect();
        if sent.len() == COUNT { Ok(()) } else { Err(anyhow!("{} of {COUNT}", sent.len())) }
    })
    .await?;
    // A kill between a confirm and its acknowledgement leaves a copy, which may still wait to be skipped.
    let left = stack.stop().await?;
    ensure!(left.keys().all(|queue| queue == "outgoing.p"), "{:?}", left.keys());
    Ok(())
}

async fn what_cannot_be_printed_is_an_error(shape: Shape) -> Result<()> {
    let stack = Stack::start(shape, &config(&Provider::start()?), &["p", "q"]).await?;
    let full = File::options().write(true).open("/dev/full")?;
    assert_eq!(stack.tool_into(&["dead-letters", "list"], full)?, 69);
    stack.finish().await
}

/// Only the API will send to many at a time; past it there is the broker, so this one has no embedded half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_letter_that_is_partly_sent_only_the_rest_is_replayed() -> Result<()> {
    let provider = Provider::start()?;
    provider.decide(|request| {
        Answer::new(if request.field("to").as_deref() == Some("2") { 400 } else { 200 }, "").into()
    });
    let stack = Stack::start(PAIR, &config(&provider), &["p", "q"]).await?;
    stack.queues()?.publish_outgoing("outgoing.p", ["1", "2", "3"].map(Into::into).to_vec(), "a").await?;
    stack.wait_dead(1).await?;
    provider.behave(Answer::new(200, ""));
    assert_eq!(run(&stack, &["replay"]).await?, "replayed 1 dead letter\n");
    let requests = provider.wait_for(4, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(provider.texts("to"), ["1", "2", "3", "2"]);
    assert_eq!(requests[1].header("idempotency-key"), requests[3].header("idempotency-key"));
    Ok(())
}

/// What somebody holds is in no count, so nothing is said of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_waits_for_whoever_holds_the_letters_and_then_says_so() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(400, ""));
    let stack = Stack::start(PAIR, &config(&provider), &["p", "q"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    stack.wait_dead(1).await?;
    let holder = stack.queues()?.hold("dead").await?;
    for command in [&["list"][..], &["replay"], &["discard", "--all"]] {
        let finished = try_to_run(&stack, command).await?;
        assert_eq!(finished.code, 69, "{finished:?}");
        assert!(
            finished.stderr.contains("another tool has the letters in its hands; run this again"),
            "{finished:?}"
        );
    }
    holder.close(200, "done".into()).await?;
    assert_eq!(run(&stack, &["list", "--backend", "typo"]).await?, "none of 1 dead letter is meant\n");
    assert_eq!(run(&stack, &["discard", "--all"]).await?, "discarded 1 dead letter\n");
    stack.finish().await
}

/// Only a broker lets others publish, so this one has no embedded half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_unroutable_is_replayed_once_its_backend_is_configured() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = Stack::start(PAIR, &config(&provider), &["p", "q", "r"]).await?;
    let body = crate::crashed::outgoing("r", "a")?;
    stack.queues()?.publish("outgoing.r", lapin::BasicProperties::default(), &body).await?;
    stack.queues()?.publish("nowhere", lapin::BasicProperties::default(), b"{}").await?;
    stack.queues()?.wait_depth("unrouted", 2, DEADLINE).await?;
    assert_eq!(run(&stack, &["list"]).await?, "no dead letters\n");
    let listed = run(&stack, &["list", "--unrouted"]).await?;
    assert!(listed.contains(" unrouted ") && listed.contains("no queue is bound for outgoing.r"), "{listed}");
    let told = run(&stack, &["replay", "--unrouted"]).await?;
    assert!(told.starts_with("replayed no unrouted messages\n2 stay: no queue is bound"), "{told}");

    stack.halt().await?;
    let backend = format!(
        "[backends.r]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n",
        provider.url("/r")
    );
    stack.start_again(|config| backend.clone() + &config).await?;
    let told = run(&stack, &["replay", "--unrouted"]).await?;
    assert!(told.starts_with("replayed 1 unrouted message\n1 stay: "), "{told}");
    assert_eq!(provider.wait_for(1, DEADLINE).await?[0].path, "/r");
    assert_eq!(run(&stack, &["discard", "--unrouted", "--all"]).await?, "discarded 1 unrouted message\n");
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_not_there_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let shared = integration_tests::broker::shared_url()?;
    for (program, url, expected) in [
        ("dispatcher", "amqp://u:s3cret@127.0.0.1:1/%2f", "cannot be used: "),
        ("dispatcher", shared.as_str(), "there is no queue never.dead on the broker at "),
        ("gateway", "embedded:none.db", "the queue file none.db does not exist; start the gateway"),
    ] {
        let config =
            format!("[queue]\nurl = '{url}'\nprefix = 'never'\n[backends.b]\nengine = 'httptester'\n");
        std::fs::write(folder.path().join("gateway.toml"), config)?;
        for command in [&["list"][..], &["replay"], &["discard", "--all"], &["show", "1"]] {
            let args: Vec<&str> = std::iter::once("dead-letters").chain(command.iter().copied()).collect();
            let finished = run_to_end(program, &args, &[], folder.path(), DEADLINE).await?;
            assert_eq!(finished.code, 69, "{finished:?}");
            let stderr = &finished.stderr;
            assert!(stderr.contains(expected) && !stderr.contains("s3cret"), "{stderr}");
            assert!(stderr.contains("start") && stderr.contains("or correct"), "{stderr}");
        }
    }
    assert!(!folder.path().join("none.db").exists());
    let ingress = run_to_end("ingress", &["dead-letters", "list"], &[], folder.path(), DEADLINE).await?;
    assert_eq!(ingress.code, 2);
    Ok(())
}
