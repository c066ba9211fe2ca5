//! A queue of a backend with a rate: one process at a time consumes it, and the next one takes over in order.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use integration_tests::{Queues, broker, eventually, stack::DEADLINE};
use shared::{
    clock::UnixMillis,
    config::Config,
    lifecycle::Lifecycle,
    queue::{
        self, Deliveries, Delivery, Disposition, Headers, Message, Prefetch, Queue, QueueName, RetryPolicy,
    },
};

/// The queue as one process of many has it.
pub(crate) struct Process {
    lifecycle: Lifecycle,
    queue: Arc<dyn Queue>,
}

impl Process {
    /// Starts one whose backend `a` has these keys.
    pub(crate) async fn start(prefix: &str, keys: &str) -> Result<Self> {
        Self::start_at(&broker::shared_url()?, prefix, keys).await
    }

    /// The same with another way to the broker.
    pub(crate) async fn start_at(url: &str, prefix: &str, keys: &str) -> Result<Self> {
        let text = format!(
            "[queue]\nurl = '{url}'\nprefix = '{prefix}'\nretry = ['200ms']\n\
             [dispatcher]\nstuck_after = '4s'\napp_timeout = '1s'\n\
             [backends.a]\nengine = 'httptester'\ntimeout = '1s'\n{keys}\n"
        );
        let config = Config::parse("test", &text, &BTreeMap::new())?;
        let lifecycle = Lifecycle::default();
        let queue = queue::open(&config, &lifecycle)?;
        let process = Self { lifecycle, queue };
        process.ready().await?;
        Ok(process)
    }

    async fn ready(&self) -> Result<()> {
        eventually("the queue is ready", DEADLINE, async || {
            let checks = self.queue.checks();
            ensure!(checks.iter().all(|check| check.ok), "{checks:?}");
            Ok(())
        })
        .await
    }

    pub(crate) async fn consume(&self, queue: QueueName, prefetch: u16) -> Result<Deliveries> {
        let deliveries =
            self.queue.consume(vec![(queue, Prefetch::fixed(prefetch))]).pop().context("no deliveries")?;
        self.ready().await?;
        Ok(deliveries)
    }

    pub(crate) async fn publish(&self, id: &str, route: &str) -> Result<()> {
        let message = Message {
            id: id.to_owned(),
            kind: "outgoing.v1".into(),
            route: route.to_owned(),
            body: "{}".into(),
            published_at: UnixMillis(0),
            headers: Headers::new(),
        };
        Ok(self.queue.publish(message).await?)
    }

    pub(crate) async fn stop(self) {
        self.lifecycle.stop();
        self.queue.close().await;
    }
}

/// Settles a delivery.
pub(crate) async fn done(delivery: Delivery) {
    let policy = RetryPolicy { ladder: vec![DEADLINE], max_attempts: 2, expire_after: DEADLINE };
    delivery.receipt.settle(delivery.message, Disposition::Done, &policy).await;
}

/// Each of the two has its first delivery alone, hands over, and then one of them keeps the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_processes_settle_on_one_of_them_and_the_order_is_kept() -> Result<()> {
    let prefix = format!("s{}", uuid::Uuid::new_v4().simple());
    let processes =
        [Process::start(&prefix, "rate = 20").await?, Process::start(&prefix, "rate = 20").await?];
    let name = QueueName::Outgoing("a".parse()?);
    let [mut left, mut right] =
        [processes[0].consume(name.clone(), 5).await?, processes[1].consume(name, 5).await?];
    let mut marks = processes[0].consume(QueueName::Incoming, 5).await?;
    for number in 0..30 {
        processes[0].publish(&number.to_string(), "outgoing.a").await?;
    }
    let mut shares = Vec::new();
    for number in 0..30 {
        let (share, delivery) = tokio::time::timeout(DEADLINE, async {
            tokio::select! {
                delivery = left.next() => (0, delivery),
                delivery = right.next() => (1, delivery),
            }
        })
        .await
        .context("nothing is delivered")?;
        let delivery = delivery.context("the deliveries ended")?;
        ensure!(delivery.message.id == number.to_string(), "{} instead of {number}", delivery.message.id);
        if !shares.contains(&share) {
            // What was published later has gone all its way: so would another of these have.
            processes[0].publish("mark", "incoming.a").await?;
            done(tokio::time::timeout(DEADLINE, marks.next()).await?.context("no mark")?).await;
            ensure!(left.next().now_or_never().is_none() && right.next().now_or_never().is_none());
        }
        shares.push(share);
        done(delivery).await;
    }
    let changes = shares.windows(2).filter(|pair| pair[0] != pair[1]).count();
    ensure!(changes <= 2, "they went on handing over: {shares:?}");
    for process in processes {
        process.stop().await;
    }
    let queues = Queues::connect(&broker::shared_url()?, &prefix, &["a"], &["200ms"]).await?;
    queues.assert_empty().await?;
    queues.delete_everything().await
}
