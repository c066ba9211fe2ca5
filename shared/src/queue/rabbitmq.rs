//! The queue on RabbitMQ. The only door to lapin: connections, channels and tags stay behind it.
//!
//! lapin's own recovery is off. A supervisor per role owns connection, channels, topology and consumers as one unit
//! ([`link`]): after any failure all of it is dropped and built anew.

mod acks;

mod attachment;

mod consumer;

mod declaration;

mod shovel;

mod handover;

mod letters;

mod link;

mod migration;

mod mismatch;

mod mover;

mod operator;

mod publisher;

mod quarantine;

mod topology;

mod wire;

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use secrecy::SecretString;

pub(super) use self::letters::visit;
pub use self::migration::{Migrated, migrate};
use self::{link::Link, publisher::Publisher};
use super::{Check, Deliveries, Destination, Message, Prefetch, Publish, PublishError, Queue, QueueName};
use crate::{config::Config, lifecycle::Lifecycle};

/// A queue on RabbitMQ.
pub struct RabbitMq {
    link: Arc<Link>,
    publisher: Publisher,
}

impl RabbitMq {
    /// Starts to connect. Until that worked, publishing waits for its deadline and then fails.
    #[must_use]
    pub fn start(url: &SecretString, config: &Config, lifecycle: &Lifecycle) -> Self {
        let link = Arc::new(Link::new(url, config, lifecycle));
        let publisher = Publisher::start(&link);
        Self { link, publisher }
    }
}

impl Publish for RabbitMq {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.publisher.publish_in_time(message).boxed()
    }

    fn publish_patiently(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.publisher.publish(message, Destination::Back).boxed()
    }
}

impl Queue for RabbitMq {
    fn consume(&self, queues: Vec<(QueueName, Prefetch)>) -> Vec<Deliveries> {
        consumer::start(&self.link, &self.publisher, queues)
    }

    fn depth(&self, queue: &QueueName) -> BoxFuture<'_, Option<u64>> {
        let queue = self.link.topology.queue(queue);
        async move { self.link.depth(queue).await.map(u64::from) }.boxed()
    }

    fn has_waiting(&self, queue: &QueueName) -> BoxFuture<'_, Option<bool>> {
        // Of one that a single process consumes at a time, this may be a process that only stands by.
        let single = self.link.topology.is_single(queue);
        let depth = self.depth(queue);
        async move { if single { None } else { Some(depth.await? > 0) } }.boxed()
    }

    fn checks(&self) -> Vec<Check> {
        self.link.checks()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.link.close().boxed()
    }
}
