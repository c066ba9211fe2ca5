//! `rate`: the limit of a backend holds over all processes, and a change of it loses nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use integration_tests::{
    Provider, Queues, broker, eventually,
    provider::{Answer, Request},
    stack::{DEADLINE, Shape, Stack},
};
use shared::{message::Identity, queue::QueueName};

use crate::{
    on_every_shape,
    single::{Process, done},
};

on_every_shape!(a_backlog_goes_out_at_the_rate, a_stop_does_not_wait_for_the_rate);

const THREE: Shape = Shape::Pair { ingress: 1, dispatchers: 3 };

/// The routing key of messages for a backend with a rate.
const SINGLE: &str = "outgoing.p.single";

/// How much later than another a call may reach the provider on a busy machine.
const LATE: Duration = Duration::from_millis(250);

/// A backend for each name, with its keys, at `provider`'s path of that name.
fn config(provider: &Provider, backends: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, keys) in backends {
        let url = provider.url(&format!("/{name}"));
        write!(
            text,
            "[backends.{name}]\nengine = 'http'\nurl = '{url}'\nform = {{ to = '{{identity}}', msg = '{{text}}' }}\n\
             {keys}\n[[endpoints]]\nbackend = '{name}'\n"
        )
        .ok();
    }
    text + "[[apps]]\napp = 'echo'\n"
}

async fn post(stack: &Stack, backend: &str, count: usize) -> Result<()> {
    for number in 0..count {
        let identity = format!("+{}", number % 5);
        stack.accept(&format!("/backends/{backend}/"), &identity, &format!("echo {number}")).await?;
    }
    Ok(())
}

/// Queues a message for each number, in this order, past ingress and router.
async fn enqueue(stack: &Stack, key: &str, numbers: std::ops::Range<usize>) -> Result<()> {
    for number in numbers {
        let identity = Identity::from(format!("+{}", number % 5));
        stack.queues()?.publish_outgoing(key, vec![identity], &number.to_string()).await?;
    }
    Ok(())
}

fn number(request: &Request) -> Result<usize> {
    Ok(request.field("msg").context("no text")?.parse()?)
}

/// Fails when in any window more were sent than the rate allows, and one by each of the processes that began in it.
pub(crate) fn ensure_within(rate: f64, begun: u32, requests: &[Request]) -> Result<()> {
    for (first, from) in requests.iter().enumerate() {
        for (count, to) in (1_u32..).zip(&requests[first..]) {
            let window = to.at.duration_since(from.at);
            let allowed = rate * (window + LATE).as_secs_f64() + f64::from(begun);
            ensure!(f64::from(count) <= allowed, "{count} in {window:?}, at most {allowed:.1} are allowed");
        }
    }
    Ok(())
}

/// How many were sent a second.
pub(crate) fn rate_of(requests: &[Request]) -> Result<f64> {
    let (first, last) = (requests.first().context("none")?, requests.last().context("none")?);
    Ok(f64::from(u32::try_from(requests.len() - 1)?) / last.at.duration_since(first.at).as_secs_f64())
}

/// Fails unless each identity got its texts in the order of their numbers.
fn ensure_in_order(requests: &[Request]) -> Result<()> {
    let mut last: BTreeMap<usize, usize> = BTreeMap::new();
    for request in requests {
        let number = number(request)?;
        let before = last.insert(number % 5, number);
        ensure!(before.is_none_or(|before| before < number), "{number} after {before:?}");
    }
    Ok(())
}

async fn wait_for_all(provider: &Provider, count: usize) -> Result<()> {
    eventually(&format!("all {count} texts are sent"), DEADLINE, async || {
        let numbers: BTreeSet<usize> = provider.requests().iter().flat_map(number).collect();
        ensure!(numbers == (0..count).collect(), "{} of them", numbers.len());
        Ok(())
    })
    .await
}

async fn a_backlog_goes_out_at_the_rate(shape: Shape) -> Result<()> {
    let (provider, rate, count) = (Provider::start()?, 20.0, 60);
    let stack = Stack::start(shape, &config(&provider, &[("p", "rate = 20")]), &["p"]).await?;
    post(&stack, "p", count).await?;
    let requests = provider.wait_for(count, DEADLINE).await?;
    stack.finish().await?;
    ensure!(provider.count() == count);
    // Until the consumers have left their probation, each dispatcher begins once, and the first one once more.
    let many = shape == (Shape::Pair { ingress: 2, dispatchers: 3 });
    ensure_within(rate, if many { 4 } else { 1 }, &requests)?;
    let reached = rate_of(&requests)?;
    ensure!(reached >= 0.85 * rate, "{reached:.1} a second");
    // Several dispatchers route the messages of one connection in any order.
    if many { Ok(()) } else { ensure_in_order(&requests) }
}

async fn a_stop_does_not_wait_for_the_rate(shape: Shape) -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(shape, &config(&provider, &[("p", "rate = 0.01")]), &["p"]).await?;
    post(&stack, "p", 3).await?;
    if let Ok(queues) = stack.queues() {
        queues.wait_depth("outgoing.p.single", 2, DEADLINE).await?;
    }
    let begun = Instant::now();
    let left = stack.stop().await?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    ensure!(left.values().map(Vec::len).sum::<usize>() == 3 && provider.count() == 0, "{left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_parts_are_counted_and_not_the_messages() -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(THREE, &config(&provider, &[("p", "rate = 20")]), &["p"]).await?;
    let identities =
        |message: usize| (0..20).map(|number| Identity::from(format!("{message}{number}"))).collect();
    for message in 0..3 {
        stack.queues()?.publish_outgoing(SINGLE, identities(message), &message.to_string()).await?;
    }
    let requests = provider.wait_for(60, DEADLINE).await?;
    stack.finish().await?;
    ensure_within(20.0, 4, &requests)?;
    let reached = rate_of(&requests)?;
    ensure!(reached >= 0.85 * 20.0, "{reached:.1} a second");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_connection_is_sent_in_order_whichever_dispatcher_sends() -> Result<()> {
    let (provider, count) = (Provider::start()?, 60);
    provider.behave(Answer::new(200, "").after(Duration::from_millis(20)));
    let stack = Stack::start(THREE, &config(&provider, &[("p", "rate = 30")]), &["p"]).await?;
    enqueue(&stack, SINGLE, 0..count).await?;
    let requests = provider.wait_for(count, DEADLINE).await?;
    stack.finish().await?;
    ensure_within(30.0, 4, &requests)?;
    ensure_in_order(&requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rate_holds_when_the_dispatcher_that_sends_dies() -> Result<()> {
    let (provider, count) = (Provider::start()?, 80);
    let mut stack = Stack::start(THREE, &config(&provider, &[("p", "rate = 20")]), &["p"]).await?;
    enqueue(&stack, SINGLE, 0..count).await?;
    let before = provider.wait_for(20, DEADLINE).await?.len();
    stack.kill_sender_by_log("INFO sent ")?;
    wait_for_all(&provider, count).await?;
    stack.finish().await?;
    let requests = provider.requests();
    // What it had sent and not yet settled is sent again; the limit holds for that, too.
    ensure!(requests.len() <= count + 16, "{} were sent again", requests.len() - count);
    ensure_within(20.0, 5, &requests)?;
    let reached = rate_of(&requests[before..])?;
    ensure!(reached >= 0.85 * 20.0, "{reached:.1} a second after the death");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_do_not_slow_each_other() -> Result<()> {
    let provider = Provider::start()?;
    let backends = [("slow", "rate = 10"), ("fast", "rate = 20"), ("free", "")];
    let stack = Stack::start(THREE, &config(&provider, &backends), &["slow", "fast", "free"]).await?;
    let begun = Instant::now();
    try_join_all([("slow", 25), ("fast", 50), ("free", 100)].map(|(name, count)| post(&stack, name, count)))
        .await?;
    let all = provider.wait_for(175, DEADLINE).await?;
    stack.finish().await?;
    let of = |name: &str| -> Vec<Request> {
        all.iter().filter(|request| request.path.ends_with(name)).cloned().collect()
    };
    for (name, rate) in [("slow", 10.0), ("fast", 20.0)] {
        ensure_within(rate, 4, &of(name)).context(name)?;
        let reached = rate_of(&of(name))?;
        ensure!(reached >= 0.85 * rate, "{name}: {reached:.1} a second");
    }
    let free = of("free").last().context("none")?.at.duration_since(begun);
    let slow = of("slow").last().context("none")?.at.duration_since(begun);
    ensure!(of("free").len() == 100 && free < slow, "{free:?}, while the slow one took {slow:?}");
    Ok(())
}

/// What waits in the queue that is not used any more is sent all the same, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_is_added_and_removed_with_a_backlog() -> Result<()> {
    let provider = Provider::start()?;
    let with = |keys: &str| config(&provider, &[("p", keys)]);
    provider.behave_once(Answer::new(500, ""));
    let mut stack = Stack::start(THREE, &with("rate = 1"), &["p"]).await?;
    enqueue(&stack, SINGLE, 0..40).await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.restart_with(&with("concurrency = 1")).await?;
    wait_for_all(&provider, 40).await?;
    stack.queues()?.wait_depth("outgoing.p.single", 0, DEADLINE).await?;

    provider.behave(Answer::new(200, "").after(Duration::from_millis(500)));
    enqueue(&stack, "outgoing.p", 40..80).await?;
    provider.wait_for(45, DEADLINE).await?;
    stack.restart_with(&with("rate = 40")).await?;
    provider.behave(Answer::new(200, ""));
    enqueue(&stack, SINGLE, 80..90).await?;
    wait_for_all(&provider, 90).await?;
    stack.queues()?.wait_depth("outgoing.p", 0, DEADLINE).await?;
    stack.finish().await?;
    ensure!(provider.count() == 91, "{} calls, one of which failed", provider.count());
    Ok(())
}

/// Old and new processes run beside each other, and messages come in all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_change_under_traffic_loses_nothing() -> Result<()> {
    let provider = Provider::start()?;
    let with = |keys: &str| config(&provider, &[("p", keys)]);
    let mut stack = Stack::start(THREE, &with(""), &["p"]).await?;
    let url = stack.url("/backends/p/")?;
    let (client, (stop, mut stopped)) = (stack.client().clone(), tokio::sync::oneshot::channel::<()>());
    let traffic = async {
        let (mut count, mut pace) = (0, tokio::time::interval(Duration::from_millis(10)));
        while stopped.try_recv().is_err() {
            let form = [("identity", "1".to_owned()), ("text", format!("echo {count}"))];
            ensure!(client.post(&url).form(&form).send().await?.status().is_success());
            count += 1;
            pace.tick().await;
        }
        Ok(count)
    };
    let changes = async {
        stack.roll_senders(&with("rate = 200")).await?;
        stack.roll_senders(&with("")).await?;
        stop.send(()).ok();
        anyhow::Ok(())
    };
    let (count, ended) = tokio::join!(traffic, changes);
    ended?;
    let count = count?;
    wait_for_all(&provider, count).await?;
    stack.finish().await?;
    ensure!(provider.count() == count, "{} were sent, not {count}", provider.count());
    Ok(())
}

/// An old process goes on to queue for the queue that it knows, and so does the retry ladder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_to_the_other_queue_later_is_moved() -> Result<()> {
    let provider = Provider::start()?;
    let with = |keys: &str| config(&provider, &[("p", keys)]);
    let mut stack = Stack::start(THREE, &with(""), &["p"]).await?;
    stack.restart_with(&with("rate = 100")).await?;
    enqueue(&stack, "outgoing.p", 0..30).await?;
    wait_for_all(&provider, 30).await?;
    stack.finish().await?;
    ensure!(provider.count() == 30, "{} were sent", provider.count());
    ensure_within(100.0, 4, &provider.requests())
}

/// Others who publish know a backend's name, and nothing of its rate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_publish_for_a_backend_with_a_rate_is_sent() -> Result<()> {
    let provider = Provider::start()?;
    let stack = Stack::start(THREE, &config(&provider, &[("p", "rate = 50")]), &["p"]).await?;
    let queues = stack.queues()?;
    // A dispatcher makes the way after its first look for the queue without a rate.
    eventually("the key leads to the queue", DEADLINE, async || {
        queues.publish_outgoing("outgoing.p", vec!["+1".into()], "0").await?;
        let unrouted = queues.take_all("unrouted").await?.len();
        ensure!(unrouted == 0, "{unrouted} went astray");
        Ok(())
    })
    .await?;
    provider.wait_for(1, DEADLINE).await?;
    stack.finish().await
}

/// A canary with the other configuration comes, queues something for the queue that it knows, and goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_short_lived_process_with_the_other_configuration_queues_is_moved() -> Result<()> {
    let prefix = format!("s{}", uuid::Uuid::new_v4().simple());
    let (steady, queue) = (Process::start(&prefix, "rate = 20").await?, QueueName::Outgoing("a".parse()?));
    let mut deliveries = steady.consume(queue, 5).await?;
    let canary = Process::start(&prefix, "").await?;
    canary.publish("stranded", "outgoing.a").await?;
    canary.stop().await;
    let delivery = tokio::time::timeout(DEADLINE, deliveries.next()).await?.context("no delivery")?;
    ensure!(delivery.message.id == "stranded");
    done(delivery).await;
    drop(deliveries);
    steady.stop().await;
    let queues = Queues::connect(&broker::shared_url()?, &prefix, &["a"], &["200ms"]).await?;
    let depths = queues.depths().await?;
    ensure!(depths.values().all(|depth| *depth == 0), "{depths:?}");
    queues.delete_everything().await
}
