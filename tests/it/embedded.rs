//! `gateway` on the embedded queue: killed at any moment, and only once on a file.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use integration_tests::{
    Provider, eventually,
    stack::{DEADLINE, Shape, Stack},
};
use tokio::sync::watch;

/// How often the gateway is killed, and how many requests are made in each life.
const LIVES: usize = 8;
const REQUESTS: usize = 60;

fn config(provider: &Provider) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\non_unknown = 'resend'\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_killed_again_and_again_loses_nothing_that_it_accepted() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = Stack::start(Shape::Standalone, &config(&provider), &["p"]).await?;
    let (mut accepted, mut seed) = (BTreeSet::new(), 0x5eed_u64);
    for life in 0..LIVES {
        let (ended, mut count) = watch::channel(0);
        // xorshift: after the same numbers of answers in every run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let asking = join_all((0..REQUESTS).map(async |number| {
            let text = format!("{life}-{number}");
            let body = format!("echo {text}");
            let form = [("identity", text.as_str()), ("text", body.as_str())];
            // Who gets no answer may try again; only what is answered with 200 is promised.
            let answer = stack.post("/backends/p/", &form).await;
            ended.send_modify(|count| *count += 1);
            answer.is_ok_and(|(status, _)| status == 200).then_some(text)
        }));
        let dying = async {
            count.wait_for(|count| *count >= seed % (REQUESTS as u64 + 1)).await?;
            stack.kill_first()
        };
        let (answers, killed) = tokio::join!(asking, dying);
        killed?;
        accepted.extend(answers.into_iter().flatten());
        stack.replace_killed().await?;
    }
    ensure!(accepted.len() > REQUESTS, "only {} were accepted: the kills came too early", accepted.len());
    eventually("everything that was accepted is sent", DEADLINE, async || {
        let sent: BTreeSet<String> = provider.texts("msg").into_iter().collect();
        let missing: Vec<_> = accepted.difference(&sent).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} of {}: {missing:?}", missing.len(), accepted.len()))
        }
    })
    .await?;
    // A copy is one that the provider can recognise.
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for request in provider.requests() {
        let (text, id) = (request.field("msg"), request.header("idempotency-key"));
        ids.entry(text.unwrap_or_default()).or_default().insert(id.unwrap_or_default().to_owned());
    }
    ensure!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_gateway_on_the_same_file_is_refused_and_the_first_goes_on() -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(Shape::Standalone, &config(&provider), &["p"]).await?;
    let second = stack.tool(&["run"]).await?;
    ensure!(second.code == 69, "{second:?}");
    ensure!(
        second.stderr.contains("is in use by another gateway; stop it, or name another file"),
        "{second:?}"
    );
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    let migrated = stack.tool(&["queues", "migrate", "sms.incoming"]).await?;
    ensure!(migrated.code == 0 && migrated.stdout.starts_with("nothing to migrate"), "{migrated:?}");
    stack.finish().await
}
