//! Empties the queue that a backend had before its `rate` was added or removed: every message in it is published again,
//! confirmed, and then acknowledged. It is consumed as long as it exists: messages may still be on the ladder with its key.

use std::time::Duration;

use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};

use super::{
    acks::{Ack, Outstanding, pass_on},
    declaration::look,
    link::{Link, SessionError},
    publisher::Publisher,
    wire,
};
use crate::queue::{Destination, QueueName, publish_until_taken};

/// How many messages are moved together, and in the order in which they come.
const TOGETHER: u16 = 100;

/// How long it rests after those. Two processes with different configurations may give a message back and forth.
const REST: Duration = Duration::from_millis(200);

/// Empties the queues that the backends among `queues` do not use, until a stop.
pub(super) async fn run(
    connection: &Connection,
    queues: Vec<QueueName>,
    link: &Link,
    publisher: &Publisher,
) -> Result<(), SessionError> {
    let used = queues.into_iter().filter(|queue| matches!(queue, QueueName::Outgoing(_)));
    let movers = used.map(|used| {
        let queue = link.topology.other_queue(&used);
        Mover { used, queue, connection, link, publisher }
    });
    try_join_all(movers.map(Mover::run)).await.map(drop)
}

/// Empties one queue.
struct Mover<'s> {
    /// The queue that is used instead.
    used: QueueName,
    queue: ShortString,
    connection: &'s Connection,
    link: &'s Link,
    publisher: &'s Publisher,
}

impl Mover<'_> {
    /// Consumes the queue as long as there is one, and looks for it whenever there is none.
    async fn run(self) -> Result<(), SessionError> {
        let stopping = || self.link.lifecycle.stopping();
        loop {
            let attached = tokio::select! {
                attached = self.attach() => attached?,
                () = stopping() => return Ok(()),
            };
            let topology = &self.link.topology;
            topology.lead_plain_key(self.connection, &self.used, attached.is_some()).await?;
            if let Some((channel, deliveries)) = attached {
                self.empty(&channel, deliveries).await?;
            }
            // A process with the other configuration may declare it at any time, and each look for a queue that is not there
            // is an error in the broker's log.
            tokio::select! {
                () = tokio::time::sleep(self.link.stuck_after) => {}
                () = stopping() => return Ok(()),
            }
        }
    }

    async fn attach(&self) -> lapin::Result<Option<(Channel, Consumer)>> {
        let queue = &self.queue;
        let Some(seen) = look(self.connection, queue.clone()).await? else { return Ok(None) };
        let channel = self.connection.create_channel().await?;
        if seen.messages > 0 {
            tracing::info!(%queue, left = seen.messages, "not used with this configuration: what is left in it is moved");
        }
        channel.basic_qos(TOGETHER, BasicQosOptions::default()).await?;
        let (tag, options) = (self.tag("all"), BasicConsumeOptions::default());
        let deliveries = channel.basic_consume(queue.clone(), tag, options, FieldTable::default()).await?;
        Ok(Some((channel, deliveries)))
    }

    /// Moves until a stop, or until the queue is deleted.
    async fn empty(&self, channel: &Channel, deliveries: Consumer) -> lapin::Result<()> {
        let (mut deliveries, mut outstanding) =
            (deliveries.ready_chunks(TOGETHER.into()), Outstanding::default());
        let stopping = || self.link.lifecycle.stopping();
        loop {
            let together = tokio::select! {
                biased;
                () = stopping() => return pass_on(channel, &self.queue, self.tag("last")).await,
                together = deliveries.next() => together,
            };
            let Some(together) = together else { return Ok(()) };
            let together: Vec<Delivery> = together.into_iter().collect::<lapin::Result<_>>()?;
            for delivery in &together {
                outstanding.deliver(delivery.delivery_tag);
            }
            let moved = join_all(together.into_iter().map(|delivery| self.move_back(delivery))).await;
            let moved: Vec<u64> = moved.into_iter().flatten().collect();
            for Ack { tag, multiple } in outstanding.settle(&moved) {
                channel.basic_ack(tag, BasicAckOptions { multiple }).await?;
            }
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stopping() => {}
            }
        }
    }

    fn tag(&self, which: &str) -> ShortString {
        format!("{}-{which}", self.queue.as_str()).into()
    }

    /// Gives the tag of what is moved. The rest stays where it is, and the next process moves it.
    async fn move_back(&self, mut delivery: Delivery) -> Option<u64> {
        let (tag, message) = (delivery.delivery_tag, wire::message(&mut delivery));
        let publish = || self.publisher.publish(message.clone(), Destination::Back);
        let stops = || self.link.lifecycle.is_stopping();
        publish_until_taken(&message.id, publish, stops).await.then_some(tag)
    }
}
