//! Who gets what: credit, probation, and the claims of one transaction.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rusqlite::Result;
use tokio::sync::mpsc;

use super::store::{Batch, Claimed};
use crate::queue::{Delivery, Message, Prefetch, QueueName, Receipt, Settle, header};

/// How often a message may be handed out without being settled: it may be what kills the process.
const MAX_DELIVERIES: u32 = 20;

/// How many messages one consumer is handed in one transaction at most.
const MAX_CLAIMS: usize = 256;

/// One consumer of one queue.
pub(super) struct Consumer {
    queue: Arc<str>,
    /// Nothing when no more is handed out. Has room for the largest prefetch, so sending never waits.
    sender: Option<mpsc::Sender<Delivery>>,
    prefetch: Prefetch,
    unsettled: usize,
    /// One at a time, until a message is settled that was not handed out before: one that kills the process dies
    /// alone then, and the crashes do not count against its neighbours.
    probation: bool,
    /// Nothing of the queue is due earlier.
    next_due: i64,
}

impl Consumer {
    /// A consumer whose `sender` has room for as many deliveries as `prefetch` ever allows.
    pub(super) fn new(queue: Arc<str>, prefetch: Prefetch, sender: mpsc::Sender<Delivery>) -> Self {
        Self { queue, sender: Some(sender), prefetch, unsettled: 0, probation: false, next_due: 0 }
    }

    fn credit(&self) -> usize {
        let limit = if self.probation { 1 } else { usize::from(self.prefetch.now()) };
        let free = if self.sender.is_some() { limit.saturating_sub(self.unsettled) } else { 0 };
        free.min(MAX_CLAIMS)
    }

    /// Claims what is due, as far as there is credit.
    fn claim(
        &mut self,
        batch: &Batch<'_>,
        now: i64,
        claims: &mut Vec<(usize, Claimed)>,
        index: usize,
    ) -> Result<bool> {
        let credit = self.credit();
        if credit == 0 || self.next_due > now {
            return Ok(false);
        }
        let due = batch.due(&self.queue, now, credit)?;
        let exhausted = due.len() < credit;
        let mut buried = false;
        for (claimed, deliveries) in due {
            if deliveries < MAX_DELIVERIES {
                batch.claim(claimed.tag)?;
                claims.push((index, claimed));
            } else {
                bury(batch, claimed, now)?;
                buried = true;
            }
        }
        if exhausted {
            self.next_due = batch.next_due(&self.queue)?.unwrap_or(i64::MAX);
        }
        Ok(buried)
    }
}

/// Moves a message that was handed out too often to the dead letters.
fn bury(batch: &Batch<'_>, claimed: Claimed, now: i64) -> Result<()> {
    let Message { id, mut headers, .. } = claimed.message;
    tracing::error!(message_id = %id, "a message was handed out {MAX_DELIVERIES} times and never settled: dead letter");
    let reason = format!("the process died {MAX_DELIVERIES} times while the message was being handled");
    headers.insert(header::CLASS.to_owned(), "crashed".to_owned());
    headers.insert(header::REASON.to_owned(), reason);
    batch.bury(claimed.tag, &QueueName::Dead.to_string(), &headers, now)
}

/// All consumers, and what each holds.
pub(super) struct Consumers {
    all: Vec<Consumer>,
    holders: HashMap<u64, Holder>,
    /// Queues whose consumers begin on probation.
    suspects: HashSet<String>,
}

/// Who holds a message.
struct Holder {
    consumer: usize,
    redelivered: bool,
}

impl Consumers {
    /// None yet.
    pub(super) fn new(suspects: HashSet<String>) -> Self {
        Self { all: Vec::new(), holders: HashMap::new(), suspects }
    }

    /// Adds a consumer.
    pub(super) fn attach(&mut self, mut consumer: Consumer) {
        consumer.probation = self.suspects.contains(&*consumer.queue);
        self.all.push(consumer);
    }

    /// Notes that a message will be settled in the next transaction that succeeds, whatever else is in it.
    pub(super) fn settled(&mut self, tag: u64) {
        let Some(holder) = self.holders.remove(&tag) else {
            return;
        };
        if let Some(consumer) = self.all.get_mut(holder.consumer) {
            consumer.unsettled = consumer.unsettled.saturating_sub(1);
            consumer.probation &= holder.redelivered;
        }
    }

    /// Notes that a queue has a message that is due then.
    pub(super) fn notice(&mut self, queue: &str, due_at: i64) {
        for consumer in self.all.iter_mut().filter(|consumer| &*consumer.queue == queue) {
            consumer.next_due = consumer.next_due.min(due_at);
        }
    }

    /// Forgets what was noted about due times: the transaction it was read in failed.
    pub(super) fn forget_due(&mut self) {
        for consumer in &mut self.all {
            consumer.next_due = 0;
        }
    }

    /// When the next message can be claimed.
    pub(super) fn next_due(&self) -> Option<i64> {
        let able = self.all.iter().filter(|consumer| consumer.credit() > 0);
        able.map(|consumer| consumer.next_due).min().filter(|due| *due < i64::MAX)
    }

    /// Claims for every consumer.
    pub(super) fn claim(&mut self, batch: &Batch<'_>, now: i64) -> Result<Vec<(usize, Claimed)>> {
        let mut claims = Vec::new();
        let mut buried = false;
        for (index, consumer) in self.all.iter_mut().enumerate() {
            buried |= consumer.claim(batch, now, &mut claims, index)?;
        }
        if buried {
            self.notice(&QueueName::Dead.to_string(), now);
        }
        Ok(claims)
    }

    /// Hands out what was claimed, and returns what nobody took.
    pub(super) fn hand_out(&mut self, claims: Vec<(usize, Claimed)>, session: &Arc<dyn Settle>) -> Vec<u64> {
        let mut left = Vec::new();
        for (index, Claimed { tag, redelivered, message }) in claims {
            let Some(consumer) = self.all.get_mut(index) else {
                continue;
            };
            let receipt = Receipt::new(Arc::clone(session), tag);
            let delivery = Delivery { message, redelivered, receipt };
            if consumer.sender.as_ref().is_some_and(|sender| sender.try_send(delivery).is_ok()) {
                consumer.unsettled += 1;
                self.holders.insert(tag, Holder { consumer: index, redelivered });
            } else {
                // The deliveries were dropped: this consumer is gone.
                consumer.sender = None;
                left.push(tag);
            }
        }
        left
    }

    /// Ends all deliveries.
    pub(super) fn stop(&mut self) {
        for consumer in &mut self.all {
            consumer.sender = None;
        }
    }
}
