//! A provider that takes nothing pauses its backend: nothing is lost, nothing counts as an attempt, and no other backend
//! notices.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use integration_tests::{
    Provider, eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};

use crate::on_every_shape;

on_every_shape!(
    a_provider_that_is_away_pauses_its_backend_and_no_other,
    a_provider_that_is_overloaded_is_given_the_time_it_asks_for,
    a_stop_during_a_pause_leaves_the_messages_where_they_are,
);

/// Two backends, `p` and `q`.
fn config(p: &Provider, q: &Provider) -> String {
    let backend = |name: &str, provider: &Provider| {
        format!(
            "[backends.{name}]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n\
             [[endpoints]]\nbackend = '{name}'\n",
            provider.url("/send")
        )
    };
    format!("{}{}[[apps]]\napp = 'echo'\n", backend("p", p), backend("q", q))
}

/// Waits until every process that sends says that `p` is paused, or that it is not.
async fn wait_paused(stack: &Stack, processes: f64) -> Result<()> {
    eventually(&format!("`p` is paused in {processes} processes"), DEADLINE, async || {
        let paused = stack.metric("gateway_backend_paused", r#"backend="p""#).await?;
        if (paused - processes).abs() < 0.1 { Ok(()) } else { Err(anyhow!("{paused}")) }
    })
    .await
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort_by_key(|text| text.parse::<u32>().unwrap_or(u32::MAX));
    texts
}

async fn a_provider_that_is_away_pauses_its_backend_and_no_other(shape: Shape) -> Result<()> {
    let (mut p, q) = (Provider::start()?, Provider::start()?);
    let config = config(&p, &q);
    p.stop();
    let stack = Stack::start(shape, &config, &["p", "q"]).await?;
    let count = 100;
    let senders = stack.admin_urls("").len();
    for number in 0..count {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    wait_paused(&stack, f64::from(u32::try_from(senders)?)).await?;
    let (status, page) = stack.ready_page().await?;
    let checks = page["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let told = checks.iter().find(|check| check["name"] == "backend p").map(|check| &check["detail"]);
    let told = told.and_then(|told| told.as_str()).unwrap_or_default();
    ensure!(status == 200, "a pause made the process unready: {page}");
    ensure!(told.starts_with("paused for ") && told.contains("no connection"), "{page}");

    for number in 0..count {
        stack.accept("/backends/q/", &number.to_string(), &format!("echo {number}")).await?;
    }
    q.wait_for(count, DEADLINE).await?;
    ensure!(!checks.iter().any(|check| check["name"] == "backend q"), "{page}");

    p.restart()?;
    p.wait_for(count, DEADLINE * 2).await?;
    wait_paused(&stack, 0.0).await?;
    stack.finish().await?;
    let expected: Vec<String> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(sorted(p.texts("msg")), expected);
    assert_eq!(sorted(q.texts("msg")), expected);
    Ok(())
}

async fn a_provider_that_is_overloaded_is_given_the_time_it_asks_for(shape: Shape) -> Result<()> {
    let (p, q) = (Provider::start()?, Provider::start()?);
    let stack = Stack::start(shape, &config(&p, &q), &["p", "q"]).await?;
    // More refusals than a message has attempts.
    for _ in 0..4 {
        p.behave_once(Answer::new(429, "").header("retry-after", "2"));
    }
    stack.accept("/backends/p/", "1", "echo a").await?;
    let requests = p.wait_for(5, DEADLINE).await?;
    let pauses: Vec<Duration> =
        requests.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at)).collect();
    ensure!(pauses.iter().all(|pause| *pause >= Duration::from_secs(2)), "{pauses:?}");
    let ids: Vec<_> = requests.iter().map(|request| request.header("idempotency-key")).collect();
    ensure!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    stack.finish().await
}

async fn a_stop_during_a_pause_leaves_the_messages_where_they_are(shape: Shape) -> Result<()> {
    let (p, q) = (Provider::start()?, Provider::start()?);
    let stack = Stack::start(shape, &config(&p, &q), &["p", "q"]).await?;
    p.behave(Answer::new(503, ""));
    for number in 0..40 {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    p.wait_for(1, DEADLINE).await?;
    eventually("all are routed", DEADLINE, async || {
        let routed = stack.logged().matches(" routed message_id=").count();
        if routed == 40 { Ok(()) } else { Err(anyhow!("{routed}")) }
    })
    .await?;
    let left = stack.stop().await?;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["outgoing.p"]);
    assert_eq!(left["outgoing.p"].len(), 40);
    ensure!(left["outgoing.p"].iter().all(|message| !message.headers.contains_key("attempts")), "{left:?}");
    Ok(())
}
