//! Declares a topology on a broker, and looks at what is there. Everything is asked for at once, so that hundreds of queues do not
//! wait for hundreds of answers one after the other: on a channel the broker does what it is asked in that order.

use std::iter::zip;

use futures_util::{
    future::try_join_all,
    stream::{FuturesOrdered, TryStreamExt},
};
use lapin::{
    Channel, Connection,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

use super::{
    super::QueueName,
    link::refused,
    topology::{Binding, Step, Topology},
};

/// AMQP's reply code for a queue that does not exist.
const NOT_FOUND: u16 = 404;

/// Over how many channels the queues are declared. The broker creates one queue a channel at a time, which takes it some
/// milliseconds; more than these do not make it faster.
const CHANNELS: usize = 4;

/// A queue as it is on the broker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// How many messages are ready.
    pub(super) messages: u32,
    /// How many consumers are attached.
    pub(super) consumers: u32,
}

impl Topology {
    /// Declares everything, idempotently. Of what the broker refuses the first is told; what comes before it is declared.
    pub(super) async fn declare(&self, connection: &Connection) -> lapin::Result<()> {
        let channels = try_join_all((0..CHANNELS).map(|_| connection.create_channel())).await?;
        take(&channels[0], self.shared_steps()).await?;
        let taken = zip(channels.iter().cycle(), self.steps_of_queues());
        in_order(taken.flat_map(|(channel, steps)| steps.into_iter().map(|step| step.take(channel)))).await
    }

    /// Others who publish know the key `outgoing.<backend>` only. It leads to the queue of that name, or, as long as there is
    /// none, to the one with a single consumer: `name`, where it is that.
    pub(super) async fn lead_plain_key(
        &self,
        connection: &Connection,
        name: &QueueName,
        mut has_plain_queue: bool,
    ) -> lapin::Result<()> {
        if !self.is_single(name) {
            return Ok(());
        }
        let channel = connection.create_channel().await?;
        let binding = self.binding(self.queue(name), name.to_string().into());
        if !has_plain_queue {
            Step::Bind(binding.clone()).take(&channel).await?;
            // Who declares the plain queue takes this binding away, but may have done so before it was there.
            has_plain_queue = look(connection, self.other_queue(name)).await?.is_some();
        }
        if has_plain_queue {
            // Also what a process has left that died just before it.
            Step::Unbind(binding).take(&channel).await?;
        }
        channel.close(200, "bound".into()).await
    }
}

/// Takes the steps in their order.
pub(super) async fn take(channel: &Channel, steps: impl IntoIterator<Item = Step>) -> lapin::Result<()> {
    in_order(steps.into_iter().map(|step| step.take(channel))).await
}

/// Asks for all of it, and then awaits the answers.
///
/// The first poll of each asks, and the first polls are in order; lapin gives an answer to the one on its channel that has waited
/// for longest. A refusal closes the channel: those that are left on it fail as well, but only the first of them surely with what
/// the broker has told.
async fn in_order(taken: impl Iterator<Item = impl Future<Output = lapin::Result<()>>>) -> lapin::Result<()> {
    taken.collect::<FuturesOrdered<_>>().try_collect().await
}

impl Step {
    async fn take(self, channel: &Channel) -> lapin::Result<()> {
        match self {
            Self::Exchange { name, kind, arguments } => {
                let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
                channel.exchange_declare(name, kind, options, arguments).await
            }
            Self::Queue { name, arguments } => {
                channel.queue_declare(name, QueueDeclareOptions::durable(), arguments).await.map(drop)
            }
            Self::Bind(Binding { queue, exchange, key }) => {
                let options = QueueBindOptions::default();
                channel.queue_bind(queue, exchange, key, options, FieldTable::default()).await
            }
            Self::Unbind(Binding { queue, exchange, key }) => {
                channel.queue_unbind(queue, exchange, key, FieldTable::default()).await
            }
        }
    }
}

/// Looks at a queue; nothing when there is none.
pub(super) async fn look(connection: &Connection, queue: ShortString) -> lapin::Result<Option<Seen>> {
    // That there is none closes the channel, so each look has its own.
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match channel.queue_declare(queue, passive, FieldTable::default()).await {
        Ok(queue) => {
            channel.close(200, "seen".into()).await?;
            Ok(Some(Seen { messages: queue.message_count(), consumers: queue.consumer_count() }))
        }
        Err(error) if refused(&error).is_some_and(|(code, _)| code == NOT_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
