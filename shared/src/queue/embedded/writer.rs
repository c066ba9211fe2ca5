//! The thread that owns the file: takes what waits, commits it in one transaction, answers, hands out, sleeps.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rusqlite::Result;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    consumers::Consumers,
    operation::{Operation, Publication, Settlement},
    store::{Batch, Claimed, Found, Store},
    timeline::{Timeline, millis},
};
use crate::{
    lifecycle::{Exit, Failure, Lifecycle},
    queue::{PublishError, Settle},
};

/// How many operations are committed in one transaction at most.
const MAX_BATCH: usize = 512;

/// How long the thread waits after a failed commit, unless there is something new to do.
const BACK_OFF: Duration = Duration::from_millis(250);

/// How often the thread looks whether an operator's tool has put messages back into their queues.
const LOOK: Duration = Duration::from_secs(1);

/// What the thread works on.
pub(super) struct Writer {
    store: Store,
    inbox: Receiver<Operation>,
    consumers: Consumers,
    /// Settlements that are not committed yet. Part of every transaction, so that none is lost when one fails.
    pending: Vec<Settlement>,
    timeline: Timeline,
    session: Arc<dyn Settle>,
    fault: watch::Sender<Option<String>>,
    /// When the file was last found unable to take a message; nothing while all is well.
    failed_at: Option<Instant>,
    lifecycle: Lifecycle,
    closing: bool,
    /// When the thread last looked whether another program had written to the file, and what it saw.
    looked: (Instant, Option<i64>),
}

/// Starts the thread. `ended` is cancelled when it has let go of the file.
pub(super) fn spawn(writer: Writer, lifecycle: Lifecycle, ended: CancellationToken) -> std::io::Result<()> {
    let work = move || {
        let _ended = ended.drop_guard();
        if catch_unwind(AssertUnwindSafe(|| writer.run())).is_err() {
            let told = "the embedded queue's thread panicked; this is a bug";
            lifecycle.fail(Failure::new(Exit::Task, told));
        }
    };
    std::thread::Builder::new().name("embedded-queue".to_owned()).spawn(work).map(drop)
}

impl Writer {
    /// A writer that has not begun.
    pub(super) fn new(
        (store, found): (Store, Found),
        inbox: Receiver<Operation>,
        session: Arc<dyn Settle>,
        fault: watch::Sender<Option<String>>,
        lifecycle: Lifecycle,
    ) -> Self {
        Self {
            store,
            inbox,
            consumers: Consumers::new(found.suspects),
            pending: Vec::new(),
            timeline: Timeline::beginning_after(found.seen),
            session,
            fault,
            failed_at: None,
            lifecycle,
            closing: false,
            looked: (Instant::now(), None),
        }
    }

    fn run(mut self) {
        while !self.closing {
            let publications = self.collect();
            self.look();
            self.commit(publications);
        }
        self.finish();
    }

    /// Waits for something to do, and takes what waits.
    fn collect(&mut self) -> Vec<Publication> {
        let mut publications = Vec::new();
        let mut next = match self.inbox.recv_timeout(self.pause()) {
            Ok(operation) => Some(operation),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Operation::Close),
        };
        let mut taken = 0;
        while let Some(operation) = next {
            match operation {
                // Who asked may have given up meanwhile, and been told so: better not to have it twice.
                Operation::Publish(publication) if publication.answer.is_closed() => {}
                Operation::Publish(publication) => publications.push(publication),
                Operation::Settle(settlement) => self.settle(settlement),
                Operation::Consume(consumer) => self.consumers.attach(consumer),
                Operation::Look { queue, most, answer } => {
                    // When it cannot be told, the question is dropped with its answer.
                    if let Ok(count) = self.store.count_due(&queue, self.timeline.now(), most) {
                        answer.send(count).ok();
                    }
                }
                Operation::Stop => {}
                Operation::Close => self.closing = true,
                #[cfg(test)]
                Operation::Panic => panic!("on purpose"),
            }
            taken += 1;
            next = if taken < MAX_BATCH && !self.closing { self.inbox.try_recv().ok() } else { None };
        }
        publications
    }

    /// How long there is nothing to do, unless somebody asks.
    fn pause(&self) -> Duration {
        if self.failed_at.is_some() {
            return BACK_OFF;
        }
        if !self.pending.is_empty() {
            return Duration::ZERO;
        }
        self.consumers.next_due().map_or(LOOK, |due| self.timeline.until(due).min(LOOK))
    }

    /// Looks now and then whether another program has written: then any queue may have something that is due.
    fn look(&mut self) {
        let (at, seen) = self.looked;
        if seen.is_some() && at.elapsed() < LOOK {
            return;
        }
        // What cannot be read is told by the next commit.
        let found = self.store.data_version().ok();
        if found != seen {
            self.consumers.forget_due();
        }
        self.looked = (Instant::now(), found);
    }

    fn settle(&mut self, settlement: Settlement) {
        self.consumers.settled(settlement.tag());
        self.pending.push(settlement);
    }

    /// Writes all there is to write, answers, and hands out what was claimed.
    fn commit(&mut self, publications: Vec<Publication>) {
        // Nobody may publish to a queue that is said to be unwell, so it has to try for itself.
        let probe = publications.is_empty() && self.failed_at.is_some_and(|at| at.elapsed() >= BACK_OFF);
        match self.transact(&publications, probe) {
            Ok(claims) => {
                if probe || !publications.is_empty() {
                    self.note_health(None);
                }
                for publication in publications {
                    answer(publication, Ok(()));
                }
                self.committed(claims);
            }
            Err(error) => {
                let more_than_settling = probe || !publications.is_empty();
                let reason = error.to_string();
                self.note_health(Some(&reason));
                for publication in publications {
                    answer(publication, Err(PublishError::Refused(reason.clone())));
                }
                // A full file still lets messages go; without a second transaction it would stay full.
                let retried = more_than_settling.then(|| self.transact(&[], false));
                if let Some(Ok(claims)) = retried {
                    self.committed(claims);
                }
            }
        }
    }

    /// One transaction with every pending settlement, the publications, and the claims they make possible.
    fn transact(&mut self, publications: &[Publication], probe: bool) -> Result<Vec<(usize, Claimed)>> {
        if self.lifecycle.is_stopping() {
            self.consumers.stop();
        }
        let now = self.timeline.now();
        let Self { store, consumers, pending, .. } = self;
        let claimable = consumers.next_due().is_some_and(|due| due <= now);
        if pending.is_empty() && publications.is_empty() && !probe && !claimable {
            return Ok(Vec::new());
        }
        let written = store.write(|batch| {
            apply(pending, batch, consumers, now)?;
            for Publication { row, .. } in publications {
                batch.insert(row, now)?;
                consumers.notice(&row.queue, now);
            }
            if probe {
                batch.probe()?;
            }
            consumers.claim(batch, now)
        });
        if written.is_err() {
            self.consumers.forget_due();
        }
        written
    }

    /// What follows a commit.
    fn committed(&mut self, claims: Vec<(usize, Claimed)>) {
        for settlement in self.pending.drain(..) {
            if let Settlement::Move { answer, .. } = settlement {
                // Whoever settles need not wait for it.
                answer.send(()).ok();
            }
        }
        if self.lifecycle.is_stopping() {
            self.consumers.stop();
        }
        let left = self.consumers.hand_out(claims, &self.session);
        self.pending.extend(left.into_iter().map(Settlement::GiveBack));
    }

    /// Keeps what health pages tell, and logs the changes.
    fn note_health(&mut self, fault: Option<&str>) {
        match (fault, self.failed_at) {
            (Some(fault), None) => tracing::error!(error = fault, "the queue file cannot be written"),
            (None, Some(_)) => tracing::info!("the queue file can be written again"),
            (Some(_), Some(_)) => {}
            (None, None) => return,
        }
        self.failed_at = fault.map(|_| Instant::now());
        self.fault.send_replace(fault.map(str::to_owned));
    }

    /// Writes what is left, puts back what was not settled, and closes the file.
    fn finish(mut self) {
        self.consumers.stop();
        let now = self.timeline.now();
        let Self { store, consumers, pending, .. } = &mut self;
        let written = store.write(|batch| {
            apply(pending, batch, consumers, now)?;
            batch.give_all_back()
        });
        match written {
            Ok(()) => self.committed(Vec::new()),
            Err(error) => {
                let told = format!(
                    "the queue file could not be written at the end: {error}; {} messages that were done with are delivered \
                     again after the next start",
                    self.pending.len()
                );
                self.lifecycle.fail(Failure::new(Exit::Drain, told));
            }
        }
        if let Err(error) = self.store.checkpoint() {
            tracing::debug!(%error, "the write-ahead log stays until the next start");
        }
    }
}

fn apply(pending: &[Settlement], batch: &mut Batch<'_>, consumers: &mut Consumers, now: i64) -> Result<()> {
    for settlement in pending {
        match settlement {
            Settlement::Done(tag) => batch.remove(*tag)?,
            Settlement::Move { tag, row, delay, .. } => {
                let delay = millis(*delay);
                // `now` is cut to milliseconds, and a retry must not be early.
                let due_at = if delay == 0 { now } else { now.saturating_add(delay).saturating_add(1) };
                batch.rewrite(*tag, row, due_at, delay)?;
                consumers.notice(&row.queue, due_at);
            }
            Settlement::GiveBack(tag) => {
                batch.give_back(*tag)?;
                // Another consumer of the queue may have found nothing meanwhile.
                consumers.forget_due();
            }
        }
    }
    Ok(())
}

fn answer(publication: Publication, answer: std::result::Result<(), PublishError>) {
    // Who asked may have given up.
    drop(publication.answer.send(answer));
}
