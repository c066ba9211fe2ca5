use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use shared::{
    clock::UnixMillis,
    config::{Config, backends::OnUnknown},
    message::MessageId,
    queue::{Route, header},
};

use super::*;
use crate::engines::{Engine, SendReceipt};

/// Answers each identity with what the test wrote down, and notes the calls.
#[derive(Default)]
struct Scripted {
    errors: HashMap<&'static str, SendError>,
    called: Mutex<Vec<(String, MessageId)>>,
}

impl Engine for Scripted {
    fn plan(&self, message: &OutgoingMessage) -> Result<Vec<Part>, SendError> {
        Ok(Part::for_each_identity(message))
    }

    fn send<'a>(&'a self, part: &'a Part) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        let identity = part.identities[0].as_str();
        self.called.lock().unwrap().push((identity.to_owned(), part.id));
        let answer = self.errors.get(identity).cloned().map_or(Ok(SendReceipt::default()), Err);
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
}

impl Bench {
    fn new(errors: &[(&'static str, SendError)], on_unknown: OnUnknown) -> Self {
        let config = Config::parse("test", "[queue]\nurl = 'embedded:x'\n", &BTreeMap::new()).unwrap();
        let engine = Arc::new(Scripted { errors: errors.iter().cloned().collect(), ..Scripted::default() });
        let backend = Backend { engine: Arc::clone(&engine) as _, concurrency: 1, on_unknown };
        let lifecycle = Lifecycle::default();
        let outbound =
            Outbound::new("b".parse().unwrap(), backend, Privacy::new(&config.logging), &lifecycle);
        Self { outbound, engine, lifecycle }
    }

    /// Sends to identities 1, 2 and 3; the message carries `headers` from earlier attempts.
    async fn send(&self, headers: Headers) -> Disposition {
        let payload = OutgoingMessage {
            id: MessageId(uuid::Uuid::from_u128(1)),
            accepted_at: UnixMillis(0),
            backend: "b".parse().unwrap(),
            identities: ["1", "2", "3"].map(Identity::from).to_vec(),
            text: "x".to_owned(),
            in_response_to: None,
            fields: BTreeMap::new(),
        };
        let queued = Message::new(&Route::Outgoing(payload.backend.clone()), &payload, headers);
        self.outbound.run(&queued, payload).await
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
    assert_eq!(headers[progress::FAILED], r#"{"0/1":"rejected"}"#);

    let again = Bench::new(&[("1", rejected())], OnUnknown::DeadLetter);
    let Disposition::DeadLetter { class, reason, headers } = again.send(headers).await else { panic!() };
    assert_eq!(again.called(), ["2"]);
    assert_eq!((class, reason.as_str()), ("rejected", "status 400: bad number"));
    assert_eq!(headers[header::SENT], r#"["2/1","1/1"]"#);
}

#[tokio::test]
async fn an_unavailable_provider_is_not_asked_for_the_others() {
    let bench = Bench::new(&[("2", unavailable())], OnUnknown::DeadLetter);
    let Disposition::Retry { class, headers, .. } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!((class, headers[header::SENT].as_str()), ("unavailable", r#"["0/1"]"#));
    assert_eq!(bench.called(), ["1", "2"]);
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

#[tokio::test]
async fn the_headers_of_many_refusals_fit_into_a_frame() {
    let long = |number: usize| format!("{number:0>100}");
    let refused = SendError::Rejected { reason: "status 400".to_owned(), answer: "\u{1200}".repeat(200) };
    let message = OutgoingMessage {
        id: MessageId::new(),
        accepted_at: UnixMillis(0),
        backend: "b".parse().unwrap(),
        identities: (0..200).map(|number| Identity::from(long(number))).collect(),
        text: "x".to_owned(),
        in_response_to: None,
        fields: BTreeMap::new(),
    };
    let queued = Message::new(&Route::Outgoing(message.backend.clone()), &message, Headers::new());
    let mut progress = Progress::of(&queued, &message);
    for part in Part::for_each_identity(&message) {
        progress.fail(&part, &refused, OnUnknown::DeadLetter);
    }
    let size: usize = progress.headers().values().map(String::len).sum();
    assert!(size < 16 * 1024, "{size}");
}
