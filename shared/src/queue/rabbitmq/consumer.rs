//! Consumes and settles: one task owns the connection, an [attachment](super::attachment) a queue, and every acknowledgement.

use std::{
    iter::zip,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, try_join_all},
    stream::{BoxStream, SelectAll},
};
use lapin::{Channel, Connection};
use tokio::sync::mpsc::{self, error::TrySendError};

use super::{
    attachment::{Attachment, Event, priority},
    link::{Link, Pauses, SessionError},
    migration, mover,
    publisher::Publisher,
    quarantine::Quarantine,
    wire,
};
use crate::queue::{
    Deliveries, Delivery, Destination, Message, Prefetch, QueueName, Receipt, Settle, publish_until_taken,
};

/// The name of the role on health pages and in logs.
const ROLE: &str = "consumers";

/// How often the connection is looked at, and what prefetch is wanted.
const LOOK: Duration = Duration::from_millis(250);

/// The most deliveries that are acknowledged together.
const MAX_TOGETHER: usize = 256;

/// A message that was given back so often is put into the queue anew when it would be given back once more: at 21 the
/// broker takes it for poison. Many orderly stops one after the other are no reason for that.
const WORN: i64 = 10;

struct Subscription {
    queue: QueueName,
    prefetch: Prefetch,
    deliveries: mpsc::Sender<Delivery>,
}

/// Starts the task that serves all of `queues`.
pub(super) fn start(
    link: &Arc<Link>,
    publisher: &Publisher,
    queues: Vec<(QueueName, Prefetch)>,
) -> Vec<Deliveries> {
    let mut subscriptions = Vec::new();
    let mut all = Vec::new();
    for (queue, prefetch) in queues {
        // As large as the prefetch, and what replaced consumers had, so that handing over never waits.
        let (sender, deliveries) = Deliveries::channel(4 * usize::from(prefetch.most()));
        subscriptions.push(Subscription { queue, prefetch, deliveries: sender });
        all.push(deliveries);
    }
    link.note(ROLE, false, "connecting".to_owned());
    let (link, publisher) = (Arc::clone(link), publisher.clone());
    let (lifecycle, tasks) = (link.lifecycle.clone(), link.tasks.clone());
    let run = async move {
        let (mut pauses, mut first) = (Pauses::new(ROLE), true);
        while let Err(error) = session(&link, &publisher, &mut subscriptions, &mut first).await {
            if link.lifecycle.is_stopping() || !pauses.after(&error, &link).await {
                return;
            }
        }
    };
    lifecycle.spawn(ROLE, tasks.track_future(run));
    all
}

/// That the delivery with this tag, on the channel of the `queue`th subscription, is settled.
struct Settled {
    queue: usize,
    tag: u64,
}

/// What a [`Receipt`] of one session and queue settles through. When the session is lost its tags mean nothing.
struct SessionQueue {
    queue: usize,
    acks: mpsc::UnboundedSender<Settled>,
    publisher: Publisher,
}

impl Settle for SessionQueue {
    fn is_lost(&self) -> bool {
        self.acks.is_closed()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        self.acks.closed().boxed()
    }

    fn done(&self, tag: u64) {
        if self.acks.send(Settled { queue: self.queue, tag }).is_err() {
            tracing::debug!(tag, "settled after its session was lost: the broker delivers it again");
        }
    }

    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()> {
        let moved = async move {
            let publish = || self.publisher.publish(message.clone(), destination);
            if publish_until_taken(&message.id, publish, || false).await {
                self.done(tag);
            }
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

struct Session {
    connection: Arc<Connection>,
    attachments: Vec<Attachment>,
    events: SelectAll<BoxStream<'static, Event>>,
    /// In the first session only: a process that lives on after a lost connection was not killed by a message.
    quarantine: Option<Quarantine<lapin::message::Delivery>>,
}

async fn session(
    link: &Link,
    publisher: &Publisher,
    subscriptions: &mut Vec<Subscription>,
    first: &mut bool,
) -> Result<(), SessionError> {
    let opening = async {
        tokio::select! {
            opened = link.open(open(link, subscriptions, *first)) => opened.map(Some),
            () = link.lifecycle.stopping() => Ok(None),
        }
    };
    let Some(mut session) = opening.await? else {
        subscriptions.clear();
        return Ok(());
    };
    session.quarantine = std::mem::take(first).then(|| Quarantine::new(Instant::now()));
    link.ready(ROLE, format!("attached to {}", count(subscriptions.len(), "queue")));
    let connection = Arc::clone(&session.connection);
    let queues = subscriptions.iter().map(|subscription| subscription.queue.clone()).collect();
    let moved = mover::run(&connection, queues, link, publisher);
    link.look_through(Some(Arc::clone(&connection)));
    let ended = tokio::try_join!(consume(link, publisher, subscriptions, &mut session), moved).map(drop);
    link.look_through(None);
    Link::close_connection(&connection).await;
    ended
}

async fn open(link: &Link, subscriptions: &[Subscription], first: bool) -> Result<Session, SessionError> {
    let connection = Arc::new(Connection::connect(link.url(), Link::properties(ROLE)).await?);
    // Meanwhile the publisher declares.
    let channels = try_join_all(subscriptions.iter().map(|_| connection.create_channel())).await?;
    link.declare(&connection).await?;
    if first && let Some(queue) = migration::find_unfinished(&connection, &link.topology).await? {
        return Err(SessionError::Unfinished(queue.to_string()));
    }
    let attaching = zip(channels, subscriptions).enumerate();
    let attaching =
        attaching.map(|(index, (channel, subscription))| attach(link, channel, index, subscription));
    let (attachments, events) = try_join_all(attaching).await?.into_iter().unzip();
    Ok(Session { connection, attachments, events, quarantine: None })
}

async fn attach(
    link: &Link,
    channel: Channel,
    index: usize,
    Subscription { queue: name, prefetch, .. }: &Subscription,
) -> lapin::Result<(Attachment, BoxStream<'static, Event>)> {
    let queue = link.topology.queue(name);
    // Who works on the reports goes on with them as long as it lives: what it has seen is nowhere else.
    let spreads = link.topology.is_single(name) && *name != QueueName::Reports;
    let priority = spreads.then(|| priority(link.replica, queue.as_str()));
    let mut attachment = Attachment::new(channel, queue, prefetch.now(), priority);
    let events = attachment.attach(index, 1).await?;
    Ok((attachment, events))
}

impl Session {
    /// Gives the delivery back when it may be handed over at once.
    fn admit(
        &mut self,
        queue: usize,
        delivery: lapin::message::Delivery,
    ) -> Option<lapin::message::Delivery> {
        if !self.attachments[queue].deliver(&delivery) {
            return Some(delivery);
        }
        let Some(quarantine) = &mut self.quarantine else { return Some(delivery) };
        quarantine.hold((queue, delivery.delivery_tag), delivery.redelivered, delivery);
        None
    }

    /// Has every consumer take as many at a time as is wanted now.
    async fn follow(&mut self, subscriptions: &[Subscription]) -> lapin::Result<()> {
        for (index, (attachment, subscription)) in self.attachments.iter_mut().zip(subscriptions).enumerate()
        {
            self.events.extend(attachment.follow(index, &subscription.prefetch).await?);
        }
        Ok(())
    }

    /// What was held, and may be handed over.
    fn released(&mut self) -> Vec<((usize, u64), lapin::message::Delivery)> {
        // Most often there is none, and no need to look at the clock.
        let quarantine = self.quarantine.as_mut().filter(|quarantine| quarantine.holds_some());
        quarantine.map(|quarantine| quarantine.release(Instant::now())).unwrap_or_default()
    }

    /// Acknowledges what is settled, together what is of one queue.
    async fn settle(&mut self, settled: &mut Vec<Settled>, stopping: bool) -> Result<(), SessionError> {
        settled.sort_unstable_by_key(|settled| settled.queue);
        for Settled { queue, tag } in settled.iter() {
            self.quarantine.iter_mut().for_each(|quarantine| quarantine.settled((*queue, *tag)));
        }
        for same in settled.chunk_by(|one, other| one.queue == other.queue) {
            let (queue, tags): (_, Vec<u64>) =
                (same[0].queue, same.iter().map(|settled| settled.tag).collect());
            let attachment = &mut self.attachments[queue];
            if stopping {
                attachment.acknowledge(&tags)?;
            } else {
                self.events.extend(attachment.settle(queue, &tags).await?);
            }
        }
        settled.clear();
        Ok(())
    }
}

/// Hands out deliveries and acknowledges what was settled, until a stop: then only the latter, until nothing is left.
async fn consume(
    link: &Link,
    publisher: &Publisher,
    subscriptions: &mut Vec<Subscription>,
    session: &mut Session,
) -> Result<(), SessionError> {
    let (sender, mut receipts) = mpsc::unbounded_channel();
    let settle = |queue| SessionQueue { queue, acks: sender.clone(), publisher: publisher.clone() };
    let mut handles: Vec<Arc<dyn Settle>> =
        (0..subscriptions.len()).map(|queue| Arc::new(settle(queue)) as _).collect();
    drop(sender);
    let (mut look, mut settled) = (tokio::time::interval(LOOK), Vec::new());
    loop {
        tokio::select! {
            count = receipts.recv_many(&mut settled, MAX_TOGETHER) => {
                if count == 0 {
                    // The last receipt is settled, and no more are handed out.
                    try_join_all(session.attachments.iter_mut().map(Attachment::pass_on)).await?;
                    return Ok(());
                }
                session.settle(&mut settled, handles.is_empty()).await?;
            },
            Some(event) = session.events.next(), if !handles.is_empty() => {
                let (index, number, delivery) = event;
                match delivery {
                    Some(delivery) => if let Some(delivery) = session.admit(index, delivery?) {
                        hand_over(&subscriptions[index], &handles[index], delivery);
                    },
                    None if session.attachments[index].is_at(number) => {
                        return Err(SessionError::Cancelled(subscriptions[index].queue.to_string()));
                    }
                    None => {}
                }
            }
            () = link.lifecycle.stopping(), if !handles.is_empty() => {
                // Nobody begins it any more, and what was given back often is put into its queue anew.
                for ((index, _), delivery) in session.quarantine.take().map(Quarantine::end).unwrap_or_default() {
                    hand_over(&subscriptions[index], &handles[index], delivery);
                }
                subscriptions.clear();
                handles.clear();
                session.attachments.iter().try_for_each(Attachment::cancel)?;
            }
            _ = look.tick() => {
                if !session.connection.status().connected() {
                    return Err(SessionError::Lost);
                }
                session.follow(subscriptions).await?;
            }
        }
        for ((index, _), delivery) in session.released() {
            hand_over(&subscriptions[index], &handles[index], delivery);
        }
    }
}

fn hand_over(subscription: &Subscription, session: &Arc<dyn Settle>, mut delivery: lapin::message::Delivery) {
    let receipt = Receipt::new(Arc::clone(session), delivery.delivery_tag);
    let given_back = wire::times_given_back(&delivery);
    let delivery = Delivery {
        redelivered: delivery.redelivered,
        receipt: if given_back < WORN { receipt } else { receipt.worn() },
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
