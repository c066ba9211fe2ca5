//! One queue's channel and consumer: how it attaches, is on probation, acknowledges, and ends.

use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use uuid::Uuid;

use super::acks::{Ack, Outstanding, pass_on};
use crate::queue::Prefetch;

/// What a consumer's stream gives: the queue, the number of the consumer, and its delivery or its end.
pub(super) type Event = (usize, u32, Option<lapin::Result<lapin::message::Delivery>>);

/// One queue's channel and consumer.
pub(super) struct Attachment {
    channel: Channel,
    queue: ShortString,
    prefetch: u16,
    /// Where one process at a time consumes: how much this one wants to be it.
    priority: Option<i32>,
    /// A new consumer on the channel has the next number.
    number: u32,
    /// While it is on probation: whether the one delivery that is out was delivered before.
    probation: Option<bool>,
    outstanding: Outstanding,
    /// Whether anything was acknowledged.
    acknowledged: bool,
}

impl Attachment {
    /// One that is on probation from its first delivery on.
    pub(super) fn new(channel: Channel, queue: ShortString, prefetch: u16, priority: Option<i32>) -> Self {
        let outstanding = Outstanding::default();
        Self {
            channel,
            queue,
            prefetch,
            priority,
            number: 0,
            probation: Some(false),
            outstanding,
            acknowledged: false,
        }
    }

    pub(super) async fn attach(
        &mut self,
        index: usize,
        prefetch: u16,
    ) -> lapin::Result<BoxStream<'static, Event>> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        self.number += 1;
        let (number, options) = (self.number, BasicConsumeOptions::default());
        let tag = self.tag();
        let mut arguments = FieldTable::default();
        if let Some(priority) = self.priority {
            arguments.insert("x-priority".into(), priority.into());
        }
        let consumer = self.channel.basic_consume(self.queue.clone(), tag, options, arguments).await?;
        // The end of a stream is an event too: the broker cancelled the consumer.
        let end = stream::once(std::future::ready((index, number, None)));
        Ok(consumer.map(move |delivery| (index, number, Some(delivery))).chain(end).boxed())
    }

    /// Notes a delivery, and tells whether it came on probation.
    pub(super) fn deliver(&mut self, delivery: &lapin::message::Delivery) -> bool {
        self.outstanding.deliver(delivery.delivery_tag);
        let on_probation = self.probation.is_some();
        if on_probation {
            self.probation = Some(delivery.redelivered);
        }
        on_probation
    }

    /// Whether this is the number of the consumer that it has now.
    pub(super) fn is_at(&self, number: u32) -> bool {
        self.number == number
    }

    /// The frame is queued by the first poll, and waiting for the socket would hold up everybody else's.
    pub(super) fn acknowledge(&mut self, tags: &[u64]) -> lapin::Result<()> {
        self.acknowledged = true;
        for Ack { tag, multiple } in self.outstanding.settle(tags) {
            self.channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never().unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Takes no more. The answer is not waited for.
    pub(super) fn cancel(&self) -> lapin::Result<()> {
        let cancelled = self.channel.basic_cancel(self.tag(), BasicCancelOptions { nowait: true });
        cancelled.now_or_never().unwrap_or(Ok(()))
    }

    /// Replaces the consumer when another prefetch is wanted, unless many before it have left deliveries. On probation it
    /// will be replaced anyway.
    pub(super) async fn follow(
        &mut self,
        index: usize,
        wanted: &Prefetch,
    ) -> lapin::Result<Option<BoxStream<'static, Event>>> {
        let (now, most) = (wanted.now(), usize::from(wanted.most()));
        if now == self.prefetch || self.outstanding.count() + usize::from(now) > 2 * most {
            return Ok(None);
        }
        self.prefetch = now;
        if self.probation.is_some() {
            return Ok(None);
        }
        self.channel.basic_cancel(self.tag(), BasicCancelOptions::default()).await?;
        self.attach(index, now).await.map(Some)
    }

    /// Waits until the queue knows of every acknowledgement.
    pub(super) async fn pass_on(&mut self) -> lapin::Result<()> {
        if !self.acknowledged {
            return Ok(());
        }
        self.number += 1;
        pass_on(&self.channel, &self.queue, self.tag()).await
    }

    fn tag(&self) -> ShortString {
        format!("{}-{}", self.queue.as_str(), self.number).into()
    }

    /// After a (re)connect one message is out at a time, until one is settled that was not delivered before: a message that
    /// kills the process then dies alone, and the crashes do not count against its neighbours. A prefetch holds for new
    /// consumers only, so the first one is replaced.
    pub(super) async fn settle(
        &mut self,
        index: usize,
        tags: &[u64],
    ) -> lapin::Result<Option<BoxStream<'static, Event>>> {
        let (passed, suspect) = (self.probation == Some(false), self.probation == Some(true));
        if passed {
            self.probation = None;
        }
        if !passed || self.prefetch == 1 {
            self.acknowledge(tags)?;
            if suspect {
                // Changes nothing, and its answer means that the broker has the acknowledgement: the next suspect may be
                // the one that kills.
                self.channel.basic_qos(1, BasicQosOptions::default()).await?;
            }
            return Ok(None);
        }
        // First, so that nothing else is delivered here: where one process at a time consumes, another one begins at once.
        self.channel.basic_cancel(self.tag(), BasicCancelOptions::default()).await?;
        self.acknowledge(tags)?;
        self.attach(index, self.prefetch).await.map(Some)
    }
}

/// Rendezvous hashing: of all processes, the one with the highest number for a queue is the one that consumes it. Nobody
/// has to know the others, and the queues spread over them. RabbitMQ 4 obeys; on 3 the first process has all queues.
pub(super) fn priority(replica: Uuid, queue: &str) -> i32 {
    Uuid::new_v5(&replica, queue.as_bytes()).as_bytes()[0].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queues_spread_over_the_processes() {
        let replicas: Vec<Uuid> = (1..=3).map(Uuid::from_u128).collect();
        let mut share = [0; 3];
        for backend in 0..300 {
            let queue = format!("sms.outgoing.b{backend}.single");
            let highest = (0..3).max_by_key(|replica| priority(replicas[*replica], &queue)).unwrap();
            share[highest] += 1;
        }
        assert!(share.iter().all(|queues| (75..125).contains(queues)), "{share:?}");
    }
}
