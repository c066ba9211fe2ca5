use std::sync::atomic::AtomicBool;

use futures_util::{FutureExt, future::BoxFuture};
use shared::queue::{Check, Deliveries, Message, Prefetch, Publish, PublishError};

use super::*;

const LIMIT: Duration = Duration::from_secs(120);

/// A queue of which the test says whether it is well and has messages.
struct Told {
    ok: AtomicBool,
    waiting: AtomicBool,
    /// Whether it answers no question.
    silent: AtomicBool,
}

impl Publish for Told {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.publish_patiently(message)
    }

    fn publish_patiently(&self, _message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        std::future::ready(Ok(())).boxed()
    }
}

impl Queue for Told {
    fn consume(&self, _queues: Vec<(QueueName, Prefetch)>) -> Vec<Deliveries> {
        Vec::new()
    }

    fn depth(&self, _queue: &QueueName) -> BoxFuture<'_, Option<u64>> {
        std::future::ready(None).boxed()
    }

    fn has_waiting(&self, _queue: &QueueName) -> BoxFuture<'_, Option<bool>> {
        if self.silent.load(Ordering::Relaxed) {
            return std::future::pending().boxed();
        }
        std::future::ready(Some(self.waiting.load(Ordering::Relaxed))).boxed()
    }

    fn checks(&self) -> Vec<Check> {
        let ok = self.ok.load(Ordering::Relaxed);
        vec![Check { name: "queue".to_owned(), ok, detail: String::new() }]
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

struct Bench {
    queue: Arc<Told>,
    pulse: Arc<Pulse>,
    waits: Arc<AtomicBool>,
    stalls: Arc<Stalls>,
    lifecycle: Lifecycle,
}

impl Bench {
    fn new() -> Self {
        let yes = || AtomicBool::new(true);
        let queue = Arc::new(Told { ok: yes(), waiting: yes(), silent: AtomicBool::new(false) });
        let (pulse, waits, lifecycle) =
            (Arc::<Pulse>::default(), Arc::<AtomicBool>::default(), Lifecycle::default());
        let excuse = Arc::clone(&waits);
        let is_waiting = Box::new(move || excuse.load(Ordering::Relaxed));
        let watched = Watched { queue: QueueName::Incoming, pulse: Arc::clone(&pulse), is_waiting };
        let stalls = Arc::<Stalls>::default();
        start(&(Arc::clone(&queue) as _), vec![watched], LIMIT, Arc::clone(&stalls), &lifecycle);
        Self { queue, pulse, waits, stalls, lifecycle }
    }

    /// Lets the time of the test pass, and tells whether the process would have ended.
    async fn fails_within(&self, time: Duration) -> bool {
        tokio::time::timeout(time, self.lifecycle.stopping()).await.is_ok()
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_has_messages_and_stands_still_ends_the_process() {
    let bench = Bench::new();
    assert!(!bench.fails_within(LIMIT / LOOKS * (LOOKS - 1)).await);
    assert!(bench.fails_within(LIMIT / LOOKS * 2).await);
    let failure = bench.lifecycle.failure().unwrap();
    assert_eq!(failure.exit, Exit::Task);
    assert!(
        failure.message.starts_with("the queue `incoming` has messages and nothing of it was settled for 2m")
    );
}

#[tokio::test(start_paused = true)]
async fn before_that_it_is_told_and_no_longer_when_it_moves() {
    let bench = Bench::new();
    // Between two looks, the first of which was at once.
    assert!(!bench.fails_within(LIMIT / LOOKS / 2 * (2 * LOOKS_UNTIL_TOLD - 3)).await);
    assert_eq!(bench.stalls.checks(), []);
    assert!(!bench.fails_within(LIMIT / LOOKS).await);
    let told = Check {
        name: "queue incoming".to_owned(),
        ok: false,
        detail: "has messages and has not moved for 1m 15s".to_owned(),
    };
    assert_eq!(bench.stalls.checks(), [told]);
    bench.pulse.begin();
    bench.pulse.end();
    assert!(!bench.fails_within(LIMIT / LOOKS).await);
    assert_eq!(bench.stalls.checks(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_held_and_not_ended_counts_as_messages() {
    let bench = Bench::new();
    bench.queue.waiting.store(false, Ordering::Relaxed);
    assert!(!bench.fails_within(LIMIT * 10).await, "an empty queue stands still for good");
    bench.pulse.begin();
    assert!(bench.fails_within(LIMIT * 2).await);
}

#[tokio::test(start_paused = true)]
async fn one_delivery_that_never_ends_is_noticed_however_many_others_go_by() {
    let bench = Bench::new();
    bench.pulse.begin();
    for number in 1..20 {
        bench.pulse.runs(Some(number));
        assert!(!bench.fails_within(LIMIT / 4).await, "each ends in its time");
        bench.pulse.begin();
        bench.pulse.end();
    }
    let mut pace = tokio::time::interval(LIMIT / 20);
    let others = async {
        loop {
            pace.tick().await;
            bench.pulse.begin();
            bench.pulse.end();
        }
    };
    tokio::select! {
        fails = bench.fails_within(LIMIT * 2) => {
            let told = bench.lifecycle.failure().unwrap().message;
            assert!(fails && told.contains("and one of them was not settled for 2m"), "{told}");
        }
        () = others => {}
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_stuck_while_something_moves_or_somebody_else_is_waited_for() {
    let bench = Bench::new();
    for _ in 0..10 {
        assert!(!bench.fails_within(LIMIT / 2).await);
        bench.pulse.begin();
        bench.pulse.end();
    }
    bench.waits.store(true, Ordering::Relaxed);
    assert!(!bench.fails_within(LIMIT * 10).await);
    bench.waits.store(false, Ordering::Relaxed);
    bench.queue.ok.store(false, Ordering::Relaxed);
    assert!(!bench.fails_within(LIMIT * 10).await);
    bench.queue.ok.store(true, Ordering::Relaxed);
    assert!(bench.fails_within(LIMIT * 2).await);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_answers_nothing_is_not_taken_for_one_that_has_messages() {
    let bench = Bench::new();
    bench.queue.silent.store(true, Ordering::Relaxed);
    assert!(!bench.fails_within(LIMIT * 3).await);
    bench.queue.silent.store(false, Ordering::Relaxed);
    assert!(bench.fails_within(LIMIT * 2).await);
}
