//! Moves a queue to the arguments that this program wants. Killed at any point, it is finished by running it again.
//!
//! RabbitMQ cannot change the arguments of a queue, so its messages wait in a temporary one while it is made anew. What is
//! published meanwhile goes to `unrouted` by the alternate exchange, and is brought back at the end.

use std::time::{Duration, Instant};

use futures_util::{
    future,
    stream::{self, StreamExt, TryStreamExt},
};
use lapin::{
    Channel, Connection,
    message::Delivery,
    options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{FieldTable, ShortString},
};

use super::{
    declaration::{self, look},
    handover,
    letters::visit_with,
    link::{SessionError, refused},
    mismatch::Mismatch,
    operator::{Operator, patiently},
    shovel::{Shovel, Step},
    topology::{self, Source, Topology},
    wire,
};
use crate::{
    clock,
    config::{Config, QueueUrl},
    lifecycle::{Exit, Failure},
    queue::{
        Message, QueueName,
        dead_letters::{Action, DeadQueue, Letter, MAX_REPLAYS, Visit},
    },
};

/// How long an empty queue is watched before it is deleted: what was routed to it before it was unbound has come by then.
const WATCH: Duration = Duration::from_secs(1);

/// How long messages may come to a queue to which nothing of ours leads any more.
const ENOUGH: Duration = Duration::from_secs(120);

/// How long a rung may take to hand over what has expired in it: more than a million messages.
const HAND_OVER: Duration = Duration::from_secs(120);

/// How many queues are looked for together.
const TOGETHER: usize = 64;

/// What a migration has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Whether the queue had other arguments.
    pub changed: bool,
    /// How many messages were brought back to it.
    pub messages: usize,
}

/// Moves `queue`, by its full name, to the arguments that this program wants. The embedded queue has none.
pub async fn migrate(config: &Config, queue: &str) -> Result<Migrated, Failure> {
    let QueueUrl::Amqp(url) = &config.queue.url else {
        return Ok(Migrated { changed: false, messages: 0 });
    };
    let operator = Operator::connect(url, config).await?;
    let migrated = match Migration::new(&operator, queue) {
        Some(migration) => migration.run().await,
        None => Err(refusal(format!(
            "{queue} is no queue of this configuration; write its whole name, such as {}, and see queue.prefix, \
             queue.retry and the backends",
            operator.topology.queue(&QueueName::Incoming).as_str()
        ))),
    };
    operator.close().await;
    migrated
}

/// The name of the temporary queue of `queue`.
pub(super) fn waiting(queue: &ShortString) -> ShortString {
    format!("{}.migrating", queue.as_str()).into()
}

/// An empty queue that is there for good once any queue was migrated. To look for a queue that is not there is an error in the
/// broker's log, so a start looks for the others only when it finds this one. It is never taken away: a migration may be
/// unfinished that the configuration of the moment knows nothing of.
fn mark(topology: &Topology) -> ShortString {
    waiting(&topology.exchange())
}

/// The queue whose migration was broken off, if there is one.
pub(super) async fn find_unfinished(
    connection: &Connection,
    topology: &Topology,
) -> lapin::Result<Option<ShortString>> {
    if look(connection, mark(topology)).await?.is_none() {
        return Ok(None);
    }
    let sources = topology.sources().into_iter().chain(topology.unused());
    let looks = sources.map(async |Source { queue, .. }| {
        let seen = look(connection, waiting(&queue)).await?;
        Ok(seen.map(|_| queue))
    });
    let mut unfinished = stream::iter(looks).buffered(TOGETHER).try_filter_map(future::ok);
    unfinished.try_next().await
}

fn refusal(told: String) -> Failure {
    Failure::new(Exit::Unavailable, told)
}

struct Migration<'o> {
    operator: &'o Operator,
    source: Source,
    /// The queues that are declared before this one.
    before: Vec<ShortString>,
    /// The name of the temporary queue, and of the fanout exchange that leads to it under any key.
    waiting: ShortString,
}

impl<'o> Migration<'o> {
    fn new(operator: &'o Operator, queue: &str) -> Option<Self> {
        let mut sources = operator.topology.sources();
        // One whose backend has another queue by now can only be brought back.
        sources.extend(operator.topology.unused());
        let place = sources.iter().position(|source| source.queue.as_str() == queue)?;
        let before = sources.iter().take(place).map(|source| source.queue.clone()).collect();
        let source = sources.swap_remove(place);
        Some(Self { operator, before, waiting: waiting(&source.queue), source })
    }

    async fn run(&self) -> Result<Migrated, Failure> {
        self.refuse_others().await?;
        self.refuse_consumers().await?;
        let changed = !self.declare().await?;
        if changed {
            self.empty().await?;
            if !self.declare().await? {
                let queue = self.source.queue.as_str();
                return Err(refusal(format!(
                    "somebody has declared {queue} with other arguments meanwhile; stop every dispatcher and gateway, \
                     and run this again"
                )));
            }
        }
        let back = self.bring_back().await?;
        Ok(Migrated { changed, messages: back + self.replay_unrouted().await? })
    }

    /// Two migrations of a queue would delete it while the other one holds messages of it, which are in no count.
    async fn refuse_others(&self) -> Result<(), Failure> {
        let queue = &self.source.queue;
        if self.operator.lock(queue).await.map_err(|error| self.operator.failure(&error))? {
            return Ok(());
        }
        Err(refusal(format!(
            "another tool works on {}, or its connection is not dead yet; wait a minute and run this again",
            queue.as_str()
        )))
    }

    /// A dispatcher would consume and publish meanwhile, and a rung or `dead` without a bound queue loses what comes.
    async fn refuse_consumers(&self) -> Result<(), Failure> {
        for queue in [&self.source.queue, &self.operator.topology.queue(&QueueName::Incoming)] {
            let seen = self.operator.look(queue).await.map_err(|error| self.operator.failure(&error))?;
            let consumers = seen.map_or(0, |seen| seen.consumers);
            if consumers > 0 {
                let (queue, migrated) = (queue.as_str(), self.source.queue.as_str());
                return Err(refusal(format!(
                    "{migrated} cannot be migrated while {consumers} consumers are attached to {queue}; \
                     stop every dispatcher and gateway, and run this again"
                )));
            }
        }
        Ok(())
    }

    /// Declares the topology as far as it can be. True when this queue is as it is wanted.
    async fn declare(&self) -> Result<bool, Failure> {
        let declaring = self.operator.topology.declare(&self.operator.connection);
        let Err(error) = patiently(declaring).await else { return Ok(true) };
        let SessionError::Lapin(refusal) = &error else { return Err(self.operator.failure(&error)) };
        match refused(refusal).and_then(|(_, told)| Mismatch::read(told)) {
            Some(Mismatch::Queue(name)) if name == self.source.queue.as_str() => Ok(false),
            // One that is declared later can be migrated later.
            Some(Mismatch::Queue(name)) if self.before.iter().all(|before| before.as_str() != name) => {
                Ok(true)
            }
            Some(Mismatch::Queue(_) | Mismatch::Exchange(_)) | None => Err(self.operator.failure(&error)),
        }
    }

    /// Moves all messages to the temporary queue, and deletes the old one.
    async fn empty(&self) -> Result<(), Failure> {
        let failed = |error| self.operator.failure(&error);
        let channel = self.prepare().await.map_err(failed)?;
        let begun = Instant::now();
        loop {
            self.move_all(&self.source.queue, &self.waiting).await?;
            // An old ingress that has connected meanwhile has bound it again.
            self.unbind(&channel).await.map_err(failed)?;
            tokio::time::sleep(WATCH).await;
            self.refuse_consumers().await?;
            // After the look for consumers: what the last of them held is counted again.
            let seen = self.operator.look(&self.source.queue).await.map_err(failed)?;
            if seen.is_none_or(|seen| seen.messages == 0) {
                break;
            }
            self.refuse_more(&self.source.queue, begun)?;
        }
        self.hand_over().await?;
        // Quorum queues do not know `if-empty`; but nothing leads here any more.
        let deleting = channel.queue_delete(self.source.queue.clone(), QueueDeleteOptions::default());
        patiently(deleting).await.map_err(failed).map(drop)
    }

    /// Declares the temporary pair and takes the old queue off its exchange.
    async fn prepare(&self) -> Result<Channel, SessionError> {
        let (channel, topology) = (self.operator.channel().await?, &self.operator.topology);
        let (durable, none) = (QueueDeclareOptions::durable(), FieldTable::default());
        patiently(channel.queue_declare(mark(topology), durable, none)).await?;
        patiently(declaration::take(&channel, topology::waiting(&self.waiting))).await?;
        if self.has_own_exchange() {
            // It has no alternate exchange: what comes meanwhile would be lost.
            patiently(channel.queue_bind(
                self.waiting.clone(),
                self.source.exchange.clone(),
                ShortString::default(),
                QueueBindOptions::default(),
                FieldTable::default(),
            ))
            .await?;
        }
        self.unbind(&channel).await?;
        Ok(channel)
    }

    /// Takes the queue off its exchanges.
    async fn unbind(&self, channel: &Channel) -> Result<(), SessionError> {
        let Source { queue, exchange, keys } = &self.source;
        unbind(channel, queue, queue, "").await?;
        for key in keys {
            unbind(channel, queue, exchange, key).await?;
            // The plain key of a backend with a rate leads here as well.
            unbind(channel, queue, exchange, topology::route(key)).await?;
        }
        Ok(())
    }

    /// Waits for what has expired in a rung, and is in no count until another queue has it.
    async fn hand_over(&self) -> Result<(), Failure> {
        let rung = &self.source.queue;
        if !self.operator.topology.is_rung(rung) {
            return Ok(());
        }
        let handed_over = handover::wait(self.operator, rung, HAND_OVER).await;
        if handed_over.map_err(|error| self.operator.failure(&error))? {
            return Ok(());
        }
        Err(refusal(format!(
            "it cannot be told whether {0} has handed over all that has expired in it; run this again, or, when its messages \
             need not be kept, delete it: rabbitmqctl delete_queue {0}",
            rung.as_str()
        )))
    }

    /// Moves the messages from the temporary queue to where their keys lead, and deletes it.
    async fn bring_back(&self) -> Result<usize, Failure> {
        let failed = |error| self.operator.failure(&error);
        if self.operator.look(&self.waiting).await.map_err(failed)?.is_none() {
            return Ok(0);
        }
        let channel = self.operator.channel().await.map_err(failed)?;
        if self.has_own_exchange() {
            unbind(&channel, &self.waiting, &self.source.exchange, "").await.map_err(failed)?;
        }
        let mut moved = 0;
        loop {
            moved += self.move_all(&self.waiting, &self.source.exchange).await?;
            if !self.operator.is_left_alone(&self.waiting).await.map_err(failed)? {
                return Err(refusal(format!(
                    "somebody consumes {} and may hold messages of it; stop that, and run this again",
                    self.waiting.as_str()
                )));
            }
            let left = self.operator.look(&self.waiting).await.map_err(failed)?;
            if left.is_none_or(|left| left.messages == 0) {
                break;
            }
        }
        let (queue, exchange) = (self.waiting.clone(), self.waiting.clone());
        patiently(channel.queue_delete(queue, QueueDeleteOptions::default())).await.map_err(failed)?;
        patiently(channel.exchange_delete(exchange, ExchangeDeleteOptions::default()))
            .await
            .map_err(failed)?;
        Ok(moved)
    }

    /// Moves what there is, and what is given back meanwhile.
    async fn move_all(&self, from: &ShortString, to: &ShortString) -> Result<usize, Failure> {
        let failed = |error| self.operator.failure(&error);
        // What the broker itself puts there meanwhile comes to the temporary queue, and is told as it is as well.
        let is_dead = self.source.queue == self.operator.topology.queue(&QueueName::Dead);
        let mut step = |mut delivery: Delivery| Step::Move(to.clone(), message(&mut delivery, is_dead));
        let (mut moved, mut first_pass) = (0, None);
        loop {
            let messages = self.operator.look(from).await.map_err(failed)?.map_or(0, |seen| seen.messages);
            if messages == 0 {
                return Ok(moved);
            }
            if let Some(ended) = first_pass {
                self.refuse_more(from, ended)?;
            }
            let shovel = Shovel::new(self.operator, from, false).await.map_err(failed)?;
            moved += shovel.run(messages, &mut step).await.map_err(failed)?.moved;
            first_pass.get_or_insert_with(Instant::now);
        }
    }

    /// A queue that somebody fills will never be empty.
    fn refuse_more(&self, queue: &ShortString, since: Instant) -> Result<(), Failure> {
        if since.elapsed() < ENOUGH {
            return Ok(());
        }
        Err(refusal(format!(
            "messages come to {} all the time, although its bindings were taken away: somebody publishes to it directly, \
             or has bound it; stop that, and run this again to finish the migration of {}",
            queue.as_str(),
            self.source.queue.as_str()
        )))
    }

    /// Brings back what came while the queue was away.
    async fn replay_unrouted(&self) -> Result<usize, Failure> {
        if self.has_own_exchange() {
            return Ok(0);
        }
        let mut decide = |letter: &Letter| {
            let queue = self.operator.topology.front(&letter.message.route);
            let is_meant = queue == self.source.queue && letter.replays() < MAX_REPLAYS;
            if is_meant { Action::Replay } else { Action::Keep }
        };
        let visit = Visit { dead_queue: DeadQueue::Unrouted, began: clock::now(), decide: &mut decide };
        Ok(visit_with(self.operator, visit).await?.replayed)
    }

    fn has_own_exchange(&self) -> bool {
        self.source.exchange == self.source.queue
    }
}

/// What the broker itself says of a dead letter would be lost with its headers, so it becomes ours.
fn message(delivery: &mut Delivery, is_dead: bool) -> Message {
    if is_dead { wire::letter(DeadQueue::Dead, delivery).message } else { wire::message(delivery) }
}

async fn unbind(
    channel: &Channel,
    queue: &ShortString,
    exchange: &ShortString,
    key: &str,
) -> Result<(), SessionError> {
    let key = ShortString::from(key);
    patiently(channel.queue_unbind(queue.clone(), exchange.clone(), key, FieldTable::default())).await
}
