//! Publishes with confirms: one task owns the channel, so that the order of tags is the order on the wire.
//!
//! When several tasks publish on one lapin channel, tags and frames can swap, and a refused message is reported as
//! confirmed. Here every publish is first polled by one task; the confirms of many are awaited together.

use std::{sync::Arc, time::Duration};

use deadpool_lapin::{Manager, Object, Pool, PoolError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::{
    Channel, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::ShortString,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    link::{Link, Pauses, SessionError},
    wire,
};
use crate::{
    clock,
    lifecycle::{Exit, Failure},
    metric,
    queue::{Destination, Message, PublishError},
};

/// The name of the role on health pages and in logs.
const ROLE: &str = "publisher";

/// What health pages and senders are told of a broker that is connected.
const CONNECTED: &str = "connected";

/// What they are told of one that is connected and does not read.
const BLOCKED: &str = "blocked by the broker: it is short of memory or disk";

/// The most unconfirmed publishes. lapin scans all of them at each `multiple` confirm.
const MAX_IN_FLIGHT: usize = 512;

/// The most publishes that wait for the task; who finds no room waits, and gives up after the deadline.
const MAX_WAITING: usize = 512;

/// How often an idle connection is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A handle to the publisher task.
#[derive(Clone)]
pub(super) struct Publisher {
    jobs: mpsc::Sender<Job>,
    link: Arc<Link>,
}

struct Job {
    exchange: ShortString,
    key: ShortString,
    message: Message,
    done: oneshot::Sender<Result<(), PublishError>>,
}

type Confirmed = (oneshot::Sender<Result<(), PublishError>>, lapin::Result<Confirmation>);

impl Publisher {
    /// Starts the task.
    pub(super) fn start(link: &Arc<Link>) -> Self {
        let (jobs, receiver) = mpsc::channel(MAX_WAITING);
        link.note(ROLE, false, "connecting".to_owned());
        link.lifecycle.spawn(ROLE, link.tasks.track_future(run(Arc::clone(link), receiver)));
        Self { jobs, link: Arc::clone(link) }
    }

    /// As [`Publisher::publish`] to where the message's route leads, but gives up waiting just before `queue.publish_timeout`
    /// is over.
    ///
    /// Only the waiting is given up: a confirm that was dropped would stay in lapin for ever. What the broker has not seen
    /// by then is not sent any more.
    pub(super) async fn publish_in_time(&self, message: Message) -> Result<(), PublishError> {
        let wait = self.link.publish_wait;
        let published = tokio::time::timeout(wait, self.publish(message, Destination::Back)).await;
        published.unwrap_or(Err(PublishError::Timeout(wait)))
    }

    /// Returns when the message is confirmed at `destination`, or surely never will be.
    pub(super) async fn publish(
        &self,
        message: Message,
        destination: Destination,
    ) -> Result<(), PublishError> {
        let topology = &self.link.topology;
        let (exchange, key) =
            (topology.destination(destination, &message.route), topology.key(&message.route));
        let (done, confirmed) = oneshot::channel();
        let ended = || {
            let stops = self.link.closing.is_cancelled();
            let why = if stops { "the process stops" } else { "the connection was lost before the confirm" };
            PublishError::Unavailable(why.to_owned())
        };
        self.jobs.send(Job { exchange, key, message, done }).await.map_err(|_| ended())?;
        confirmed.await.unwrap_or_else(|_| Err(ended()))
    }
}

async fn run(link: Arc<Link>, mut jobs: mpsc::Receiver<Job>) {
    let pool = match pool(&link) {
        Ok(pool) => pool,
        Err(error) => {
            return link.lifecycle.fail(Failure::new(Exit::Task, format!("no connection pool: {error}")));
        }
    };
    let mut pauses = Pauses::new(ROLE);
    while let Err(error) = session(&link, &pool, &mut jobs).await {
        if !pauses.after(&error, &link).await {
            return;
        }
    }
}

/// The connection comes from a pool, which replaces it when it is dead; the task keeps it for a whole session.
fn pool(link: &Link) -> Result<Pool, Box<dyn std::error::Error>> {
    let manager = Manager::new(link.url(), || Link::properties(ROLE), lapin::runtime::default_runtime()?);
    Ok(Pool::builder(manager).max_size(1).build()?)
}

async fn session(link: &Link, pool: &Pool, jobs: &mut mpsc::Receiver<Job>) -> Result<(), SessionError> {
    let (connection, channel) = link.open(open(link, pool)).await?;
    link.ready(ROLE, CONNECTED.to_owned());
    let ended = publish_all(link, &connection, &channel, jobs).await;
    // It goes back to the pool, which does not give out what is closed.
    Link::close_connection(&connection).await;
    ended
}

async fn open(link: &Link, pool: &Pool) -> Result<(Object, Channel), SessionError> {
    let connection = pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => SessionError::Lapin(error),
        PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_) => SessionError::Lost,
    })?;
    link.topology.declare(&connection).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

async fn publish_all(
    link: &Link,
    connection: &Object,
    channel: &Channel,
    jobs: &mut mpsc::Receiver<Job>,
) -> Result<(), SessionError> {
    let mut in_flight = FuturesUnordered::new();
    let mut look = tokio::time::interval(LOOK);
    let last_publish = metrics::gauge!(metric::LAST_PUBLISH);
    let (mut blocked, mut confirmed_some) = (false, false);
    loop {
        tokio::select! {
            Some(confirmed) = in_flight.next(), if !in_flight.is_empty() => {
                confirmed_some |= answer(confirmed);
            }
            job = jobs.recv(), if in_flight.len() < MAX_IN_FLIGHT => match job {
                // Whoever gave up waiting may repeat the message; sending this one too would make two of it.
                Some(job) if job.done.is_closed() => {}
                // lapin would keep the frames until the broker reads again, long after anybody waits for them.
                Some(job) if connection.status().blocked() => {
                    job.done.send(Err(PublishError::Unavailable(BLOCKED.to_owned()))).ok();
                }
                Some(job) => in_flight.push(publish(channel.clone(), job)),
                None if in_flight.is_empty() => return Ok(()),
                None => {
                    // The last confirms, after the process was asked to end.
                    while let Some(confirmed) = in_flight.next().await {
                        answer(confirmed);
                    }
                    return Ok(());
                }
            },
            _ = look.tick() => {
                if !channel.status().connected() {
                    return Err(SessionError::Lost);
                }
                if link.closing.is_cancelled() {
                    jobs.close();
                }
                if std::mem::take(&mut confirmed_some) {
                    last_publish.set(Duration::from_secs(clock::now().seconds()).as_secs_f64());
                }
                note_blocked(link, connection, &mut blocked);
            }
            () = link.closing.cancelled(), if !jobs.is_closed() => jobs.close(),
        }
    }
}

/// A broker that is short of memory or disk stops reading; nothing is lost, but nothing is confirmed either.
fn note_blocked(link: &Link, connection: &Object, blocked: &mut bool) {
    let now = connection.status().blocked();
    if now != *blocked {
        *blocked = now;
        if now {
            tracing::warn!(role = ROLE, "{BLOCKED}");
        } else {
            tracing::info!(role = ROLE, "the broker takes messages again");
        }
        link.note(ROLE, !now, if now { BLOCKED } else { CONNECTED }.to_owned());
    }
}

async fn publish(channel: Channel, job: Job) -> Confirmed {
    let Job { exchange, key, message, done } = job;
    let properties = wire::properties(&message);
    let options = BasicPublishOptions::default();
    #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
    let written = channel.basic_publish(exchange, key, options, &message.body, properties).await;
    match written {
        Ok(confirm) => (done, confirm.await),
        Err(error) => (done, Err(error)),
    }
}

/// Tells the outcome to whoever waits for it, and whether it was a success.
fn answer((done, outcome): Confirmed) -> bool {
    let answer = match outcome {
        Ok(Confirmation::Ack(None)) => Ok(()),
        Ok(Confirmation::Ack(Some(_))) => Err(PublishError::Refused("returned as unroutable".to_owned())),
        Ok(Confirmation::Nack(_)) => {
            Err(PublishError::Refused("a queue is full or has lost its majority".to_owned()))
        }
        Ok(Confirmation::NotRequested) => {
            Err(PublishError::Refused("the channel does not confirm".to_owned()))
        }
        Err(error) => Err(PublishError::Unavailable(error.to_string())),
    };
    let confirmed = answer.is_ok();
    // Nobody listens when the deadline passed.
    drop(done.send(answer));
    confirmed
}
