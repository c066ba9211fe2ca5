use std::{hash::BuildHasher, sync::Mutex};

use shared::{
    clock::UnixMillis,
    message::{Identity, MessageId, OutgoingMessage},
    queue::{Destination, Route, Settle, header},
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::*;

/// Notes how each delivery was settled.
#[derive(Default)]
pub(crate) struct Session {
    settled: Mutex<Vec<(u64, &'static str)>>,
    pub(crate) lost: CancellationToken,
}

impl Session {
    /// A delivery's receipt.
    pub(crate) fn receipt(self: &Arc<Self>) -> Receipt {
        Receipt::new(Arc::clone(self) as _, 1)
    }
}

impl Settle for Session {
    fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    fn lost(&self) -> BoxFuture<'_, ()> {
        self.lost.cancelled().boxed()
    }

    fn done(&self, tag: u64) {
        self.settled.lock().unwrap().push((tag, "done"));
    }

    fn transfer(&self, tag: u64, message: Message, destination: Destination) -> BoxFuture<'_, ()> {
        let class: &'static str = match (destination, message.headers.get("class").map(String::as_str)) {
            (Destination::Dead, Some("panicked")) => "panicked",
            (Destination::Dead, Some("undecodable")) => "undecodable",
            (Destination::Dead, Some("expired")) => "expired",
            (Destination::Back, None) => "back",
            other => panic!("{other:?}"),
        };
        self.settled.lock().unwrap().push((tag, class));
        std::future::ready(()).boxed()
    }
}

/// Work that begins at once, tells so, and ends when the test opens the gate.
struct Gated {
    begun: mpsc::UnboundedSender<String>,
    gate: Arc<Semaphore>,
}

impl Work for Gated {
    type Payload = OutgoingMessage;

    fn queue(&self) -> QueueName {
        QueueName::Incoming
    }

    fn lanes(&self, message: &OutgoingMessage, hasher: &RandomState) -> Vec<Lane> {
        message.identities.iter().map(|identity| hasher.hash_one(identity)).collect()
    }

    fn run<'a>(
        &'a self,
        _queued: &'a Message,
        message: OutgoingMessage,
        _hold: Hold<'a>,
    ) -> BoxFuture<'a, Disposition> {
        async move {
            self.begun.send(message.text.clone()).unwrap();
            self.gate.acquire().await.unwrap().forget();
            assert_ne!(message.text, "panic", "on purpose");
            Disposition::Done
        }
        .boxed()
    }
}

struct Bench {
    deliveries: mpsc::Sender<Delivery>,
    begun: mpsc::UnboundedReceiver<String>,
    gate: Arc<Semaphore>,
    session: Arc<Session>,
    lifecycle: Lifecycle,
    drained: BoxFuture<'static, ()>,
    tag: u64,
    /// Whether what is delivered was given back often.
    wears: bool,
}

impl Bench {
    fn new(concurrency: u16) -> Self {
        let (deliveries, receiver) = Deliveries::channel(100);
        let (sender, begun) = mpsc::unbounded_channel();
        let gate = Arc::new(Semaphore::new(0));
        let lifecycle = Lifecycle::default();
        let hour = Duration::from_secs(60 * 60);
        let policy = RetryPolicy { ladder: vec![hour], max_attempts: 3, expire_after: hour };
        let work = Arc::new(Gated { begun: sender, gate: Arc::clone(&gate) });
        let drained = start(work, receiver, concurrency, policy, &lifecycle).0.boxed();
        Self { deliveries, begun, gate, session: Arc::default(), lifecycle, drained, tag: 0, wears: false }
    }

    async fn deliver(&mut self, identities: &[&str], text: &str) {
        self.deliver_accepted(clock::now(), identities, text).await;
    }

    async fn deliver_accepted(&mut self, accepted_at: UnixMillis, identities: &[&str], text: &str) {
        self.deliver_message(message(accepted_at, identities, text)).await;
    }

    /// A message that is not to be sent after `expires_at`.
    async fn deliver_until(&mut self, expires_at: UnixMillis, identities: &[&str], text: &str) {
        let mut message = message(clock::now(), identities, text);
        message.headers.insert(header::EXPIRES_AT.to_owned(), expires_at.0.to_string());
        self.deliver_message(message).await;
    }

    async fn deliver_message(&mut self, message: Message) {
        self.tag += 1;
        let mut receipt = Receipt::new(Arc::clone(&self.session) as _, self.tag);
        if self.wears {
            receipt = receipt.worn();
        }
        self.deliveries.send(Delivery { message, redelivered: false, receipt }).await.unwrap();
    }

    async fn next_begun(&mut self) -> String {
        self.begun.recv().await.unwrap()
    }

    /// Lets everything that can happen happen, and tells that nothing more has begun.
    async fn nothing_begins(&mut self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert!(self.begun.try_recv().is_err());
    }

    /// As a queue does it: nothing more is delivered.
    fn stop(&mut self) {
        self.lifecycle.stop();
        self.deliveries = Deliveries::channel(1).0;
    }

    fn settled(&self) -> Vec<(u64, &'static str)> {
        self.session.settled.lock().unwrap().clone()
    }
}

fn message(accepted_at: UnixMillis, identities: &[&str], text: &str) -> Message {
    let payload = OutgoingMessage {
        id: MessageId::new(),
        accepted_at,
        backend: "b".parse().unwrap(),
        identities: identities.iter().map(|identity| Identity::from(*identity)).collect(),
        text: text.to_owned(),
        in_response_to: None,
        fields: std::collections::BTreeMap::new(),
    };
    Message::new(&Route::Outgoing(payload.backend.clone()), &payload, Headers::new())
}

#[tokio::test]
async fn one_connection_is_served_in_order_and_others_meanwhile() {
    let mut bench = Bench::new(10);
    for (identity, text) in [("1", "a"), ("1", "b"), ("2", "x"), ("1", "c")] {
        bench.deliver(&[identity], text).await;
    }
    assert_eq!((bench.next_begun().await, bench.next_begun().await), ("a".to_owned(), "x".to_owned()));
    bench.nothing_begins().await;
    bench.gate.add_permits(2);
    assert_eq!(bench.next_begun().await, "b");
    bench.gate.add_permits(1);
    assert_eq!(bench.next_begun().await, "c");
}

#[tokio::test]
async fn a_message_to_many_waits_for_each_of_them_and_holds_each_up() {
    let mut bench = Bench::new(10);
    bench.deliver(&["1"], "a").await;
    bench.deliver(&["1", "2"], "both").await;
    bench.deliver(&["2"], "b").await;
    assert_eq!(bench.next_begun().await, "a");
    bench.nothing_begins().await;
    bench.gate.add_permits(1);
    assert_eq!(bench.next_begun().await, "both");
    bench.nothing_begins().await;
    bench.gate.add_permits(1);
    assert_eq!(bench.next_begun().await, "b");
}

#[tokio::test]
async fn a_message_that_names_a_connection_twice_does_not_wait_for_itself() {
    let mut bench = Bench::new(10);
    bench.deliver(&["1", "2", "1"], "twice").await;
    bench.deliver(&["1"], "next").await;
    assert_eq!(bench.next_begun().await, "twice");
    bench.gate.add_permits(1);
    assert_eq!(bench.next_begun().await, "next");
}

#[tokio::test]
async fn no_more_run_at_a_time_than_the_concurrency() {
    let mut bench = Bench::new(2);
    for identity in ["1", "2", "3"] {
        bench.deliver(&[identity], identity).await;
    }
    assert_eq!((bench.next_begun().await, bench.next_begun().await), ("1".to_owned(), "2".to_owned()));
    bench.nothing_begins().await;
    bench.gate.add_permits(1);
    assert_eq!(bench.next_begun().await, "3");
}

#[tokio::test]
async fn what_waits_when_the_session_is_lost_is_not_begun() {
    let mut bench = Bench::new(10);
    bench.deliver(&["1"], "a").await;
    bench.deliver(&["1"], "b").await;
    assert_eq!(bench.next_begun().await, "a");
    bench.session.lost.cancel();
    bench.gate.add_permits(5);
    bench.nothing_begins().await;
    // The broker delivers both again, in a new session.
    bench.session = Arc::default();
    bench.deliver(&["1"], "a again").await;
    assert_eq!(bench.next_begun().await, "a again");
}

#[tokio::test]
async fn poison_is_dead_lettered_alone() {
    let mut bench = Bench::new(2);
    bench.gate.add_permits(10);
    bench.deliver(&["1"], "panic").await;
    bench.deliver(&["1"], "neighbour").await;
    let mut undecodable = message(UnixMillis(0), &[], "");
    undecodable.body = "not json".into();
    bench.deliver_message(undecodable).await;
    assert_eq!(
        (bench.next_begun().await, bench.next_begun().await),
        ("panic".to_owned(), "neighbour".to_owned())
    );
    bench.nothing_begins().await;
    let mut settled = bench.settled();
    settled.sort_unstable();
    assert_eq!(settled, [(1, "panicked"), (2, "done"), (3, "undecodable")]);
}

#[tokio::test]
async fn what_is_too_old_is_not_tried() {
    let mut bench = Bench::new(2);
    bench.gate.add_permits(5);
    bench.deliver_accepted(UnixMillis(0), &["1"], "old").await;
    bench.deliver(&["1"], "new").await;
    assert_eq!(bench.next_begun().await, "new");
    bench.nothing_begins().await;
    assert_eq!(bench.settled(), [(1, "expired"), (2, "done")]);
}

#[tokio::test(start_paused = true)]
async fn what_has_a_time_of_its_own_is_not_tried_after_it_nor_held_beyond_it() {
    let (mut bench, minute) = (Bench::new(2), Duration::from_secs(60));
    bench.deliver(&["1"], "slow").await;
    bench.deliver_until(clock::now(), &["2"], "late").await;
    bench.deliver_until(clock::now().plus(minute), &["1"], "behind").await;
    assert_eq!(bench.next_begun().await, "slow");
    bench.nothing_begins().await;
    assert_eq!(bench.settled(), [(2, "expired")]);
    tokio::time::advance(minute).await;
    bench.gate.add_permits(5);
    bench.nothing_begins().await;
    // At its next delivery it is late as well.
    assert_eq!(bench.settled(), [(2, "expired"), (1, "done"), (3, "back")]);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_too_long_goes_back_without_being_begun() {
    let mut bench = Bench::new(2);
    bench.deliver(&["1"], "slow").await;
    bench.deliver(&["1"], "behind").await;
    assert_eq!(bench.next_begun().await, "slow");
    tokio::time::advance(LONGEST_HOLD).await;
    bench.gate.add_permits(5);
    bench.nothing_begins().await;
    assert_eq!(bench.settled(), [(1, "done"), (2, "back")]);
}

#[tokio::test]
async fn a_stop_finishes_what_was_begun_and_nothing_else() {
    let mut bench = Bench::new(2);
    for text in ["a", "b"] {
        bench.deliver(&["1"], text).await;
    }
    assert_eq!(bench.next_begun().await, "a");
    bench.stop();
    bench.nothing_begins().await;
    assert!((&mut bench.drained).now_or_never().is_none());
    bench.gate.add_permits(5);
    (&mut bench.drained).await;
    bench.nothing_begins().await;
    assert_eq!(bench.settled(), [(1, "done")]);
}

#[tokio::test]
async fn a_stop_puts_what_was_given_back_often_into_the_queue_anew() {
    let mut bench = Bench::new(1);
    bench.wears = true;
    bench.deliver(&["1"], "a").await;
    assert_eq!(bench.next_begun().await, "a");
    for (identity, text) in [("1", "behind another"), ("2", "ready"), ("3", "ready too")] {
        bench.deliver(&[identity], text).await;
    }
    bench.nothing_begins().await;
    bench.wears = false;
    bench.deliver(&["4"], "fresh").await;
    bench.stop();
    bench.gate.add_permits(5);
    (&mut bench.drained).await;
    let mut settled = bench.settled();
    settled.sort_unstable();
    assert_eq!(settled, [(1, "done"), (2, "back"), (3, "back"), (4, "back")]);
}
