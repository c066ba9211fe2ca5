use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use shared::{
    clock::UnixMillis,
    config::{
        Config, Rate,
        backends::{OnUnknown, Texts},
    },
    message::{Identity, MessageId},
    queue::{Route, header},
};

use tokio::sync::watch;

mod parts;

use super::*;
use crate::{
    engines::{Engine, SendReceipt},
    inbound::tests::Recorder,
    lanes::tests::Session,
};

mod batches;

mod notes;

mod rate;

/// Backend `b`, whose provider reports.
const CONFIG: &str = "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'vumi'\nsendsms_url = 'http://v/'\n\
                      [[reports]]\nbackend = 'b'\n";

/// How long a message may wait.
const HOLD: Duration = Duration::from_secs(600);

/// Answers each identity with what the test wrote down, and notes the calls. The second part for `1` is called `1/2`.
#[derive(Default)]
struct Scripted {
    errors: Mutex<HashMap<&'static str, SendError>>,
    called: Mutex<Vec<(String, MessageId)>>,
    /// How many calls there were.
    count: watch::Sender<usize>,
    /// How many identities one call has at most; nothing is one.
    batch: usize,
    /// What the provider calls what it takes.
    external_ids: Vec<String>,
}

impl Engine for Scripted {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::batches(message, self.batch)
    }

    /// A call whose first identity fails fails as a whole; else those that fail are left out.
    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        let name = |identity: &Identity| match part.number {
            1 => identity.as_str().to_owned(),
            number => format!("{}/{number}", identity.as_str()),
        };
        let called: Vec<String> = part.identities().map(name).collect();
        self.called.lock().unwrap().push((called.join("+"), part.id()));
        self.count.send_modify(|count| *count += 1);
        let errors = self.errors.lock().unwrap();
        let failed = part.identities().filter(|identity| errors.contains_key(&*name(identity)));
        let failed: Vec<Identity> = failed.cloned().collect();
        let error = failed.first().map(|identity| errors[&*name(identity)].clone());
        let answer = match error {
            Some(error) if name(&failed[0]) == called[0] => Err(error),
            error => {
                let left_out = error.map(|error| LeftOut { identities: failed, error });
                Ok(SendReceipt { left_out, external_ids: self.external_ids.clone() })
            }
        };
        std::future::ready(answer).boxed()
    }
}

fn rejected() -> SendError {
    SendError::Rejected { reason: "status 400".to_owned(), answer: "bad number".to_owned() }
}

fn not_sent() -> SendError {
    SendError::NotSent { reason: "status 500".to_owned() }
}

fn unavailable() -> SendError {
    SendError::Unavailable { reason: "no connection".to_owned(), retry_after: None }
}

fn unknown() -> SendError {
    SendError::Unknown { reason: "no answer".to_owned() }
}

struct Bench {
    outbound: Outbound,
    engine: Arc<Scripted>,
    lifecycle: Lifecycle,
    session: Arc<Session>,
    text: String,
    queue: Arc<Recorder>,
}

impl Bench {
    fn new(errors: &[(&'static str, SendError)], on_unknown: OnUnknown) -> Self {
        Self::with_rate(errors, on_unknown, None)
    }

    fn with_rate(errors: &[(&'static str, SendError)], on_unknown: OnUnknown, rate: Option<Rate>) -> Self {
        let errors = Mutex::new(errors.iter().cloned().collect());
        Self::of(Scripted { errors, ..Scripted::default() }, on_unknown, rate)
    }

    fn of(engine: Scripted, on_unknown: OnUnknown, rate: Option<Rate>) -> Self {
        let config = Config::parse("test", CONFIG, &BTreeMap::new()).unwrap();
        let engine = Arc::new(engine);
        let backend = Backend {
            engine: Arc::clone(&engine) as _,
            rate: rate.map(Into::into),
            concurrency: 1,
            on_unknown,
            texts: Texts::default(),
            gate: Arc::default(),
        };
        let lifecycle = Lifecycle::default();
        let queue = Arc::<Recorder>::default();
        let publish = Arc::clone(&queue) as _;
        let outbound = Outbound::new("b".parse().unwrap(), backend, &publish, &config, &lifecycle);
        Self { outbound, engine, lifecycle, session: Arc::default(), text: "x".to_owned(), queue }
    }

    /// Sends to identities 1, 2 and 3; the message carries `headers` from earlier attempts.
    async fn send(&self, headers: Headers) -> Disposition {
        self.send_to(&["1", "2", "3"], headers).await
    }

    async fn send_to(&self, identities: &[&str], headers: Headers) -> Disposition {
        self.send_within(HOLD, identities, headers).await
    }

    async fn send_within(&self, hold: Duration, identities: &[&str], headers: Headers) -> Disposition {
        let (queued, payload) = self.queued(identities, headers);
        let receipt = self.session.receipt();
        self.outbound.run(&queued, payload, Hold::new(&receipt, Instant::now() + hold)).await
    }

    fn queued(&self, identities: &[&str], headers: Headers) -> (Message, OutgoingMessage) {
        let id = format!("{:0>32}", identities.join(""));
        let payload = OutgoingMessage {
            id: MessageId(uuid::Uuid::parse_str(&id).unwrap()),
            accepted_at: UnixMillis(0),
            backend: "b".parse().unwrap(),
            identities: identities.iter().map(|identity| Identity::from(*identity)).collect(),
            text: self.text.clone(),
            in_response_to: None,
            fields: BTreeMap::new(),
        };
        (Message::new(&Route::Outgoing(payload.backend.clone()), &payload, headers), payload)
    }

    /// Sends in as many deliveries as it takes, as long as it only goes back to the end of the queue.
    async fn deliver(&self, identities: &[&str]) -> Disposition {
        let mut headers = Headers::new();
        loop {
            let disposition = self.send_to(identities, headers).await;
            let Disposition::Continue { headers: next } = disposition else { return disposition };
            headers = next;
        }
    }

    /// What becomes of a message while others are sent one after the other, each of which gets through.
    async fn beside_others(&self, message: impl Future<Output = Disposition>) -> Disposition {
        let mut message = pin!(message);
        let mut number = 10;
        loop {
            let other = number.to_string();
            let identities = [other.as_str()];
            tokio::select! {
                biased;
                disposition = &mut message => return disposition,
                disposition = self.deliver(&identities) => assert_eq!(disposition, Disposition::Done),
            }
            number += 1;
        }
    }

    /// Answers `identity` with a success from now on.
    fn heal(&self, identity: &str) {
        self.engine.errors.lock().unwrap().remove(identity);
    }

    /// Waits until the provider was called so often.
    async fn wait_called(&self, count: usize) {
        self.engine.count.subscribe().wait_for(|called| *called >= count).await.unwrap();
    }

    fn called(&self) -> Vec<String> {
        self.engine.called.lock().unwrap().iter().map(|(identity, _)| identity.clone()).collect()
    }
}

#[tokio::test]
async fn all_parts_sent_is_done() {
    let bench = Bench::new(&[], OnUnknown::DeadLetter);
    assert_eq!(bench.send(Headers::new()).await, Disposition::Done);
    assert_eq!(bench.called(), ["1", "2", "3"]);
}

#[tokio::test]
async fn only_what_is_not_sent_is_sent_again_with_the_same_id() {
    let bench = Bench::new(&[("2", not_sent())], OnUnknown::DeadLetter);
    let Disposition::Retry { class, reason, headers } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!((class, reason.as_str()), ("not_sent", "status 500"));
    assert_eq!(headers[header::SENT], r#"["0/1","2/1"]"#);

    let again = Bench::new(&[], OnUnknown::DeadLetter);
    assert_eq!(again.send(headers).await, Disposition::Done);
    assert_eq!(again.called(), ["2"]);
    assert_eq!(again.engine.called.lock().unwrap()[0].1, bench.engine.called.lock().unwrap()[1].1);
}

#[tokio::test]
async fn one_bad_number_is_dead_lettered_and_never_repeats_the_others() {
    let bench = Bench::new(&[("1", rejected()), ("2", not_sent())], OnUnknown::DeadLetter);
    let Disposition::Retry { headers, .. } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!(headers[header::FAILED], r#"{"0/1":"rejected"}"#);

    let again = Bench::new(&[("1", rejected())], OnUnknown::DeadLetter);
    let Disposition::DeadLetter { class, reason, headers } = again.send(headers).await else { panic!() };
    assert_eq!(again.called(), ["2"]);
    assert_eq!((class, reason.as_str()), ("rejected", "status 400: bad number"));
    assert_eq!(headers[header::SENT], r#"["1/1","2/1"]"#);
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_provider_is_probed_and_no_attempt_is_counted() {
    let bench = Bench::new(&[("1", unavailable())], OnUnknown::DeadLetter);
    let begun = Instant::now();
    let healed = async {
        bench.wait_called(7).await;
        assert!(bench.outbound.is_waiting());
        bench.heal("1");
    };
    let (disposition, ()) = tokio::join!(bench.deliver(&["1"]), healed);
    assert_eq!(disposition, Disposition::Done);
    // At once, and after pauses of 1, 2, 4, 8, 16, 32 and 60 seconds.
    assert_eq!((bench.called().len(), begun.elapsed()), (8, Duration::from_secs(123)));
    assert!(!bench.outbound.is_waiting());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_pause_is_noted_in_the_queue_at_once() {
    let bench = Bench::new(&[("2", unavailable())], OnUnknown::DeadLetter);
    let Disposition::Continue { headers } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!(headers[header::SENT], r#"["0/1"]"#);
    assert_eq!(bench.called(), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_for_the_provider_goes_back() {
    let asked_for = SendError::Unavailable {
        reason: "status 503".to_owned(),
        retry_after: Some(Duration::from_secs(1_000_000)),
    };
    let bench = Bench::new(&[("1", asked_for)], OnUnknown::DeadLetter);
    let begun = Instant::now();
    let disposition = bench.send_to(&["1"], Headers::new()).await;
    assert_eq!(disposition, Disposition::Continue { headers: Headers::new() });
    assert_eq!(begun.elapsed(), HOLD);
}

/// It may be the only one that is refused, and all that its queue gives this process at a time.
#[tokio::test(start_paused = true)]
async fn what_is_refused_alone_makes_room_for_others() {
    let bench = Bench::new(&[("1", unavailable())], OnUnknown::DeadLetter);
    let begun = Instant::now();
    let Disposition::Continue { headers } = bench.send_to(&["1"], Headers::new()).await else { panic!() };
    assert_eq!((headers.len(), begun.elapsed()), (1, Duration::from_secs(31)));
    assert!(headers[header::REFUSED].starts_with("[1,"), "{headers:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_to_another_process_while_it_waits_is_not_sent() {
    let bench = Bench::new(&[("1", unavailable())], OnUnknown::DeadLetter);
    let cut = async {
        bench.wait_called(1).await;
        bench.session.lost.cancel();
        bench.heal("1");
    };
    let (disposition, ()) = tokio::join!(bench.send_to(&["1"], Headers::new()), cut);
    assert_eq!((disposition, bench.called()), (Disposition::Leave, vec!["1".to_owned()]));
}

/// Each call takes longer than a turn, so every part has a delivery of its own.
#[tokio::test(start_paused = true)]
async fn every_part_is_tried_once_an_attempt_however_slow_the_provider_is() {
    let errors = ["1", "2", "3"].map(|identity| (identity, unknown()));
    let bench = Bench::with_rate(&errors, OnUnknown::Resend, Rate::per_second(0.02));
    let disposition = bench.deliver(&["1", "2", "3"]).await;
    assert!(matches!(disposition, Disposition::Retry { class: "unknown", .. }), "{disposition:?}");
    assert_eq!(bench.called(), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_refused_alone_keeps_no_other_of_its_message_waiting() {
    let bench = Bench::new(&[("9", unavailable())], OnUnknown::DeadLetter);
    let disposition = bench.beside_others(bench.deliver(&["9", "8"])).await;
    let Disposition::Retry { class, headers, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!((class, headers[header::SENT].as_str()), ("unavailable", r#"["1/1"]"#));
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_what_waits_for_the_provider_to_the_next_process() {
    let bench = Bench::new(&[("1", unavailable())], OnUnknown::DeadLetter);
    let stop = async {
        bench.wait_called(1).await;
        bench.lifecycle.stop();
    };
    let (disposition, ()) = tokio::join!(bench.send_to(&["1"], Headers::new()), stop);
    assert_eq!(disposition, Disposition::Leave);
}

/// A provider that says 403 to one number, and means only that one, must not be paused by it for ever.
#[tokio::test(start_paused = true)]
async fn one_message_that_alone_is_refused_goes_up_the_ladder_and_the_others_pass() {
    let bench = Bench::new(&[("9", unavailable())], OnUnknown::DeadLetter);
    let disposition = bench.beside_others(bench.send_to(&["9"], Headers::new())).await;
    assert!(matches!(disposition, Disposition::Retry { class: "unavailable", .. }), "{disposition:?}");
}

#[tokio::test]
async fn what_nobody_knows_is_decided_by_the_backend() {
    let errors = [("1", unknown())];
    let disposition = Bench::new(&errors, OnUnknown::DeadLetter).send(Headers::new()).await;
    assert!(matches!(disposition, Disposition::DeadLetter { class: "unknown", .. }), "{disposition:?}");
    let disposition = Bench::new(&errors, OnUnknown::Resend).send(Headers::new()).await;
    assert!(matches!(disposition, Disposition::Retry { class: "unknown", .. }), "{disposition:?}");
}

#[tokio::test]
async fn what_was_sent_lately_is_not_sent_again() {
    let bench = Bench::new(&[("2", not_sent())], OnUnknown::DeadLetter);
    assert!(matches!(bench.send(Headers::new()).await, Disposition::Retry { .. }));
    // The broker delivers it again without our headers: its session was lost before it was settled.
    assert!(matches!(bench.send(Headers::new()).await, Disposition::Retry { .. }));
    assert_eq!(bench.called(), ["1", "2", "3", "2"]);
}

#[tokio::test]
async fn a_stop_is_not_made_to_wait_for_every_identity() {
    let bench = Bench::new(&[], OnUnknown::DeadLetter);
    bench.lifecycle.stop();
    let disposition = bench.send(Headers::new()).await;
    let Disposition::Continue { headers } = disposition else { panic!("{disposition:?}") };
    assert_eq!((bench.called(), headers[header::SENT].as_str()), (vec!["1".to_owned()], r#"["0/1"]"#));
}
