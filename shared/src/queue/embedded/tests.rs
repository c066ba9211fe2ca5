//! Tests of the queue as a whole, and what they share.

mod delivery;

mod faults;

mod letters;

mod recovery;

mod stopping;

mod torn;

mod versions;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

use super::*;
use crate::{
    clock,
    config::{Config, Environment},
    queue::{Delivery, Disposition, Headers, RetryPolicy, header},
};

/// Long enough for any machine; reached only when a test fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A file in a folder that is removed afterwards.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("gateway.db")
    }

    fn open(&self, lifecycle: &Lifecycle) -> Embedded {
        Embedded::open(&self.file(), &settings(), &backends(), lifecycle).unwrap()
    }

    /// The files as they are now, as if the machine had stopped.
    fn crashed(&self) -> Self {
        let copy = Self::new();
        for name in ["gateway.db", "gateway.db-wal"] {
            fs::copy(self.0.path().join(name), copy.0.path().join(name)).unwrap();
        }
        copy
    }

    /// What an operator sees.
    fn count(&self, condition: &str) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = Connection::open_with_flags(self.file(), flags).unwrap();
        connection.busy_timeout(DEADLINE).unwrap();
        let sql = format!("SELECT count(*) FROM messages WHERE {condition}");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// Waits until `condition` is true of so many messages.
    async fn counts(&self, condition: &str, wanted: i64) {
        eventually(condition, || self.count(condition) == wanted).await;
    }

    fn execute(&self, sql: &str) {
        Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn settings() -> config::Queue {
    let text = "[queue]\nurl = \"embedded:gateway.db\"\npublish_timeout = \"20s\"\n";
    Config::parse("gateway.toml", text, &Environment::default()).unwrap().queue
}

fn backends() -> Vec<BackendName> {
    vec!["b".parse().unwrap()]
}

fn outgoing() -> QueueName {
    QueueName::Outgoing("b".parse().unwrap())
}

fn policy(delay: Duration) -> RetryPolicy {
    RetryPolicy { ladder: vec![delay], max_attempts: 3, expire_after: Duration::MAX }
}

fn message(id: &str, route: &str) -> Message {
    Message {
        id: id.to_owned(),
        kind: "outgoing.v1".into(),
        route: route.to_owned(),
        body: format!("{{\"id\":\"{id}\"}}").into(),
        published_at: clock::now(),
        headers: Headers::from([(header::TRACEPARENT.to_owned(), "00-1-1-01".to_owned())]),
    }
}

async fn publish(queue: &Embedded, ids: impl IntoIterator<Item = impl ToString>) {
    for id in ids {
        queue.publish(message(&id.to_string(), "outgoing.b")).await.unwrap();
    }
}

fn consume(queue: &Embedded, name: QueueName, prefetch: u16) -> Deliveries {
    queue.consume(vec![(name, Prefetch::fixed(prefetch))]).pop().unwrap()
}

async fn next(deliveries: &mut Deliveries) -> Delivery {
    tokio::time::timeout(DEADLINE, deliveries.next()).await.expect("a delivery in time").expect("a delivery")
}

async fn settle(delivery: Delivery, disposition: Disposition, delay: Duration) {
    delivery.receipt.settle(delivery.message, disposition, &policy(delay)).await;
}

async fn done(delivery: Delivery) {
    settle(delivery, Disposition::Done, Duration::ZERO).await;
}

fn retry() -> Disposition {
    Disposition::Retry { class: "not_sent", reason: "500".to_owned(), headers: Headers::new() }
}

fn id(delivery: &Delivery) -> &str {
    &delivery.message.id
}
