//! Consumes and settles: one task owns the connection, a channel a queue, and every acknowledgement.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, SelectAll},
};
use lapin::{
    Channel, Connection,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    link::{Link, Pauses, SessionError},
    publisher::Publisher,
    wire,
};
use crate::queue::{Deliveries, Delivery, Destination, Message, QueueName, Receipt, Settle};

/// The name of the role on health pages and in logs.
const ROLE: &str = "consumers";

/// How often the connection is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a move waits before it is tried again, when the broker cannot take it.
const MOVE_PAUSE: Duration = Duration::from_millis(500);

struct Subscription {
    queue: QueueName,
    prefetch: u16,
    deliveries: mpsc::Sender<Delivery>,
}

/// Starts the task that serves all of `queues`.
pub(super) fn start(
    link: &Arc<Link>,
    publisher: &Publisher,
    queues: Vec<(QueueName, u16)>,
) -> Vec<Deliveries> {
    let mut subscriptions = Vec::new();
    let mut all = Vec::new();
    for (queue, prefetch) in queues {
        // As large as the prefetch, and the one of the consumer on probation, so that handing over never waits.
        let (sender, deliveries) = Deliveries::channel(usize::from(prefetch) + 1);
        subscriptions.push(Subscription { queue, prefetch, deliveries: sender });
        all.push(deliveries);
    }
    link.note(ROLE, false, "connecting".to_owned());
    let (link, publisher) = (Arc::clone(link), publisher.clone());
    let (lifecycle, tasks) = (link.lifecycle.clone(), link.tasks.clone());
    let run = async move {
        let mut pauses = Pauses::new(ROLE);
        while let Err(error) = session(&link, &publisher, &mut subscriptions).await {
            if link.lifecycle.is_stopping() || !pauses.after(&error, &link).await {
                return;
            }
        }
    };
    lifecycle.spawn(ROLE, tasks.track_future(run));
    all
}

/// The tag of a delivery on the channel of the `queue`th subscription.
struct Ack {
    queue: usize,
    tag: u64,
}

/// What a [`Receipt`] of one session and queue settles through. When the session is lost its tags mean nothing.
struct SessionQueue {
    queue: usize,
    acks: mpsc::UnboundedSender<Ack>,
    publisher: Publisher,
}

impl Settle for SessionQueue {
    fn is_lost(&self) -> bool {
        self.acks.is_closed()
    }

    fn done(&self, tag: u64) {
        if self.acks.send(Ack { queue: self.queue, tag }).is_err() {
            tracing::debug!(tag, "settled after its session was lost: the broker delivers it again");
        }
    }

    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()> {
        let moved = async move {
            let mut told = false;
            while let Err(error) = self.publisher.publish(message.clone(), destination).await {
                // Once a message: a broker can be away for hours.
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(message_id = %message.id, %error, "cannot be moved yet");
                }
                tokio::time::sleep(MOVE_PAUSE).await;
            }
            self.done(tag);
        };
        async move {
            tokio::select! {
                () = moved => {}
                () = self.acks.closed() => {}
            }
        }
        .boxed()
    }
}

/// What a consumer's stream gives: the queue, the number of the consumer, and its delivery or its end.
type Event = (usize, u32, Option<lapin::Result<lapin::message::Delivery>>);

struct Session {
    connection: Connection,
    consumers: Vec<Consumer>,
    events: SelectAll<BoxStream<'static, Event>>,
}

/// One queue's channel and consumer.
struct Consumer {
    channel: Channel,
    queue: ShortString,
    prefetch: u16,
    /// A new consumer on the channel has the next number.
    number: u32,
    /// While it is on probation: whether the one delivery that is out was delivered before.
    probation: Option<bool>,
}

async fn session(
    link: &Link,
    publisher: &Publisher,
    subscriptions: &mut Vec<Subscription>,
) -> Result<(), SessionError> {
    let opening = async {
        tokio::select! {
            opened = link.open(open(link, subscriptions)) => opened.map(Some),
            () = link.lifecycle.stopping() => Ok(None),
        }
    };
    let Some(mut session) = opening.await? else {
        subscriptions.clear();
        return Ok(());
    };
    link.ready(ROLE, format!("attached to {}", count(subscriptions.len(), "queue")));
    let ended = consume(link, publisher, subscriptions, &mut session).await;
    Link::close_connection(&session.connection).await;
    ended
}

async fn open(link: &Link, subscriptions: &[Subscription]) -> Result<Session, SessionError> {
    let connection = Connection::connect(link.url(), Link::properties(ROLE)).await?;
    link.topology.declare(&connection.create_channel().await?).await?;
    let mut session = Session { connection, consumers: Vec::new(), events: SelectAll::new() };
    for (index, subscription) in subscriptions.iter().enumerate() {
        let mut consumer = Consumer {
            channel: session.connection.create_channel().await?,
            queue: link.topology.queue(&subscription.queue),
            prefetch: subscription.prefetch,
            number: 0,
            probation: Some(false),
        };
        session.events.push(consumer.attach(index, 1).await?);
        session.consumers.push(consumer);
    }
    Ok(session)
}

impl Consumer {
    async fn attach(&mut self, index: usize, prefetch: u16) -> lapin::Result<BoxStream<'static, Event>> {
        self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        self.number += 1;
        let (number, options) = (self.number, BasicConsumeOptions::default());
        let tag = self.tag();
        let consumer =
            self.channel.basic_consume(self.queue.clone(), tag, options, FieldTable::default()).await?;
        // The end of a stream is an event too: the broker cancelled the consumer.
        let end = stream::once(std::future::ready((index, number, None)));
        Ok(consumer.map(move |delivery| (index, number, Some(delivery))).chain(end).boxed())
    }

    /// The frame is queued by the first poll, and waiting for the socket would hold up everybody else's.
    fn acknowledge(&self, tag: u64) -> lapin::Result<()> {
        self.channel.basic_ack(tag, BasicAckOptions::default()).now_or_never().unwrap_or(Ok(()))
    }

    fn tag(&self) -> ShortString {
        format!("{}-{}", self.queue.as_str(), self.number).into()
    }

    /// After a (re)connect one message is out at a time, until one is settled that was not delivered before: a message that
    /// kills the process then dies alone, and the crashes do not count against its neighbours. A prefetch holds for new
    /// consumers only, so the first one is replaced.
    async fn settled(&mut self, index: usize) -> lapin::Result<Option<BoxStream<'static, Event>>> {
        if self.probation != Some(false) {
            return Ok(None);
        }
        self.probation = None;
        if self.prefetch == 1 {
            return Ok(None);
        }
        self.channel.basic_cancel(self.tag(), BasicCancelOptions::default()).await?;
        self.attach(index, self.prefetch).await.map(Some)
    }
}

/// Hands out deliveries and acknowledges what was settled, until a stop: then only the latter, until nothing is left.
async fn consume(
    link: &Link,
    publisher: &Publisher,
    subscriptions: &mut Vec<Subscription>,
    session: &mut Session,
) -> Result<(), SessionError> {
    let (sender, mut acks) = mpsc::unbounded_channel();
    let settle = |queue| SessionQueue { queue, acks: sender.clone(), publisher: publisher.clone() };
    let mut handles: Vec<Arc<dyn Settle>> =
        (0..subscriptions.len()).map(|queue| Arc::new(settle(queue)) as _).collect();
    drop(sender);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            ack = acks.recv() => {
                // The last receipt is settled, and no more are handed out.
                let Some(Ack { queue, tag }) = ack else { return Ok(()) };
                let consumer = &mut session.consumers[queue];
                consumer.acknowledge(tag)?;
                if !handles.is_empty() {
                    session.events.extend(consumer.settled(queue).await?);
                }
            },
            Some(event) = session.events.next(), if !handles.is_empty() => {
                let (index, number, delivery) = event;
                let consumer = &mut session.consumers[index];
                match delivery {
                    Some(delivery) => hand_over(&subscriptions[index], consumer, &handles[index], delivery?),
                    None if number == consumer.number => {
                        return Err(SessionError::Cancelled(subscriptions[index].queue.to_string()));
                    }
                    None => {}
                }
            }
            () = link.lifecycle.stopping(), if !handles.is_empty() => {
                subscriptions.clear();
                handles.clear();
            }
            _ = look.tick() => if !session.connection.status().connected() {
                return Err(SessionError::Lost);
            },
        }
    }
}

fn hand_over(
    subscription: &Subscription,
    consumer: &mut Consumer,
    session: &Arc<dyn Settle>,
    mut delivery: lapin::message::Delivery,
) {
    if consumer.probation.is_some() {
        consumer.probation = Some(delivery.redelivered);
    }
    let delivery = Delivery {
        redelivered: delivery.redelivered,
        receipt: Receipt::new(Arc::clone(session), delivery.delivery_tag),
        message: wire::message(&mut delivery),
    };
    if let Err(refused) = subscription.deliveries.try_send(delivery) {
        let queue = &subscription.queue;
        match refused {
            TrySendError::Closed(_) => tracing::debug!(%queue, "not handed over: the process stops"),
            TrySendError::Full(_) => {
                tracing::error!(%queue, "not handed over: more than the prefetch; this is a bug");
            }
        }
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
