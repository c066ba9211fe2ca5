//! Ends the process when a queue that has messages stands still, because starting anew is what helps then. Before that
//! it is told on the health page.
//!
//! It counts looks and not time, so that a process that was frozen for a while is not taken for one that is stuck. (That it
//! looks at all, `shared::guard` sees to.)

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::{
    lifecycle::{Exit, Failure, Lifecycle},
    queue::{Check, Queue, QueueName},
};
use tokio::time::MissedTickBehavior;

/// After how many looks without a movement a queue is stuck.
const LOOKS: u32 = 8;

/// After how many it is told: a message may take half of the time, by the bounds of the timeouts, and a look more.
const LOOKS_UNTIL_TOLD: u32 = LOOKS / 2 + 2;

/// What a consumer tells of itself.
#[derive(Default)]
pub(crate) struct Pulse {
    /// How many deliveries were ended.
    ended: AtomicU64,
    /// How many are held.
    held: AtomicUsize,
    /// One more than the number of the oldest delivery that runs; 0 when none does.
    oldest: AtomicU64,
}

impl Pulse {
    /// Tells which delivery has been running for longest. They are numbered as they come.
    pub(crate) fn runs(&self, oldest: Option<u64>) {
        self.oldest.store(oldest.map_or(0, |number| number + 1), Ordering::Relaxed);
    }

    pub(crate) fn begin(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A consumer that is looked after.
pub(crate) struct Watched {
    pub(crate) queue: QueueName,
    pub(crate) pulse: Arc<Pulse>,
    /// Whether it waits for somebody else, such as a provider that is away.
    pub(crate) is_waiting: Box<dyn Fn() -> bool + Send + Sync>,
}

/// The queues that have messages and do not move, each with how long it has been seen so.
#[derive(Default)]
pub(crate) struct Stalls(Mutex<BTreeMap<String, Duration>>);

impl Stalls {
    fn note(&self, queue: &QueueName, still: u32, pause: Duration) {
        let mut stalls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if still < LOOKS_UNTIL_TOLD {
            stalls.remove(&queue.to_string());
        } else {
            stalls.insert(queue.to_string(), pause * (still - 1));
        }
    }

    /// What a health page tells of them.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let check = |(queue, time): (&String, &Duration)| Check {
            name: format!("queue {queue}"),
            ok: false,
            detail: format!("has messages and has not moved for {}", humantime::format_duration(*time)),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(check).collect()
    }
}

/// Starts to look after `consumers`, until a stop is asked for.
pub(crate) fn start(
    queue: &Arc<dyn Queue>,
    consumers: Vec<Watched>,
    stuck_after: Duration,
    stalls: Arc<Stalls>,
    lifecycle: &Lifecycle,
) {
    let (queue, lifecycle) = (Arc::clone(queue), lifecycle.clone());
    let stopping = lifecycle.clone();
    lifecycle.clone().spawn("watchdog", async move {
        tokio::select! {
            failure = watch(queue.as_ref(), consumers, stuck_after, &stalls) => lifecycle.fail(failure),
            () = stopping.stopping() => {}
        }
    });
}

/// Returns when a queue is stuck.
async fn watch(
    queue: &dyn Queue,
    consumers: Vec<Watched>,
    stuck_after: Duration,
    stalls: &Stalls,
) -> Failure {
    let pause = stuck_after / LOOKS;
    let mut looks = tokio::time::interval(pause);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen: Vec<_> = consumers.into_iter().map(|watched| (watched, (0, 0), 0)).collect();
    loop {
        looks.tick().await;
        for (watched, before, still) in &mut seen {
            let pulse = &watched.pulse;
            let now = (pulse.ended.load(Ordering::Relaxed), pulse.oldest.load(Ordering::Relaxed));
            // One that never ends holds up its connection, however many others go by.
            let is_running_still = now.1 != 0 && now.1 == before.1;
            let moves = now.0 != before.0 && !is_running_still
                || (watched.is_waiting)()
                || !has_work(queue, watched, pause).await
                // Without a queue nothing can move, and another process would find it no different.
                || !queue.checks().iter().all(|check| check.ok);
            *still = if moves { 0 } else { *still + 1 };
            stalls.note(&watched.queue, *still, pause);
            if *still >= LOOKS {
                return stuck(&watched.queue, now.0 != before.0, stuck_after);
            }
            *before = now;
        }
    }
}

/// Whether the consumer holds a message, or ought to be given one. Asked of the queue no longer than until the next look.
async fn has_work(queue: &dyn Queue, watched: &Watched, patience: Duration) -> bool {
    let waiting = async {
        let waiting = tokio::time::timeout(patience, queue.has_waiting(&watched.queue)).await;
        waiting.is_ok_and(|waiting| waiting == Some(true))
    };
    watched.pulse.held.load(Ordering::Relaxed) > 0 || waiting.await
}

fn stuck(queue: &QueueName, others_go_by: bool, stuck_after: Duration) -> Failure {
    let limit = humantime::format_duration(stuck_after);
    let what = if others_go_by { "one of them was not settled" } else { "nothing of it was settled" };
    let told = format!(
        "the queue `{queue}` has messages and {what} for {limit} (dispatcher.stuck_after); \
         ending, to be started anew"
    );
    Failure::new(Exit::Task, told)
}

#[cfg(test)]
mod tests;
