//! One suite of promises that both queues keep: durable when published, delivered until settled, moved before taken away.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use futures_util::FutureExt;
use integration_tests::{Queues, broker, eventually, stack::DEADLINE};
use shared::{
    clock::UnixMillis,
    config::{self, Config},
    lifecycle::Lifecycle,
    message::BackendName,
    queue::{
        self, Deliveries, Delivery, Disposition, Headers, Message, Prefetch, Queue, QueueName, RetryPolicy,
    },
};
use tempfile::TempDir;

/// The rung of the ladder.
const RUNG: Duration = Duration::from_millis(300);

/// A queue under test, and what it needs to be opened again.
struct Bench {
    config: Config,
    prefix: String,
    lifecycle: Lifecycle,
    queue: Arc<dyn Queue>,
    _folder: TempDir,
}

#[derive(Clone, Copy)]
enum Kind {
    RabbitMq,
    Embedded,
}

impl Bench {
    async fn open(kind: Kind) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let prefix = format!("c{}", uuid::Uuid::new_v4().simple());
        let url = match kind {
            Kind::RabbitMq => broker::shared_url()?,
            Kind::Embedded => format!("embedded:{}", folder.path().join("queue.db").display()),
        };
        let text = format!(
            "[queue]\nurl = '{url}'\nprefix = '{prefix}'\nretry = ['300ms']\nmax_attempts = 2\n\
             [backends.a]\nengine = 'httptester'\n[backends.b]\nengine = 'httptester'\n"
        );
        let config = Config::parse("test", &text, &BTreeMap::new())?;
        let lifecycle = Lifecycle::default();
        let queue = queue::open(&config, &lifecycle)?;
        let bench = Self { config, prefix, lifecycle, queue, _folder: folder };
        bench.ready().await?;
        Ok(bench)
    }

    async fn ready(&self) -> Result<()> {
        eventually("the queue is ready", DEADLINE, async || {
            let checks = self.queue.checks();
            if checks.iter().all(|check| check.ok) { Ok(()) } else { Err(anyhow!("{checks:?}")) }
        })
        .await
    }

    /// As a restart of the process: everything is drained and opened again.
    async fn reopen(mut self) -> Result<Self> {
        self.lifecycle.stop();
        self.queue.close().await;
        self.lifecycle = Lifecycle::default();
        self.queue = queue::open(&self.config, &self.lifecycle)?;
        self.ready().await?;
        Ok(self)
    }

    async fn publish(&self, id: &str, route: &str) -> Result<()> {
        self.queue.publish(message(id, route)).await?;
        Ok(())
    }

    fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Deliveries> {
        self.queue.consume(vec![(queue, Prefetch::fixed(prefetch))]).pop().context("no deliveries")
    }

    /// A consumer with its whole prefetch: it has settled a first message.
    async fn consume_whole(&self, queue: QueueName, prefetch: u16, route: &str) -> Result<Deliveries> {
        let mut deliveries = self.consume(queue, prefetch)?;
        self.publish("first", route).await?;
        let delivery = next(&mut deliveries).await?;
        self.settle(delivery, Disposition::Done).await;
        Ok(deliveries)
    }

    async fn settle(&self, delivery: Delivery, disposition: Disposition) {
        let policy = RetryPolicy::new(&self.config.queue);
        delivery.receipt.settle(delivery.message, disposition, &policy).await;
    }

    async fn close(self) -> Result<()> {
        self.lifecycle.stop();
        self.queue.close().await;
        if let config::QueueUrl::Amqp(_) = &self.config.queue.url {
            let queues =
                Queues::connect(&broker::shared_url()?, &self.prefix, &["a", "b"], &["300ms"]).await?;
            queues.delete_everything().await?;
        }
        ensure!(self.lifecycle.failure().is_none(), "{:?}", self.lifecycle.failure());
        Ok(())
    }
}

fn message(id: &str, route: &str) -> Message {
    Message {
        id: id.to_owned(),
        kind: "incoming.v1".into(),
        route: route.to_owned(),
        body: format!("body of {id} \u{263a}").into(),
        published_at: UnixMillis(1_790_000_000_000),
        headers: Headers::from([("traceparent".to_owned(), "00-t".to_owned())]),
    }
}

async fn next(deliveries: &mut Deliveries) -> Result<Delivery> {
    let next = tokio::time::timeout(DEADLINE, deliveries.next()).await;
    next.context("nothing is delivered")?.context("the deliveries ended")
}

fn outgoing(backend: &str) -> Result<QueueName> {
    Ok(QueueName::Outgoing(backend.parse::<BackendName>()?))
}

fn retry(class: &'static str) -> Disposition {
    let headers = Headers::from([("sent".to_owned(), "[]".to_owned())]);
    Disposition::Retry { class, reason: "on purpose".to_owned(), headers }
}

async fn a_message_arrives_as_it_was_published(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    bench.publish("1", "incoming.a").await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let delivery = next(&mut incoming).await?;
    ensure!(delivery.message == message("1", "incoming.a") && !delivery.redelivered);
    bench.settle(delivery, Disposition::Done).await;

    let bench = bench.reopen().await?;
    bench.publish("2", "incoming.a").await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let delivery = next(&mut incoming).await?;
    ensure!(delivery.message.id == "2", "{} was done with", delivery.message.id);
    bench.settle(delivery, Disposition::Done).await;
    bench.close().await
}

async fn each_route_leads_to_its_queue_in_order(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    let routes = [
        "incoming.a",
        "submit.b",
        "incoming.a.b",
        "outgoing.a",
        "outgoing.b",
        "report.a",
        "outgoing.gone",
        "else",
    ];
    for route in routes {
        bench.publish(route, route).await?;
    }
    let queues = [
        (QueueName::Incoming, &routes[..3]),
        (outgoing("a")?, &routes[3..4]),
        (outgoing("b")?, &routes[4..5]),
        (QueueName::Reports, &routes[5..6]),
        (QueueName::Unrouted, &routes[6..]),
    ];
    let names = queues.iter().map(|(name, _)| (name.clone(), Prefetch::fixed(10))).collect();
    for (mut deliveries, (name, expected)) in bench.queue.consume(names).into_iter().zip(queues) {
        for route in expected {
            let delivery = next(&mut deliveries).await?;
            ensure!(delivery.message.route == *route, "{name} got {}, not {route}", delivery.message.route);
            bench.settle(delivery, Disposition::Done).await;
        }
    }
    bench.close().await
}

async fn what_is_not_settled_comes_back(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    let mut incoming = bench.consume_whole(QueueName::Incoming, 10, "incoming.a").await?;
    for id in ["1", "2", "3"] {
        bench.publish(id, "incoming.a").await?;
    }
    let (first, second) = (next(&mut incoming).await?, next(&mut incoming).await?);
    bench.settle(second, Disposition::Done).await;
    drop(first);
    drop(incoming);
    let bench = bench.reopen().await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    for id in ["1", "3"] {
        let delivery = next(&mut incoming).await?;
        ensure!(delivery.message.id == id, "{} instead of {id}", delivery.message.id);
        // The embedded queue knows that it was closed in good order.
        ensure!(delivery.redelivered == matches!(kind, Kind::RabbitMq));
        bench.settle(delivery, Disposition::Done).await;
    }
    bench.close().await
}

async fn no_more_than_the_prefetch_is_out_at_a_time(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    let mut incoming = bench.consume_whole(QueueName::Incoming, 2, "incoming.a").await?;
    for number in 0..5 {
        bench.publish(&number.to_string(), "incoming.a").await?;
    }
    let held = [next(&mut incoming).await?, next(&mut incoming).await?];
    // A message that was published later has gone all its way to another consumer: so would the third have here.
    bench.publish("x", "outgoing.a").await?;
    let mut other = bench.consume(outgoing("a")?, 1)?;
    let delivery = next(&mut other).await?;
    bench.settle(delivery, Disposition::Done).await;
    ensure!(incoming.next().now_or_never().is_none(), "a third is out");
    for delivery in held {
        bench.settle(delivery, Disposition::Done).await;
    }
    for _ in 2..5 {
        let delivery = next(&mut incoming).await?;
        bench.settle(delivery, Disposition::Done).await;
    }
    bench.close().await
}

async fn the_ladder_gives_back_after_its_delay_and_ends_dead(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    bench.publish("1", "outgoing.a").await?;
    let names = [outgoing("a")?, QueueName::Dead];
    let mut deliveries = bench.queue.consume(names.map(|name| (name, Prefetch::fixed(10))).into());
    let (mut dead, mut work) = (deliveries.pop().context("dead")?, deliveries.pop().context("work")?);

    let delivery = next(&mut work).await?;
    let begun = Instant::now();
    bench.settle(delivery, retry("not_sent")).await;
    let again = next(&mut work).await?;
    ensure!(begun.elapsed() >= RUNG, "back after {:?}", begun.elapsed());
    ensure!(again.message.body == message("1", "").body && again.message.route == "outgoing.a");
    ensure!(again.message.id == "1" && again.message.kind == "incoming.v1" && !again.redelivered);
    ensure!(again.message.attempts() == 1 && again.message.headers["sent"] == "[]");
    ensure!(again.message.headers["traceparent"] == "00-t");

    bench.settle(again, retry("not_sent")).await;
    let last = next(&mut dead).await?;
    ensure!(last.message.route == "outgoing.a" && last.message.body == message("1", "").body);
    let header = |name: &str| last.message.headers.get(name).map_or("", String::as_str);
    ensure!((header("class"), header("attempts")) == ("not_sent", "2"), "{:?}", last.message.headers);
    ensure!(header("reason") == "given up after 2 attempts: on purpose", "{}", header("reason"));
    bench.settle(last, Disposition::Done).await;
    bench.close().await
}

async fn a_retry_survives_a_restart(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    bench.publish("1", "incoming.a").await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let delivery = next(&mut incoming).await?;
    bench.settle(delivery, retry("app_failed")).await;
    let bench = bench.reopen().await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let delivery = next(&mut incoming).await?;
    ensure!(delivery.message.attempts() == 1);
    bench.settle(delivery, Disposition::Done).await;
    bench.close().await
}

async fn a_stop_ends_the_deliveries_and_settling_still_works(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    bench.publish("1", "incoming.a").await?;
    let mut incoming = bench.consume(QueueName::Incoming, 1)?;
    let delivery = next(&mut incoming).await?;
    bench.lifecycle.stop();
    bench.publish("2", "incoming.a").await?;
    let ended = tokio::time::timeout(DEADLINE, incoming.next()).await.context("the deliveries do not end")?;
    ensure!(ended.is_none());
    bench.settle(delivery, Disposition::Done).await;

    let bench = bench.reopen().await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let delivery = next(&mut incoming).await?;
    ensure!(delivery.message.id == "2", "{} was settled", delivery.message.id);
    bench.settle(delivery, Disposition::Done).await;
    bench.close().await
}

/// A message that kills the process must not take the delivery counts of its neighbours with it.
/// Only RabbitMQ takes an end with deliveries in hand for a crash; that of the embedded queue is in its own tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_one_message_is_out_at_a_time() -> Result<()> {
    let bench = Bench::open(Kind::RabbitMq).await?;
    let mut incoming = bench.consume_whole(QueueName::Incoming, 10, "incoming.a").await?;
    for id in ["poison", "neighbour", "next"] {
        bench.publish(id, "incoming.a").await?;
    }
    drop((next(&mut incoming).await?, next(&mut incoming).await?));
    drop(incoming);
    let bench = bench.reopen().await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    let poison = next(&mut incoming).await?;
    bench.publish("x", "outgoing.a").await?;
    let mut other = bench.consume(outgoing("a")?, 1)?;
    let delivery = next(&mut other).await?;
    bench.settle(delivery, Disposition::Done).await;
    ensure!(incoming.next().now_or_never().is_none(), "a second one is out beside the suspect");
    bench.settle(poison, Disposition::Done).await;
    for id in ["neighbour", "next"] {
        let delivery = next(&mut incoming).await?;
        ensure!(delivery.message.id == id);
        bench.settle(delivery, Disposition::Done).await;
    }
    bench.close().await
}

async fn many_at_once_all_arrive_once(kind: Kind) -> Result<()> {
    let bench = Bench::open(kind).await?;
    let mut incoming = bench.consume(QueueName::Incoming, 100)?;
    let publish = |number: usize| bench.queue.publish(message(&number.to_string(), "incoming.a"));
    let publishing = futures_util::future::try_join_all((0..2000).map(publish));
    let mut seen = std::collections::BTreeSet::new();
    let consuming = async {
        while seen.len() < 2000 {
            let delivery = next(&mut incoming).await?;
            ensure!(seen.insert(delivery.message.id.clone()), "{} came twice", delivery.message.id);
            bench.settle(delivery, Disposition::Done).await;
        }
        Ok(())
    };
    let (published, consumed) = tokio::join!(publishing, consuming);
    published?;
    consumed?;
    bench.close().await
}

/// A stop settles much at once, and the connection is closed right after.
async fn what_was_settled_last_is_not_given_out_again(kind: Kind) -> Result<()> {
    const COUNT: usize = 3000;
    let bench = Bench::open(kind).await?;
    let mut incoming = bench.consume_whole(QueueName::Incoming, 4000, "incoming.a").await?;
    let publish = |number: usize| bench.queue.publish(message(&number.to_string(), "incoming.a"));
    futures_util::future::try_join_all((0..COUNT).map(publish)).await?;
    let mut held = Vec::new();
    while held.len() < COUNT {
        held.push(next(&mut incoming).await?);
    }
    // Not in the order of delivery, in which one acknowledgement would stand for many.
    for delivery in held.into_iter().rev() {
        bench.settle(delivery, Disposition::Done).await;
    }
    let bench = bench.reopen().await?;
    let mut incoming = bench.consume(QueueName::Incoming, 10)?;
    bench.publish("last", "incoming.a").await?;
    let delivery = next(&mut incoming).await?;
    ensure!(delivery.message.id == "last", "{} was settled and came again", delivery.message.id);
    bench.settle(delivery, Disposition::Done).await;
    bench.close().await
}

macro_rules! on_both_queues {
    ($($name:ident),* $(,)?) => {
        mod rabbitmq {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Kind::RabbitMq).await
            })*
        }

        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() -> anyhow::Result<()> {
                super::$name(super::Kind::Embedded).await
            })*
        }
    };
}

on_both_queues!(
    a_message_arrives_as_it_was_published,
    each_route_leads_to_its_queue_in_order,
    what_is_not_settled_comes_back,
    no_more_than_the_prefetch_is_out_at_a_time,
    the_ladder_gives_back_after_its_delay_and_ends_dead,
    a_retry_survives_a_restart,
    a_stop_ends_the_deliveries_and_settling_still_works,
    many_at_once_all_arrive_once,
    what_was_settled_last_is_not_given_out_again,
);
