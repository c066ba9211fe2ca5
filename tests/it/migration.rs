//! `queues migrate`: a queue that was declared with other arguments is made anew, with all its messages.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, anyhow, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use integration_tests::{
    broker, eventually,
    processes::Tool,
    stack::{DEADLINE, Shape, Stack},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions},
    types::{AMQPValue, FieldTable},
};

const CONFIG: &str =
    "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n[[apps]]\napp = 'echo'\n";

const PAIR: Shape = Shape::Pair { ingress: 1, dispatchers: 1 };

/// A gateway that is stopped, and a channel to its broker.
struct Site {
    stack: Stack,
    channel: Channel,
    prefix: String,
}

impl Site {
    async fn stopped(config: &str) -> Result<Self> {
        let mut stack = Stack::start(PAIR, config, &["b", "p"]).await?;
        stack.halt().await?;
        let connection = Connection::connect(&broker::shared_url()?, ConnectionProperties::default()).await?;
        let prefix = stack.queues()?.prefix().to_owned();
        Ok(Self { stack, channel: connection.create_channel().await?, prefix })
    }

    fn full(&self, queue: &str) -> String {
        format!("{}.{queue}", self.prefix)
    }

    /// Declares `queue` anew as another version might have: a classic queue with a limit, bound with `key`.
    async fn declare_otherwise(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let name = self.full(queue);
        self.channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(100_000));
        self.channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(name.as_str().into(), exchange.into(), key.into(), options, none).await?;
        Ok(())
    }

    /// Declares the rung anew as another version might have: with a longer delay.
    async fn declare_slower_rung(&self) -> Result<()> {
        let rung = self.full("retry.200ms");
        self.channel.queue_delete(rung.as_str().into(), QueueDeleteOptions::default()).await?;
        let mut arguments = FieldTable::default();
        for (name, value) in [
            ("x-queue-type", "quorum"),
            ("x-dead-letter-exchange", self.prefix.as_str()),
            ("x-dead-letter-strategy", "at-least-once"),
            ("x-overflow", "reject-publish"),
        ] {
            arguments.insert(name.into(), AMQPValue::LongString(value.into()));
        }
        arguments.insert("x-message-ttl".into(), AMQPValue::LongInt(8000));
        self.channel.queue_declare(rung.as_str().into(), QueueDeclareOptions::durable(), arguments).await?;
        let (exchange, key, none) = (rung.as_str(), String::new(), FieldTable::default());
        let options = QueueBindOptions::default();
        self.channel.queue_bind(rung.as_str().into(), exchange.into(), key.into(), options, none).await?;
        Ok(())
    }

    /// A start refuses because the migration of `queue` was broken off, and names the command that finishes it.
    async fn is_told_of(&self, queue: &str) -> Result<()> {
        let refused = self.stack.tool(&[]).await?;
        ensure!(refused.code == 69, "{refused:?}");
        let command = format!("run: dispatcher queues migrate {}\n", self.full(queue));
        ensure!(refused.stderr.contains(&command), "{}", refused.stderr);
        Ok(())
    }

    /// What is printed, with the exit code that is expected.
    async fn migrate(&self, queue: &str, code: i32) -> Result<String> {
        let finished = self.stack.tool(&["queues", "migrate", &self.full(queue)]).await?;
        ensure!(finished.code == code, "{finished:?}");
        Ok(finished.stdout + &finished.stderr)
    }
}

fn incoming(number: usize) -> Vec<u8> {
    let (id, now) = (uuid::Uuid::new_v4(), shared::clock::now().0);
    format!(
        "{{\"type\":\"incoming.v1\",\"id\":\"{id}\",\"accepted_at\":{now},\"backend\":\"b\",\
         \"identity\":\"{number}\",\"text\":\"echo {number}\"}}"
    )
    .into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_migrated_as_the_error_says() -> Result<()> {
    let mut site = Site::stopped(CONFIG).await?;
    site.declare_otherwise("incoming", &site.prefix, "incoming.#").await?;
    let queues = site.stack.queues()?;
    for number in 0..500 {
        queues.publish("incoming.b", BasicProperties::default(), &incoming(number)).await?;
    }
    // What came while an earlier run had the queue unbound.
    let unrouted = BasicProperties::default().with_message_id("late".into());
    site.channel
        .queue_unbind(
            site.full("incoming").into(),
            site.prefix.as_str().into(),
            "incoming.#".into(),
            FieldTable::default(),
        )
        .await?;
    queues.publish("incoming.b", unrouted, &incoming(500)).await?;
    queues.wait_depth("unrouted", 1, DEADLINE).await?;

    let refused = site.stack.tool(&[]).await?;
    ensure!(refused.code == 69, "{refused:?}");
    let command = format!("dispatcher queues migrate {}", site.full("incoming"));
    ensure!(refused.stderr.contains("inequivalent arg 'x-"), "{}", refused.stderr);
    ensure!(refused.stderr.contains(&format!("run: {command}\n")), "{}", refused.stderr);

    let told = site.migrate("incoming", 0).await?;
    ensure!(told.contains("messages brought back: 501"), "{told}");
    site.stack.queues()?.wait_depth("incoming", 501, DEADLINE).await?;
    ensure!(site.stack.queues()?.depth("incoming.migrating").await?.is_none());
    let told = site.migrate("incoming", 0).await?;
    ensure!(told.starts_with("nothing to migrate: "), "{told}");

    site.stack.start_again(|config| config).await?;
    for number in 0..=500 {
        let number = number.to_string();
        site.stack.expect_sent("b", &number, &[&number]).await?;
    }
    site.stack.finish().await
}

/// As builds had it that knew no reports: without a single active consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_of_reports_is_migrated_with_its_reports() -> Result<()> {
    let mut site = Site::stopped(CONFIG).await?;
    site.declare_otherwise("reports", &site.prefix, "report.#").await?;
    let (id, now) = (uuid::Uuid::new_v4(), shared::clock::now().0);
    let report = format!(
        "{{\"type\":\"report.v1\",\"id\":\"{id}\",\"accepted_at\":{now},\"backend\":\"b\",\"reference\":\"{id}.1.0\",\
         \"state\":\"delivered\"}}"
    );
    for _ in 0..3 {
        site.stack.queues()?.publish("report.b", BasicProperties::default(), report.as_bytes()).await?;
    }
    let refused = site.stack.tool(&[]).await?;
    let command = format!("run: dispatcher queues migrate {}\n", site.full("reports"));
    ensure!(refused.code == 69 && refused.stderr.contains(&command), "{refused:?}");
    let told = site.migrate("reports", 0).await?;
    ensure!(told.contains("messages brought back: 3"), "{told}");
    site.stack.start_again(|config| config).await?;
    eventually("each report is handled", DEADLINE, async || {
        let handled = site.stack.logged().matches(" delivery report ").count();
        ensure!(handled == 3, "{handled} are");
        Ok(())
    })
    .await?;
    site.stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    let site = Site::stopped(CONFIG).await?;
    site.declare_otherwise("incoming", &site.prefix, "incoming.#").await?;
    let queues = site.stack.queues()?;
    for number in 0..2000 {
        queues.publish("incoming.b", BasicProperties::default(), &incoming(number)).await?;
    }
    let mut killed = 0;
    for lifetime in [60, 120, 200, 300, 500, 800, 1200, 1600, 2400] {
        let args = ["queues", "migrate", &site.full("incoming")];
        killed += usize::from(site.stack.kill_tool(&args, Duration::from_millis(lifetime)).await?);
    }
    ensure!(killed > 0, "no run was killed");
    site.migrate("incoming", 0).await?;
    ensure!(site.migrate("incoming", 0).await?.starts_with("nothing to migrate: "));
    // A kill between a confirm and its acknowledgement leaves a copy.
    let taken = site.stack.queues()?.take_all("incoming").await?;
    let bodies: BTreeSet<Vec<u8>> = taken.iter().map(|message| message.body.clone()).collect();
    ensure!(bodies.len() == 2000, "{} of 2000, {} with copies", bodies.len(), taken.len());
    site.stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_with_exchanges_of_their_own_are_migrated_in_the_order_of_their_declaration() -> Result<()> {
    let mut site = Site::stopped(CONFIG).await?;
    for (queue, exchange, key) in
        [("unrouted", site.full("unrouted"), ""), ("outgoing.b", site.prefix.clone(), "outgoing.b")]
    {
        site.declare_otherwise(queue, &exchange, key).await?;
    }
    site.declare_slower_rung().await?;
    let queues = site.stack.queues()?;
    for _ in 0..5 {
        queues.publish("nowhere", BasicProperties::default(), b"{}").await?;
    }
    let told = site.migrate("outgoing.b", 69).await?;
    ensure!(told.contains(&format!("run: dispatcher queues migrate {}\n", site.full("unrouted"))), "{told}");
    let told = site.migrate("unrouted", 0).await?;
    ensure!(told.contains("messages brought back: 5"), "{told}");
    queues.publish("nowhere", BasicProperties::default(), b"{}").await?;
    queues.wait_depth("unrouted", 6, DEADLINE).await?;
    // The rung that differs as well is not in the way of the queue before it.
    for queue in ["outgoing.b", "retry.200ms"] {
        let told = site.migrate(queue, 0).await?;
        ensure!(told.starts_with("migrated ") && told.contains("brought back: 0"), "{told}");
    }
    site.stack.start_again(|config| config).await?;
    site.stack.accept("/backends/b/", "1", "echo a").await?;
    site.stack.expect_sent("b", "1", &["a"]).await?;
    let told = site.migrate("outgoing.b", 69).await?;
    ensure!(told.contains("consumers are attached to") && told.contains("stop every dispatcher"), "{told}");
    let told = site.migrate("elsewhere", 69).await?;
    ensure!(told.contains("is no queue of this configuration; write its whole name"), "{told}");
    let discarded = site.stack.tool(&["dead-letters", "discard", "--unrouted", "--all"]).await?;
    ensure!(discarded.stdout == "discarded 6 unrouted messages\n", "{discarded:?}");
    site.stack.finish().await
}

/// As many messages in a queue with other arguments, and a tool that has begun to bring them back to the new one.
async fn bring_back(site: &Site, queue: &str, key: &str, count: usize) -> Result<Tool> {
    site.declare_otherwise(queue, &site.prefix, key).await?;
    let queues = site.stack.queues()?;
    let publish = async |number| queues.publish(key, BasicProperties::default(), &incoming(number)).await;
    stream::iter(0..count).map(Ok).try_for_each_concurrent(50, publish).await?;
    let tool = site.stack.start_tool(&["queues", "migrate", &site.full(queue)])?;
    let (mut most, waiting) = (0, format!("{queue}.migrating"));
    eventually("the messages are being brought back", DEADLINE, async || {
        let depth = queues.depth(&waiting).await?.unwrap_or(0);
        most = most.max(depth);
        if depth < most { Ok(()) } else { Err(anyhow!("{depth} of {most}")) }
    })
    .await?;
    Ok(tool)
}

/// Every message is in the queue, and nothing of the migration of `migrated` is left.
async fn ensure_migrated(site: Site, migrated: &str, queue: &str, count: usize) -> Result<()> {
    let queues = site.stack.queues()?;
    let taken = queues.take_all(queue).await?;
    let bodies: BTreeSet<Vec<u8>> = taken.into_iter().map(|message| message.body).collect();
    ensure!(bodies.len() == count, "{} of {count} are there", bodies.len());
    ensure!(queues.depth(&format!("{migrated}.migrating")).await?.is_none(), "something is left");
    site.stack.finish().await
}

/// A frozen tool still has messages in its hands, which the queues do not count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_beside_one_that_is_frozen_is_refused_and_nothing_is_lost() -> Result<()> {
    let site = Site::stopped(CONFIG).await?;
    let mut frozen = bring_back(&site, "incoming", "incoming.b", 3000).await?;
    frozen.pause()?;
    let told = site.migrate("incoming", 69).await?;
    ensure!(told.contains("another tool works on") && told.contains("run this again"), "{told}");
    frozen.kill()?;
    site.migrate("incoming", 0).await?;
    ensure_migrated(site, "incoming", "incoming", 3000).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_broken_off_is_told_at_the_next_start() -> Result<()> {
    let site = Site::stopped(CONFIG).await?;
    bring_back(&site, "incoming", "incoming.b", 3000).await?.kill()?;
    site.is_told_of("incoming").await?;
    site.migrate("incoming", 0).await?;
    ensure_migrated(site, "incoming", "incoming", 3000).await
}

/// The backend has another queue by now, which is where its messages are brought.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_broken_off_is_told_after_a_rate_was_added_too() -> Result<()> {
    let site = Site::stopped(CONFIG).await?;
    bring_back(&site, "outgoing.b", "outgoing.b", 3000).await?.kill()?;
    site.stack.change_config(|config| config.replace("httptester'", "httptester'\nrate = 9"))?;
    site.is_told_of("outgoing.b").await?;
    // Another one hides nothing.
    site.migrate("incoming", 0).await?;
    site.is_told_of("outgoing.b").await?;
    site.migrate("outgoing.b", 0).await?;
    let queues = site.stack.queues()?;
    // What the first run had brought back by its death lies in the queue without a rate.
    let (plain, single) = (queues.take_all("outgoing.b").await?, queues.take_all("outgoing.b.single").await?);
    let bodies: BTreeSet<Vec<u8>> = plain.into_iter().chain(single).map(|message| message.body).collect();
    ensure!(bodies.len() == 3000, "{} of 3000 are there", bodies.len());
    site.stack.finish().await
}

/// What has expired is in no count until the next queue has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rung_that_is_handing_over_loses_nothing_when_it_is_migrated() -> Result<()> {
    const COUNT: usize = 40_000;
    let site = Site::stopped(CONFIG).await?;
    site.declare_slower_rung().await?;
    // The first one keeps the others, which have expired long before, from the head of the queue: then all go at once.
    let first = std::iter::once(BasicProperties::default());
    let others = std::iter::repeat_n(BasicProperties::default().with_expiration("1".into()), COUNT - 1);
    let messages = first.chain(others).map(|properties| (properties, b"{}".to_vec()));
    let queues = site.stack.queues()?;
    queues.publish_all("retry.200ms", "incoming.b", messages).await?;
    queues.wait_depth("retry.200ms", 0, DEADLINE).await?;
    let told = site.migrate("retry.200ms", 0).await?;
    ensure!(told.starts_with("migrated "), "{told}");
    queues.wait_depth("incoming", u32::try_from(COUNT)?, DEADLINE).await?;
    site.channel.queue_purge(site.full("incoming").into(), QueuePurgeOptions::default()).await?;
    site.stack.finish().await
}
