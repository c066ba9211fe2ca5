//! Goes through the messages that lie in a queue, oldest first: each is kept, taken away, or moved to an exchange.
//!
//! What is kept stays unacknowledged and goes back when the connection is closed. What is moved is confirmed before it is
//! acknowledged. One task publishes, so the confirms are those of the right messages.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    Channel, Confirmation, Consumer,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    },
    types::{FieldTable, ShortString},
};

use super::{
    acks::pass_on,
    link::SessionError,
    operator::{Operator, PATIENCE, patiently},
    wire,
};
use crate::queue::Message;

/// The most messages that are read ahead. A consumer with this many kept gets no more, so another follows it in time; up to
/// 32 consumers are given their messages back in order, which is a queue of more than 100,000.
const WINDOW: u16 = 8192;

/// The most unconfirmed publishes.
const MAX_IN_FLIGHT: usize = 512;

/// After this time without an event the queue is looked at: others may have what is waited for.
const QUIET: Duration = Duration::from_secs(1);

/// How long what was kept may take to be in the queue again, unless others have taken it meanwhile.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// How often the queue is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(50);

/// What becomes of a message.
pub(super) enum Step {
    /// It stays.
    Keep,
    /// It is taken away.
    Drop,
    /// It is published to an exchange, under its own key, and then taken away.
    Move(ShortString, Message),
}

/// How many messages had which end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    pub(super) moved: usize,
    pub(super) dropped: usize,
}

type Confirmed = (u64, lapin::Result<Confirmation>);

/// A pass through one queue.
pub(super) struct Shovel<'o> {
    operator: &'o Operator,
    queue: ShortString,
    reading: Channel,
    publishing: Channel,
    in_flight: FuturesUnordered<BoxFuture<'static, Confirmed>>,
    window: Window,
    carried: Carried,
    /// Whether the broker has refused anything. Then no more is read, and what is on its way is waited for.
    refused: bool,
    /// Whether the topology is known to be there before anything is moved.
    declared: bool,
}

/// One consumer, which reads ahead.
struct Window {
    number: usize,
    consumer: Consumer,
    kept: u16,
    cancelled: bool,
}

enum Event {
    Confirmed(Confirmed),
    Delivery(Option<lapin::Result<Delivery>>),
    Quiet,
}

impl<'o> Shovel<'o> {
    /// A pass through `queue`. With `declare`, the topology is declared before anything is moved.
    pub(super) async fn new(
        operator: &'o Operator,
        queue: &ShortString,
        declare: bool,
    ) -> Result<Self, SessionError> {
        let (reading, publishing) = (operator.channel().await?, operator.publishing().await?);
        let window = Window::open(&reading, queue, 0).await?;
        Ok(Self {
            operator,
            queue: queue.clone(),
            reading,
            publishing,
            in_flight: FuturesUnordered::new(),
            window,
            carried: Carried::default(),
            refused: false,
            declared: !declare,
        })
    }

    /// Goes through `count` messages, or fewer when others have taken some.
    pub(super) async fn run(
        mut self,
        count: u32,
        step: &mut (dyn FnMut(Delivery) -> Step + Send),
    ) -> Result<Carried, SessionError> {
        let (mut left, mut last_event) = (count, Instant::now());
        while left > 0 || !self.in_flight.is_empty() {
            let event = tokio::select! {
                Some(confirmed) = self.in_flight.next(), if !self.in_flight.is_empty() => Event::Confirmed(confirmed),
                next = self.window.consumer.next(), if left > 0 && self.in_flight.len() < MAX_IN_FLIGHT => {
                    Event::Delivery(next)
                }
                () = tokio::time::sleep(QUIET) => Event::Quiet,
            };
            match event {
                Event::Confirmed(confirmed) => {
                    self.confirmed(confirmed).await?;
                    left = if self.refused { 0 } else { left };
                }
                Event::Delivery(Some(delivery)) => {
                    left -= 1;
                    let delivery = delivery?;
                    self.take(delivery.delivery_tag, step(delivery)).await?;
                }
                Event::Delivery(None) => self.next_window().await?,
                Event::Quiet => {
                    if self.nothing_more(last_event).await? {
                        left = 0;
                    }
                    continue;
                }
            }
            last_event = Instant::now();
        }
        self.finish(count).await?;
        if self.refused { Err(SessionError::NotTaken) } else { Ok(self.carried) }
    }

    /// Gives back what is kept, and waits until it is there again: another tool that is run at once must find it.
    async fn finish(&self, count: u32) -> Result<(), SessionError> {
        let done = self.carried.moved + self.carried.dropped;
        if done > 0 {
            let tag = Window::tag(&self.queue, self.window.number + 1);
            patiently(pass_on(&self.reading, &self.queue, tag)).await?;
        }
        patiently(self.reading.close(200, "done".into())).await?;
        let kept = count.saturating_sub(u32::try_from(done).unwrap_or(u32::MAX));
        let begun = Instant::now();
        while self.operator.look(&self.queue).await?.is_some_and(|seen| seen.messages < kept)
            && begun.elapsed() < GIVE_BACK
        {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Does what was decided about one message.
    async fn take(&mut self, tag: u64, step: Step) -> Result<(), SessionError> {
        match step {
            Step::Keep => self.keep().await,
            Step::Drop => {
                self.carried.dropped += 1;
                self.acknowledge(tag).await
            }
            Step::Move(exchange, message) => self.publish(tag, exchange, message).await,
        }
    }

    /// Counts what is kept; half a window full, no more is asked for, so that the next one can begin.
    async fn keep(&mut self) -> Result<(), SessionError> {
        self.window.kept += 1;
        if self.window.kept >= WINDOW / 2 && !self.window.cancelled {
            self.window.cancelled = true;
            let tag = Window::tag(&self.queue, self.window.number);
            patiently(self.reading.basic_cancel(tag, BasicCancelOptions::default())).await?;
        }
        Ok(())
    }

    /// The stream has ended: because we wanted it, or because the queue is gone.
    async fn next_window(&mut self) -> Result<(), SessionError> {
        if !self.window.cancelled {
            return Err(SessionError::Cancelled(self.queue.to_string()));
        }
        self.window = Window::open(&self.reading, &self.queue, self.window.number + 1).await?;
        Ok(())
    }

    async fn publish(
        &mut self,
        tag: u64,
        exchange: ShortString,
        message: Message,
    ) -> Result<(), SessionError> {
        if !self.declared {
            patiently(self.operator.topology.declare(&self.operator.connection)).await?;
            self.declared = true;
        }
        if self.operator.connection.status().blocked() {
            return Err(SessionError::Blocked);
        }
        let key = self.operator.topology.key(&message.route);
        let (body, properties) = wire::content(message);
        let options = BasicPublishOptions::default();
        #[expect(clippy::disallowed_methods, reason = "the confirm is awaited before the acknowledgement")]
        let written = self.publishing.basic_publish(exchange, key, options, &body, properties);
        let confirm = patiently(written).await?;
        self.in_flight.push(Box::pin(async move { (tag, confirm.await) }));
        Ok(())
    }

    async fn confirmed(&mut self, (tag, confirmed): Confirmed) -> Result<(), SessionError> {
        match confirmed? {
            Confirmation::Ack(None) => {
                self.acknowledge(tag).await?;
                self.carried.moved += 1;
                Ok(())
            }
            Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
                self.refused = true;
                Ok(())
            }
        }
    }

    async fn acknowledge(&self, tag: u64) -> Result<(), SessionError> {
        patiently(self.reading.basic_ack(tag, BasicAckOptions::default())).await
    }

    /// Whether what is waited for is not there any more. An error when nothing goes on for too long.
    async fn nothing_more(&self, last_event: Instant) -> Result<bool, SessionError> {
        let status = self.operator.connection.status();
        if !status.connected() || !self.reading.status().connected() || !self.publishing.status().connected()
        {
            return Err(SessionError::Lost);
        }
        if status.blocked() {
            return Err(SessionError::Blocked);
        }
        let seen = self.operator.look(&self.queue).await?;
        let empty = seen.is_none_or(|seen| seen.messages == 0);
        if last_event.elapsed() > PATIENCE && !(empty && self.in_flight.is_empty()) {
            return Err(SessionError::OpenTimeout);
        }
        Ok(empty)
    }
}

impl Window {
    async fn open(channel: &Channel, queue: &ShortString, number: usize) -> Result<Self, SessionError> {
        patiently(channel.basic_qos(WINDOW, BasicQosOptions::default())).await?;
        let (tag, options) = (Self::tag(queue, number), BasicConsumeOptions::default());
        let consuming = channel.basic_consume(queue.clone(), tag, options, FieldTable::default());
        Ok(Self { number, consumer: patiently(consuming).await?, kept: 0, cancelled: false })
    }

    /// The broker gives back in the order of the tags.
    fn tag(queue: &ShortString, number: usize) -> ShortString {
        format!("{}-{number:06}", queue.as_str()).into()
    }
}
