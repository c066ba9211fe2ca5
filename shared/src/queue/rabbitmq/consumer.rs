//! Consumes and settles: one task owns the connection, a channel a queue, and every acknowledgement.

use std::{sync::Arc, time::Duration};

use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{self, SelectAll},
};
use lapin::{
    Channel, Connection,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::sync::mpsc;

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
        // As large as the prefetch, so that handing over never waits.
        let (sender, deliveries) = Deliveries::channel(prefetch.into());
        subscriptions.push(Subscription { queue, prefetch, deliveries: sender });
        all.push(deliveries);
    }
    link.note(ROLE, false, "connecting".to_owned());
    let (link, publisher) = (Arc::clone(link), publisher.clone());
    let tasks = link.tasks.clone();
    tasks.spawn(async move {
        let mut pauses = Pauses::new(ROLE);
        while let Err(error) = session(&link, &publisher, &mut subscriptions).await {
            if link.lifecycle.is_stopping() || !pauses.after(&error, &link).await {
                return;
            }
        }
    });
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
    fn done(&self, tag: u64) {
        if self.acks.send(Ack { queue: self.queue, tag }).is_err() {
            tracing::debug!(tag, "settled after its session was lost: the broker delivers it again");
        }
    }

    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()> {
        async move {
            while let Err(error) = self.publisher.publish(message.clone(), Some(destination)).await {
                tracing::warn!(message_id = %message.id, %error, "cannot be moved yet");
                tokio::select! {
                    () = self.acks.closed() => return,
                    () = tokio::time::sleep(MOVE_PAUSE) => {}
                }
            }
            self.done(tag);
        }
        .boxed()
    }
}

type Incoming = (usize, Option<lapin::Result<lapin::message::Delivery>>);

struct Session {
    connection: Connection,
    channels: Vec<Channel>,
    incoming: SelectAll<stream::BoxStream<'static, Incoming>>,
}

async fn session(
    link: &Link,
    publisher: &Publisher,
    subscriptions: &mut Vec<Subscription>,
) -> Result<(), SessionError> {
    if link.lifecycle.is_stopping() {
        subscriptions.clear();
        return Ok(());
    }
    let mut session = Link::open(open(link, subscriptions)).await?;
    link.ready(ROLE, format!("attached to {}", count(subscriptions.len(), "queue")));
    let ended = consume(link, publisher, subscriptions, &mut session).await;
    if ended.is_ok() {
        session.connection.close(200, "bye".into()).await?;
    }
    ended
}

async fn open(link: &Link, subscriptions: &[Subscription]) -> Result<Session, SessionError> {
    let connection = Connection::connect(link.url(), Link::properties(ROLE)).await?;
    link.topology.declare(&connection.create_channel().await?).await?;
    let mut channels = Vec::new();
    let mut incoming = SelectAll::new();
    for (index, subscription) in subscriptions.iter().enumerate() {
        let channel = connection.create_channel().await?;
        channel.basic_qos(subscription.prefetch, BasicQosOptions::default()).await?;
        let (queue, tag) = (link.topology.queue(&subscription.queue), "".into());
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue, tag, options, FieldTable::default()).await?;
        // The end of a stream is an event too: the broker cancelled the consumer.
        let ended = stream::once(std::future::ready((index, None)));
        incoming.push(consumer.map(move |delivery| (index, Some(delivery))).chain(ended).boxed());
        channels.push(channel);
    }
    Ok(Session { connection, channels, incoming })
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
            ack = acks.recv() => match ack {
                Some(Ack { queue, tag }) => acknowledge(&session.channels[queue], tag)?,
                // The last receipt is settled, and no more are handed out.
                None => return Ok(()),
            },
            Some((index, delivery)) = session.incoming.next(), if !handles.is_empty() => {
                let subscription = &subscriptions[index];
                let cancelled = || SessionError::Cancelled(subscription.queue.to_string());
                hand_over(subscription, &handles[index], delivery.ok_or_else(cancelled)??);
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

fn hand_over(subscription: &Subscription, session: &Arc<dyn Settle>, mut delivery: lapin::message::Delivery) {
    let delivery = Delivery {
        redelivered: delivery.redelivered,
        receipt: Receipt::new(Arc::clone(session), delivery.delivery_tag),
        message: wire::message(&mut delivery),
    };
    if subscription.deliveries.try_send(delivery).is_err() {
        tracing::debug!(queue = %subscription.queue, "not handed over: the process stops; the broker delivers it again");
    }
}

/// The frame is queued by the first poll, and waiting for the socket would hold up everybody else's.
fn acknowledge(channel: &Channel, tag: u64) -> Result<(), SessionError> {
    Ok(channel.basic_ack(tag, BasicAckOptions::default()).now_or_never().unwrap_or(Ok(()))?)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
