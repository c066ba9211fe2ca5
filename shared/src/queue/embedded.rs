//! The queue in a file of the process itself, for one process. The only door to SQLite.
//!
//! One thread owns the database ([`writer`]); the rest of the process talks to it through channels. It commits what
//! waits in one transaction, so that the cost of reaching the disk is shared, and answers after the commit.

mod consumers;

mod file;

mod letters;

mod operation;

mod store;

mod timeline;

mod writer;

use std::{path::Path, sync::Arc, sync::mpsc as thread_mpsc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::letters::visit;
use self::{
    consumers::Consumer,
    operation::{Operation, Publication, Row, Settlement},
    store::{Found, Store},
    writer::Writer,
};
use super::{
    Check, Deliveries, Destination, Message, Prefetch, Publish, PublishError, Queue, QueueName, Settle,
    routes::Routes,
};
use crate::{
    config,
    lifecycle::{Exit, Failure, Lifecycle},
    message::BackendName,
};

/// How many publishes wait for the thread at most; the others wait for room. Bounds the memory.
const ROOM: usize = 1024;

/// How many messages of one queue are counted at most, which takes about 20 ms.
const MOST_COUNTED: u32 = 100_000;

/// A queue in a file.
pub struct Embedded {
    /// The file as it was written in the configuration, for people.
    name: String,
    publish_wait: Duration,
    room: Arc<Semaphore>,
    session: Arc<Session>,
    /// Why the last commit failed; nothing while all is well.
    fault: watch::Receiver<Option<String>>,
    /// Cancelled when the thread has ended and let go of the file.
    ended: CancellationToken,
}

/// The way to the thread, for all that settles and publishes.
struct Session {
    routes: Routes,
    operations: thread_mpsc::Sender<Operation>,
}

impl Embedded {
    /// Opens or creates the queue file, and starts the thread that owns it. To be called within the runtime.
    pub fn open(
        file: &Path,
        settings: &config::Queue,
        backends: &[BackendName],
        lifecycle: &Lifecycle,
    ) -> Result<Self, Failure> {
        let opened = Store::open(file).map_err(|problem| {
            Failure::new(Exit::Unavailable, format!("the queue file {} {problem}", file.display()))
        })?;
        Self::start(opened, file, settings, backends, lifecycle)
    }

    fn start(
        opened: (Store, Found),
        file: &Path,
        settings: &config::Queue,
        backends: &[BackendName],
        lifecycle: &Lifecycle,
    ) -> Result<Self, Failure> {
        let routes = Routes::new(backends);
        warn_of_left_over(&opened.1.waiting, &routes);
        let (operations, inbox) = thread_mpsc::channel();
        let session = Arc::new(Session { routes, operations: operations.clone() });
        let (fault_sender, fault) = watch::channel(None);
        let settle: Arc<dyn Settle> = Arc::<Session>::clone(&session);
        let writer = Writer::new(opened, inbox, settle, fault_sender, lifecycle.clone());
        let ended = CancellationToken::new();
        writer::spawn(writer, lifecycle.clone(), ended.clone()).map_err(|error| {
            Failure::new(Exit::Unavailable, format!("the queue's thread cannot start: {error}"))
        })?;
        wake_on_stop(lifecycle, operations, ended.clone());
        Ok(Self {
            name: format!("embedded:{}", file.display()),
            publish_wait: settings.publish_wait(),
            room: Arc::new(Semaphore::new(ROOM)),
            session,
            fault,
            ended,
        })
    }

    /// Counts the messages of a queue that are due; the thread does nothing else meanwhile.
    fn count(&self, queue: &QueueName, most: u32) -> impl Future<Output = Option<u64>> + use<> {
        let (answer, answered) = oneshot::channel();
        let asked = self.session.operations.send(Operation::Look { queue: queue.to_string(), most, answer });
        async move {
            asked.ok()?;
            answered.await.ok()
        }
    }

    async fn enqueue(&self, message: Message) -> Result<(), PublishError> {
        let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
            return Err(closed());
        };
        let queue = self.session.routes.queue(&message.route);
        let (answer, answered) = oneshot::channel();
        let publication = Publication { row: Row::new(message, queue), answer, _permit: permit };
        self.session.operations.send(Operation::Publish(publication)).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }
}

fn closed() -> PublishError {
    PublishError::Unavailable("the embedded queue is closed".to_owned())
}

/// The thread sleeps until there is work, so a stop has to wake it.
fn wake_on_stop(lifecycle: &Lifecycle, operations: thread_mpsc::Sender<Operation>, ended: CancellationToken) {
    let watched = lifecycle.clone();
    lifecycle.spawn_work(async move {
        tokio::select! {
            () = watched.stopping() => drop(operations.send(Operation::Stop)),
            () = ended.cancelled() => {}
        }
    });
}

/// Messages for a backend that is no longer configured stay where they are: the operator decides.
fn warn_of_left_over(waiting: &[(String, i64)], routes: &Routes) {
    let left: Vec<String> = waiting
        .iter()
        .filter(|(queue, _)| queue.starts_with("outgoing.") && !routes.has(queue))
        .map(|(queue, count)| format!("{queue}: {count}"))
        .collect();
    if !left.is_empty() {
        tracing::warn!(queues = left.join(", "), "messages wait for backends that are not configured");
    }
}

impl Publish for Embedded {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        let wait = self.publish_wait;
        async move {
            let confirmed = tokio::time::timeout(wait, self.enqueue(message)).await;
            confirmed.unwrap_or(Err(PublishError::Timeout(wait)))
        }
        .boxed()
    }

    fn publish_patiently(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.enqueue(message).boxed()
    }
}

impl Queue for Embedded {
    fn consume(&self, queues: Vec<(QueueName, Prefetch)>) -> Vec<Deliveries> {
        let attach = |(queue, prefetch): (QueueName, Prefetch)| {
            let (sender, deliveries) = Deliveries::channel(prefetch.most().into());
            let consumer = Consumer::new(queue.to_string().into(), prefetch, sender);
            // When the thread has ended, the sender ends with the operation, and so do the deliveries.
            drop(self.session.operations.send(Operation::Consume(consumer)));
            deliveries
        };
        queues.into_iter().map(attach).collect()
    }

    fn depth(&self, queue: &QueueName) -> BoxFuture<'_, Option<u64>> {
        self.count(queue, MOST_COUNTED).boxed()
    }

    fn has_waiting(&self, queue: &QueueName) -> BoxFuture<'_, Option<bool>> {
        let count = self.count(queue, 1);
        async move { Some(count.await? > 0) }.boxed()
    }

    fn checks(&self) -> Vec<Check> {
        let fault = match &*self.fault.borrow() {
            _ if self.ended.is_cancelled() => Some("closed".to_owned()),
            fault => fault.clone(),
        };
        let detail =
            fault.as_ref().map_or_else(|| self.name.clone(), |fault| format!("{}: {fault}", self.name));
        vec![Check { name: "queue".to_owned(), ok: fault.is_none(), detail }]
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            // An error means that the thread has ended already.
            drop(self.session.operations.send(Operation::Close));
            self.ended.cancelled().await;
        }
        .boxed()
    }
}

impl Drop for Embedded {
    /// Asks the thread to end, as `close` does, but does not wait for it.
    fn drop(&mut self) {
        drop(self.session.operations.send(Operation::Close));
    }
}

impl Settle for Session {
    fn is_lost(&self) -> bool {
        false
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }

    fn done(&self, tag: u64) {
        // An error means that the queue was closed: the message is redelivered after the next start.
        drop(self.operations.send(Operation::Settle(Settlement::Done(tag))));
    }

    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()> {
        let (queue, delay) = match destination {
            Destination::Back => (self.routes.queue(&message.route), Duration::ZERO),
            Destination::Retry(delay) => (self.routes.queue(&message.route), delay),
            Destination::Dead => (self.routes.dead(), Duration::ZERO),
        };
        let (answer, answered) = oneshot::channel();
        let row = Box::new(Row::new(message, queue));
        let sent = self.operations.send(Operation::Settle(Settlement::Move { tag, row, delay, answer }));
        async move {
            if sent.is_ok() {
                // An error means that the queue was closed before: the message is redelivered.
                drop(answered.await);
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
