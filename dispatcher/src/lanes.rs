//! Runs deliveries: many at a time, those of one connection one after the other and in order. The only place that
//! settles.
//!
//! A delivery stands in the lane of each connection that it concerns, and runs when it is the first in all of them. Lanes
//! outlive the session with the broker, so a message that is delivered again waits for its own first run.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::RandomState,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use metrics::Gauge;
use shared::{
    clock,
    envelope::{self, Carried, DecodeError},
    lifecycle::Lifecycle,
    metric,
    queue::{Deliveries, Delivery, Disposition, Headers, Message, QueueName, Receipt, RetryPolicy, header},
    trace,
};
use tokio::{sync::oneshot, task::JoinSet, time::Instant};
use tracing::{Instrument, Span};

use crate::watchdog::Pulse;

/// How long a delivery is kept unsettled: then it is published again, behind the others, and acknowledged. RabbitMQ takes
/// away what is unsettled for 30 minutes, and with it everything else of the channel.
const LONGEST_HOLD: Duration = Duration::from_secs(10 * 60);

/// What tells one connection from another: its name, hashed. Two that hash alike wait for each other, which harms neither,
/// since a message enters all its lanes at once, in the order of arrival.
pub(crate) type Lane = u64;

/// What is done with the messages of a queue.
pub(crate) trait Work: Send + Sync + 'static {
    /// What the queue carries.
    type Payload: Carried + Send + Sync;

    /// The queue that it consumes.
    fn queue(&self) -> QueueName;

    /// The lanes of a message.
    fn lanes(&self, payload: &Self::Payload, hasher: &RandomState) -> Vec<Lane>;

    /// True while it waits for somebody else, and a queue that does not move means nothing.
    fn is_waiting(&self) -> bool {
        false
    }

    /// Does the work, and says what becomes of the message. What only waits ends when the `hold` is over.
    fn run<'a>(
        &'a self,
        message: &'a Message,
        payload: Self::Payload,
        hold: Hold<'a>,
    ) -> BoxFuture<'a, Disposition>;
}

/// How long a delivery is this process's.
#[derive(Clone, Copy)]
pub(crate) struct Hold<'a> {
    receipt: &'a Receipt,
    give_back: Instant,
}

impl<'a> Hold<'a> {
    pub(crate) fn new(receipt: &'a Receipt, give_back: Instant) -> Self {
        Self { receipt, give_back }
    }

    /// Whether the broker gives the message to somebody else.
    pub(crate) fn is_lost(&self) -> bool {
        self.receipt.is_lost()
    }

    /// Whether the message is not this process's any more, or shall be given back.
    pub(crate) fn is_over(&self) -> bool {
        self.is_lost() || self.give_back <= Instant::now()
    }

    /// Waits until that is so.
    pub(crate) async fn lost(&self) {
        self.receipt.lost().await;
    }

    /// Waits until that is so.
    pub(crate) async fn over(&self) {
        tokio::select! {
            () = self.receipt.lost() => {}
            () = tokio::time::sleep_until(self.give_back) => {}
        }
    }
}

/// How many deliveries are taken from the queue at a time: those that run, and as many to go on with.
pub(crate) fn prefetch(concurrency: u16) -> u16 {
    concurrency.saturating_mul(2)
}

/// Starts to work; the future ends when a stop was asked for and everything begun is settled. The pulse tells that it moves.
pub(crate) fn start<W: Work>(
    work: Arc<W>,
    deliveries: Deliveries,
    concurrency: u16,
    policy: RetryPolicy,
    lifecycle: &Lifecycle,
) -> (impl Future<Output = ()> + use<W>, Arc<Pulse>) {
    let (done, drained) = oneshot::channel();
    let stopping = lifecycle.clone();
    let mut lanes = Lanes::new(work, policy, concurrency.into());
    let pulse = Arc::clone(&lanes.pulse);
    lifecycle.spawn("consumer", async move {
        lanes.run(deliveries, &stopping).await;
        // Nobody waits for it when the service is gone already.
        done.send(()).ok();
    });
    (drained.map(drop), pulse)
}

/// A delivery's number, in the order of arrival.
type Ticket = u64;

struct Lanes<W: Work> {
    work: Arc<W>,
    policy: Arc<RetryPolicy>,
    concurrency: usize,
    next: Ticket,
    hasher: RandomState,
    /// The deliveries of each connection, first come first.
    order: HashMap<Lane, VecDeque<Ticket>>,
    /// The deliveries that are not done.
    waiting: HashMap<Ticket, Waiting<W>>,
    /// The deliveries that may run.
    ready: VecDeque<Ticket>,
    running: JoinSet<Ticket>,
    /// Those that run.
    begun: BTreeSet<Ticket>,
    pulse: Arc<Pulse>,
    in_flight: Gauge,
}

struct Waiting<W: Work> {
    lanes: Vec<Lane>,
    /// In how many lanes it is not the first.
    behind: usize,
    /// Taken when it runs.
    delivered: Option<Delivered<W>>,
}

struct Delivered<W: Work> {
    message: Message,
    receipt: Receipt,
    give_back: Instant,
    payload: Result<W::Payload, DecodeError>,
}

impl<W: Work> Lanes<W> {
    fn new(work: Arc<W>, policy: RetryPolicy, concurrency: usize) -> Self {
        let queue = work.queue().to_string();
        Self {
            work,
            policy: Arc::new(policy),
            concurrency,
            next: 0,
            hasher: RandomState::new(),
            order: HashMap::new(),
            waiting: HashMap::new(),
            ready: VecDeque::new(),
            running: JoinSet::new(),
            begun: BTreeSet::new(),
            pulse: Arc::default(),
            in_flight: metrics::gauge!(metric::IN_FLIGHT, "queue" => queue),
        }
    }

    async fn run(&mut self, mut deliveries: Deliveries, lifecycle: &Lifecycle) {
        loop {
            while self.running.len() < self.concurrency
                && let Some(ticket) = self.ready.pop_front()
            {
                self.begin(ticket);
            }
            tokio::select! {
                biased;
                () = lifecycle.stopping() => break,
                // The task catches the panics of the work, and nothing else in it can fail.
                Some(Ok(done)) = self.running.join_next() => self.end(done),
                delivery = deliveries.next() => match delivery {
                    Some(delivery) => self.admit(delivery),
                    None => break,
                },
            }
        }
        // What was only prefetched is left to the next process; what was begun is finished and settled.
        while let Some(delivery) = deliveries.next().await {
            self.admit(delivery);
        }
        for (ticket, waiting) in std::mem::take(&mut self.waiting) {
            let Some(Delivered { message, receipt, .. }) = waiting.delivered else { continue };
            let policy = Arc::clone(&self.policy);
            self.running.spawn(async move {
                receipt.settle(message, Disposition::Leave, &policy).await;
                ticket
            });
        }
        while self.running.join_next().await.is_some() {}
    }

    fn admit(&mut self, delivery: Delivery) {
        self.pulse.begin();
        self.in_flight.increment(1);
        let Delivery { message, receipt, .. } = delivery;
        let payload = envelope::decode::<W::Payload>(&message.body);
        let ticket = self.next;
        self.next += 1;
        // What nobody can read concerns no connection.
        let lanes = payload.as_ref().map(|payload| self.work.lanes(payload, &self.hasher));
        let mut lanes = lanes.unwrap_or_default();
        let mut behind = 0;
        lanes.retain(|lane| {
            let lane = self.order.entry(*lane).or_default();
            // Named twice: it would wait for itself.
            if lane.back() == Some(&ticket) {
                return false;
            }
            behind += usize::from(!lane.is_empty());
            lane.push_back(ticket);
            true
        });
        let give_back = give_back(&message);
        let delivered = Some(Delivered { message, receipt, give_back, payload });
        self.waiting.insert(ticket, Waiting { lanes, behind, delivered });
        if behind == 0 {
            self.ready.push_back(ticket);
        }
    }

    fn begin(&mut self, ticket: Ticket) {
        let waiting = self.waiting.get_mut(&ticket);
        let Some(delivered) = waiting.and_then(|waiting| waiting.delivered.take()) else { return };
        if delivered.receipt.is_lost() {
            // Its connection to the broker is gone, and it will be delivered again: that one runs.
            return self.end(ticket);
        }
        self.begun.insert(ticket);
        self.pulse.runs(self.begun.first().copied());
        let (work, policy) = (Arc::clone(&self.work), Arc::clone(&self.policy));
        let span = delivered.span();
        let work = async move {
            delivered.settle(work.as_ref(), &policy).await;
            ticket
        };
        self.running.spawn(work.instrument(span));
    }

    fn end(&mut self, ticket: Ticket) {
        let Some(done) = self.waiting.remove(&ticket) else { return };
        self.begun.remove(&ticket);
        self.pulse.runs(self.begun.first().copied());
        self.pulse.end();
        self.in_flight.decrement(1);
        for lane in done.lanes {
            let Some(queue) = self.order.get_mut(&lane) else {
                continue;
            };
            queue.pop_front();
            let Some(next) = queue.front().copied() else {
                self.order.remove(&lane);
                continue;
            };
            if let Some(waiting) = self.waiting.get_mut(&next) {
                waiting.behind -= 1;
                if waiting.behind == 0 {
                    self.ready.push_back(next);
                }
            }
        }
    }
}

impl<W: Work> Delivered<W> {
    /// What all log lines of this delivery have in common.
    fn span(&self) -> Span {
        let Message { id, headers, .. } = &self.message;
        let trace_id = || headers.get(header::TRACEPARENT).and_then(|parent| trace::trace_id(parent));
        tracing::error_span!("delivery", trace_id = trace_id(), message_id = %id)
    }

    /// Does the work and settles.
    async fn settle(self, work: &W, policy: &RetryPolicy) {
        let Self { message, receipt, give_back, payload } = self;
        let disposition = match payload {
            Err(error) => poison(&message, "undecodable", error.to_string()),
            Ok(payload) if policy.is_expired(&message, payload.accepted_at(), clock::now()) => {
                Disposition::Expire
            }
            Ok(_) if give_back <= Instant::now() => Disposition::Continue { headers: Headers::new() },
            Ok(payload) => {
                let hold = Hold::new(&receipt, give_back);
                let ended = AssertUnwindSafe(work.run(&message, payload, hold)).catch_unwind().await;
                ended.unwrap_or_else(|_| {
                    let reason = "the code that handles it panicked; the log has the place";
                    poison(&message, "panicked", reason.to_owned())
                })
            }
        };
        receipt.settle(message, disposition, policy).await;
    }
}

/// Until when a message that is delivered now is kept: one with a time after which it is not to be sent goes back at that
/// time, and expires at its next delivery.
fn give_back(message: &Message) -> Instant {
    let left = message.expires_at().map_or(LONGEST_HOLD, |expires_at| expires_at.since(clock::now()));
    Instant::now() + left.min(LONGEST_HOLD)
}

/// What cannot be read or handled is dead-lettered alone.
fn poison(message: &Message, class: &'static str, reason: String) -> Disposition {
    tracing::error!(message_id = %message.id, class, %reason, "cannot be handled");
    Disposition::DeadLetter { class, reason, headers: Headers::new() }
}

#[cfg(test)]
pub(crate) mod tests;
