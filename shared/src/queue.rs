//! The queue seam: publish with a confirm, consume, settle. Business code never knows which queue it runs on.
//!
//! Two implementations pass one contract test suite: [`rabbitmq`] and [`embedded`]. What they promise alike:
//! [`Publish::publish`] returns when the message is durable; a delivery that is not settled comes back after a crash;
//! settling moves a message (to a rung of the retry ladder, to the dead letters) before it is taken away.

pub mod embedded;

pub mod rabbitmq;

pub mod dead_letters;

mod message;

mod prefetch;

mod retry;

mod routes;

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

use self::retry::{EXPIRED, Settlement};
pub use self::{
    message::{Headers, Message, header, traced},
    prefetch::Prefetch,
    retry::RetryPolicy,
};
use crate::{
    clock,
    config::{Config, QueueUrl},
    lifecycle::{Failure, Lifecycle},
    message::BackendName,
    metric,
};

/// What a message is and where it goes: `incoming.<backend>` and so on, the routing key on RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// From outside, to the router.
    Incoming(BackendName),
    /// Submitted by a program, to the router.
    Submit(BackendName),
    /// To one backend's engine.
    Outgoing(BackendName),
    /// What a backend's provider says about what was sent.
    Report(BackendName),
}

impl Route {
    /// As it is written in a [`Message`]. The routing key on the broker may have more to it.
    #[must_use]
    pub fn name(&self) -> String {
        let (what, backend) = match self {
            Self::Incoming(backend) => ("incoming.", backend),
            Self::Submit(backend) => ("submit.", backend),
            Self::Outgoing(backend) => ("outgoing.", backend),
            Self::Report(backend) => ("report.", backend),
        };
        [what, backend.as_str()].concat()
    }
}

/// A queue, without the prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QueueName {
    /// All that needs the router.
    Incoming,
    /// Delivery reports.
    Reports,
    /// What one backend's engine sends.
    Outgoing(BackendName),
    /// What could not be processed, with its reason.
    Dead,
    /// What no queue is bound for.
    Unrouted,
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incoming => f.write_str("incoming"),
            Self::Reports => f.write_str("reports"),
            Self::Outgoing(backend) => write!(f, "outgoing.{backend}"),
            Self::Dead => f.write_str("dead"),
            Self::Unrouted => f.write_str("unrouted"),
        }
    }
}

/// Why a message may not be in the queue. It may be in it all the same: a repeat carries the same id.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PublishError {
    /// No confirm within the deadline.
    #[error("the queue did not confirm within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
    /// No connection, or it was lost before the confirm.
    #[error("the queue is not reachable: {0}")]
    Unavailable(String),
    /// The queue said no: full, or a disk without space.
    #[error("the queue refused the message: {0}")]
    Refused(String),
}

/// Puts messages into the queue.
pub trait Publish: Send + Sync {
    /// Returns when the message is durable. Gives up just before `queue.publish_timeout` is over: for those whom somebody
    /// waits for.
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The same without a deadline: returns when it is known whether the message is durable. For those who publish again
    /// after an error: after a deadline the first copy may still be on its way, and then there would be two.
    fn publish_patiently(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>>;
}

/// A queue that can also be consumed.
pub trait Queue: Publish {
    /// Attaches one consumer to each queue; no more than it has beside it are unsettled at a time.
    ///
    /// The deliveries go on over every reconnect, and end when the process is asked to stop.
    fn consume(&self, queues: Vec<(QueueName, Prefetch)>) -> Vec<Deliveries>;

    /// How many messages wait in the queue and are not handed out; nothing when that cannot be known.
    fn depth(&self, queue: &QueueName) -> BoxFuture<'_, Option<u64>>;

    /// Whether messages wait in the queue that this process should be given; nothing when that cannot be known.
    fn has_waiting(&self, queue: &QueueName) -> BoxFuture<'_, Option<bool>>;

    /// What health pages tell: whether messages can be published, and whether every consumer is attached.
    fn checks(&self) -> Vec<Check>;

    /// Flushes and disconnects. Called after the last delivery was settled.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One line of a health page.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it is well.
    pub ok: bool,
    /// What is the matter, or what was seen.
    pub detail: String,
}

/// The deliveries of one queue.
pub struct Deliveries(mpsc::Receiver<Delivery>);

impl Deliveries {
    /// A stream of deliveries and where to put them; for implementations, and for tests without a queue.
    #[must_use]
    pub fn channel(capacity: usize) -> (mpsc::Sender<Delivery>, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        (sender, Self(receiver))
    }

    /// The next delivery, or nothing when the process stops.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.0.recv().await
    }
}

/// A message that was delivered, and the duty to settle it.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// Whether it was delivered before, and not settled.
    pub redelivered: bool,
    /// How to settle it.
    pub receipt: Receipt,
}

/// The duty to settle a delivery. One that is dropped comes back after a reconnect.
#[must_use]
pub struct Receipt {
    session: Arc<dyn Settle>,
    tag: u64,
    is_worn: bool,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("tag", &self.tag).finish_non_exhaustive()
    }
}

/// What shall become of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Disposition {
    /// Done with: handled, filtered, sent.
    Done,
    /// To be tried again later: up the ladder, or to the dead letters when it was tried often enough.
    Retry {
        /// The class of the failure, which becomes the dead letter's.
        class: &'static str,
        /// Why, for people who look at the message. It may have what a provider said, so it is not for the log.
        reason: String,
        /// Headers for the next attempt.
        headers: Headers,
    },
    /// To be gone on with at once, by whoever gets it: no failure, and no attempt.
    Continue {
        /// Headers that tell how far it is.
        headers: Headers,
    },
    /// To be left as it is: it is delivered again when this process is gone.
    Leave,
    /// Too old to be tried once more: to the dead letters.
    Expire,
    /// Not to be tried again: to the dead letters.
    DeadLetter {
        /// The class of the failure.
        class: &'static str,
        /// Why, for people who look at the message. It may have what a provider said, so it is not for the log.
        reason: String,
        /// Headers for whoever replays it.
        headers: Headers,
    },
}

impl Disposition {
    /// The class of the failure; empty when there was none.
    fn class(&self) -> &'static str {
        match self {
            Self::Done | Self::Continue { .. } | Self::Leave => "",
            Self::Expire => EXPIRED,
            Self::Retry { class, .. } | Self::DeadLetter { class, .. } => class,
        }
    }
}

/// Where a message is moved to when it is settled without being done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Back in its queue.
    Back,
    /// A rung of the ladder: back in its queue after this delay.
    Retry(Duration),
    /// The dead letters.
    Dead,
}

/// How an implementation settles.
pub trait Settle: Send + Sync {
    /// True when nothing can be settled any more: what was delivered will be delivered again.
    fn is_lost(&self) -> bool;

    /// Waits until that is so.
    fn lost(&self) -> BoxFuture<'_, ()>;

    /// Takes the message away.
    fn done(&self, tag: u64);

    /// Puts `message` at `destination`, and takes the delivered one away when that is durable. Returns without either
    /// when the session is lost: then the message is redelivered.
    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()>;
}

impl Receipt {
    /// A receipt of `session`, for implementations and for tests without a queue.
    pub fn new(session: Arc<dyn Settle>, tag: u64) -> Self {
        Self { session, tag, is_worn: false }
    }

    /// The receipt of a message that was given back so often that it would soon be taken for poison.
    pub fn worn(self) -> Self {
        Self { is_worn: true, ..self }
    }

    /// True when settling means nothing any more, because the message will be delivered again. Then it is best not begun.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.session.is_lost()
    }

    /// Waits until settling means nothing any more. Until then it may be for ever.
    pub async fn lost(&self) {
        self.session.lost().await;
    }

    /// Settles the delivery. The only door through which a message leaves a queue.
    pub async fn settle(self, message: Message, disposition: Disposition, policy: &RetryPolicy) {
        let is_given_back = self.is_worn && disposition == Disposition::Leave;
        // Put into the queue anew, it is counted anew.
        let anew = || Disposition::Continue { headers: Headers::new() };
        let disposition = if is_given_back { anew() } else { disposition };
        let class = disposition.class();
        match policy.apply(message, disposition, clock::now()) {
            Settlement::Done => self.session.done(self.tag),
            Settlement::Leave => {}
            Settlement::Move(message, destination) => {
                let (id, route) = (message.id.clone(), message.route.clone());
                self.session.transfer(self.tag, message, destination).await;
                if !self.session.is_lost() {
                    note_move(&id, route, class, destination);
                }
            }
        }
    }
}

fn note_move(id: &str, route: String, class: &'static str, destination: Destination) {
    let name = match destination {
        Destination::Back => return,
        Destination::Retry(_) => metric::RETRIES,
        Destination::Dead => metric::DEAD_LETTERS,
    };
    if destination == Destination::Dead {
        // Without the reason: it may repeat what the provider said, numbers included.
        tracing::error!(message_id = id, route, class, "dead-lettered");
    }
    metrics::counter!(name, "route" => route, "class" => class).increment(1);
}

/// How long a message waits that could not be published, before it is published again.
const PUBLISH_PAUSE: Duration = Duration::from_millis(500);

/// Publishes the message of this id until it is taken, or until `give_up` says so after a failure. True when it is taken.
pub async fn publish_until_taken<F>(
    id: impl fmt::Display,
    publish: impl Fn() -> F,
    give_up: impl Fn() -> bool,
) -> bool
where
    F: Future<Output = Result<(), PublishError>>,
{
    let mut told = false;
    while let Err(error) = publish().await {
        if give_up() {
            return false;
        }
        // Once a message: a broker can be away for hours.
        if !std::mem::replace(&mut told, true) {
            tracing::warn!(message_id = %id, %error, "cannot be queued yet");
        }
        tokio::time::sleep(PUBLISH_PAUSE).await;
    }
    true
}

/// Opens the queue that `config` names. An embedded one is opened at once; RabbitMQ is connected in the background.
pub fn open(config: &Config, lifecycle: &Lifecycle) -> Result<Arc<dyn Queue>, Failure> {
    Ok(match &config.queue.url {
        QueueUrl::Amqp(url) => Arc::new(rabbitmq::RabbitMq::start(url, config, lifecycle)),
        QueueUrl::Embedded(file) => {
            let backends: Vec<BackendName> = config.backends.keys().cloned().collect();
            Arc::new(embedded::Embedded::open(file, &config.queue, &backends, lifecycle)?)
        }
    })
}
