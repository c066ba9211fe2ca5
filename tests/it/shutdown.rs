//! A stop finishes what was begun within its deadline, and says so in the exit code.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use integration_tests::{
    Provider, Queues, broker,
    provider::{Answer, Behaviour},
    stack::{DEADLINE, Shape, Stack},
};
use shared::queue::QueueName;

use crate::{
    on_every_shape,
    single::{Process, done},
};

on_every_shape!(what_was_begun_is_finished, what_cannot_be_finished_is_kept);

fn config(provider: &Provider) -> String {
    format!(
        "drain_timeout = '2s'\n[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

async fn what_was_begun_is_finished(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(Duration::from_millis(700)));
    let stack = Stack::start(shape, &config(&provider), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.finish().await?;
    assert_eq!(provider.texts("msg"), ["a"]);
    Ok(())
}

async fn what_cannot_be_finished_is_kept(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Behaviour::Hang);
    let stack = Stack::start(shape, &config(&provider), &["p"]).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    let left = stack.stop_unfinished("outgoing.p").await?;
    assert_eq!(left.len(), 1);
    assert_eq!(left["outgoing.p"].len(), 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_doubles_nothing() -> Result<()> {
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(Duration::from_millis(50)));
    let shape = Shape::Pair { ingress: 1, dispatchers: 2 };
    let config = config(&provider).replace("drain_timeout = '2s'", "");
    let mut stack = Stack::start(shape, &config, &["p"]).await?;
    let count = 600;
    stack.pause_senders()?;
    for number in 0..count {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    stack.resume_senders()?;
    stack.roll_senders(&config).await?;
    ensure!(provider.count() < count, "all was done before the last restart");
    provider.wait_for(count, DEADLINE).await?;
    stack.finish().await?;
    let mut texts = provider.texts("msg");
    texts.sort_unstable();
    texts.dedup();
    assert_eq!((texts.len(), provider.count()), (count, count));
    Ok(())
}

/// Each stop counts as one more delivery, and the broker takes what was delivered 21 times for poison.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_stops_do_not_make_poison_of_what_waits() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = start_refused(&provider).await?;
    stack.accept("/backends/p/", "1", "echo a").await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.stop_senders().await?;
    give_back_often(stack.queues()?).await?;
    stack.start_sender().await?;
    provider.wait_for(2, DEADLINE).await?;
    let left = stack.stop().await?;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["outgoing.p"]);
    let counted =
        left["outgoing.p"][0].headers.get("x-delivery-count").map_or(Ok(0), |count| count.parse())?;
    ensure!(counted <= 1, "counted on: {counted}");
    Ok(())
}

/// A stop right after a start finds what was delivered before still held back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_stops_right_after_a_start_do_not_either() -> Result<()> {
    let provider = Provider::start()?;
    let mut stack = start_refused(&provider).await?;
    stack.stop_senders().await?;
    stack.queues()?.publish_outgoing("outgoing.p", vec!["+1".into()], "a").await?;
    give_back_often(stack.queues()?).await?;
    for _ in 0..12 {
        stack.start_sender().await?;
        stack.stop_senders().await?;
    }
    let left = stack.stop().await?;
    assert_eq!(left.keys().collect::<Vec<_>>(), ["outgoing.p"]);
    Ok(())
}

/// A pair whose provider takes nothing.
async fn start_refused(provider: &Provider) -> Result<Stack> {
    provider.behave(Answer::new(503, ""));
    Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config(provider), &["p"]).await
}

/// Has the one message of a queue delivered, and given back unsettled, 12 times.
async fn give_back_often(queues: &Queues) -> Result<()> {
    for _ in 0..12 {
        let holder = queues.hold("outgoing.p").await?;
        queues.wait_depth("outgoing.p", 0, DEADLINE).await?;
        holder.close(200, "done".into()).await?;
        queues.wait_depth("outgoing.p", 1, DEADLINE).await?;
    }
    Ok(())
}

/// More acknowledgements than a channel hands on at a time, none of which stands for another, reach the broker together with
/// the end of their channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_acknowledgements_of_a_stop_reach_the_queue() -> Result<()> {
    const COUNT: usize = 100;
    let (prefix, proxy) = (format!("s{}", uuid::Uuid::new_v4().simple()), broker::proxy_to_shared()?);
    let process = Process::start_at(&broker::url_through(&proxy), &prefix, "").await?;
    let mut incoming = process.consume(QueueName::Incoming, 300).await?;
    let mut deliveries = Vec::new();
    for number in 0..=2 * COUNT {
        process.publish(&number.to_string(), "incoming.a").await?;
        let delivery =
            tokio::time::timeout(DEADLINE, incoming.next()).await?.context("the deliveries ended")?;
        // The first one ends the probation.
        if number == 0 { done(delivery).await } else { deliveries.push(delivery) }
    }
    proxy.stall();
    for (number, delivery) in deliveries.into_iter().enumerate() {
        if number % 2 == 1 {
            done(delivery).await;
        }
    }
    drop(incoming);
    let mut stop = Box::pin(process.stop());
    let stopped = tokio::time::timeout(Duration::from_secs(1), &mut stop).await;
    ensure!(stopped.is_err(), "it ends before the broker has heard anything");
    proxy.resume();
    stop.await;
    let queues = Queues::connect(&broker::shared_url()?, &prefix, &["a"], &["200ms"]).await?;
    queues.wait_depth("incoming", u32::try_from(COUNT)?, DEADLINE).await?;
    queues.take_all("incoming").await?;
    queues.delete_everything().await
}
