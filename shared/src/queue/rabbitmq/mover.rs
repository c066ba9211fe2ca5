//! Empties the queue that a backend had before its `rate` was added or removed: every message in it is published again,
//! confirmed, and then acknowledged. It is consumed as long as it exists: messages may still be on the ladder with its key.

use std::time::Duration;

use futures_util::{
    StreamExt,
    future::{join_all, try_join_all},
};
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};

use super::{
    link::{Link, SessionError},
    publisher::{MOVE_PAUSE, Publisher},
    topology::look,
    wire,
};
use crate::{
    message::BackendName,
    queue::{Destination, QueueName},
};

/// How many messages are moved together, and in the order in which they come.
const TOGETHER: u16 = 100;

/// How long it rests after those. Two processes with different configurations may give a message back and forth.
const REST: Duration = Duration::from_millis(200);

/// Empties one queue.
pub(super) struct Mover {
    channel: Channel,
    deliveries: lapin::Consumer,
}

impl Mover {
    /// Consumes the queue that `backend` does not use, if there is one.
    pub(super) async fn attach(
        connection: &Connection,
        link: &Link,
        backend: &BackendName,
    ) -> lapin::Result<Option<Self>> {
        let queue = link.topology.other_queue(&QueueName::Outgoing(backend.clone()));
        let Some(seen) = look(connection, queue.clone()).await? else { return Ok(None) };
        let channel = connection.create_channel().await?;
        if seen.messages > 0 {
            tracing::info!(%backend, %queue, left = seen.messages, "not used with this configuration: what is left in it is moved");
        }
        channel.basic_qos(TOGETHER, BasicQosOptions::default()).await?;
        let (tag, options) = (queue.clone(), BasicConsumeOptions::default());
        let deliveries = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        Ok(Some(Self { channel, deliveries }))
    }

    /// Moves until a stop, or until the queue is deleted.
    async fn run(self, link: &Link, publisher: &Publisher) -> Result<(), SessionError> {
        let Self { channel, deliveries } = self;
        let mut deliveries = deliveries.ready_chunks(TOGETHER.into());
        let stopping = || link.lifecycle.stopping();
        loop {
            let together = tokio::select! {
                together = deliveries.next() => together,
                () = stopping() => None,
            };
            let Some(together) = together else { return Ok(()) };
            let together: Vec<Delivery> = together.into_iter().collect::<lapin::Result<_>>()?;
            let moves = together.into_iter().map(|delivery| move_back(link, publisher, &channel, delivery));
            join_all(moves).await.into_iter().collect::<lapin::Result<()>>()?;
            tokio::select! {
                () = tokio::time::sleep(REST) => {}
                () = stopping() => return Ok(()),
            }
        }
    }
}

/// Runs all movers, until a stop.
pub(super) async fn run(movers: Vec<Mover>, link: &Link, publisher: &Publisher) -> Result<(), SessionError> {
    try_join_all(movers.into_iter().map(|mover| mover.run(link, publisher))).await.map(drop)
}

async fn move_back(
    link: &Link,
    publisher: &Publisher,
    channel: &Channel,
    mut delivery: Delivery,
) -> lapin::Result<()> {
    let (tag, message) = (delivery.delivery_tag, wire::message(&mut delivery));
    while let Err(error) = publisher.publish(message.clone(), Destination::Back).await {
        if link.lifecycle.is_stopping() {
            // It stays where it is, and the next process moves it.
            return Ok(());
        }
        tracing::warn!(message_id = %message.id, %error, "cannot be moved yet");
        tokio::time::sleep(MOVE_PAUSE).await;
    }
    channel.basic_ack(tag, BasicAckOptions::default()).await
}
