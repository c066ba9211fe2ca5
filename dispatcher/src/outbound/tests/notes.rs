//! What is noted of parts that were taken, for their delivery reports.

use shared::{
    envelope,
    queue::PublishError,
    report::{Report, State},
};

use super::*;

fn notes(bench: &Bench) -> Vec<(String, String, String)> {
    let published = bench.queue.published.lock().unwrap();
    let note = |message: &Message| {
        let Report { reference, identity, external_id, state, is_own, .. } =
            envelope::decode(&message.body).unwrap();
        assert_eq!((message.route.as_str(), state, is_own), ("report.b", State::Queued, true));
        (reference.unwrap(), identity.unwrap().as_str().to_owned(), external_id.unwrap_or_default())
    };
    published.iter().map(note).collect()
}

fn note(reference: &str, identity: &str, external_id: &str) -> (String, String, String) {
    let reference = format!("00000000-0000-0000-0000-000000000{reference}");
    (reference, identity.to_owned(), external_id.to_owned())
}

#[tokio::test]
async fn each_part_that_was_taken_is_noted_and_no_other() {
    let errors = Mutex::new([("2", rejected())].into());
    let external_ids = vec!["x1".to_owned(), "x3".to_owned()];
    let engine = Scripted { errors, batch: 3, external_ids, ..Scripted::default() };
    let bench = Bench::of(engine, OnUnknown::DeadLetter, None);
    assert!(matches!(bench.send(Headers::new()).await, Disposition::DeadLetter { .. }));
    assert_eq!(notes(&bench), [note("123.1.0", "1", "x1"), note("123.1.2", "3", "x3")]);
}

#[tokio::test]
async fn one_id_of_a_call_is_that_of_all_its_identities() {
    let engine = Scripted { batch: 3, external_ids: vec!["x".to_owned()], ..Scripted::default() };
    let bench = Bench::of(engine, OnUnknown::DeadLetter, None);
    assert_eq!(bench.send_to(&["1", "2"], Headers::new()).await, Disposition::Done);
    let bare = |reference: &str| format!("00000000-0000-0000-0000-0000000000{reference}");
    let expected = [("12.1.0", "1"), ("12.1.1", "2")]
        .map(|(reference, identity)| (bare(reference), identity.to_owned(), "x".to_owned()));
    assert_eq!(notes(&bench), expected);
}

/// A broker that takes nothing, and says so when a request's time is over.
struct Full;

impl Publish for Full {
    fn publish(&self, _message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        let time = Duration::from_secs(5);
        async move {
            tokio::time::sleep(time).await;
            Err(PublishError::Timeout(time))
        }
        .boxed()
    }

    fn publish_patiently(&self, _message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        std::future::pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_is_settled_although_its_note_is_not_taken() {
    let mut bench = Bench::new(&[], OnUnknown::DeadLetter);
    let config = Config::parse("test", CONFIG, &BTreeMap::new()).unwrap();
    let full: Arc<dyn Publish> = Arc::new(Full);
    bench.outbound.notes = Notes::new(&"b".parse().unwrap(), &full, &config);
    let begun = Instant::now();
    assert_eq!(bench.send_to(&["1"], Headers::new()).await, Disposition::Done);
    assert_eq!((bench.called(), begun.elapsed()), (vec!["1".to_owned()], Duration::from_secs(5)));
}

#[tokio::test]
async fn a_delivery_that_is_lost_takes_no_note_along() {
    let bench = Bench::new(&[], OnUnknown::DeadLetter);
    bench.session.lost.cancel();
    // The part is on its way already; whoever gets the message again does not send it again.
    let (queued, message) = bench.queued(&["1"], Headers::new());
    let receipt = bench.session.receipt();
    let part = &bench.outbound.backend.plan(&message).unwrap()[0];
    let hold = Hold::new(&receipt, Instant::now() + HOLD);
    let (progress, record, begun) = (Progress::of(&queued), Record::default(), Instant::now());
    let mut turn =
        Turn { queued: &queued, message: &message, progress, record, begun, hold, is_untried: true };
    bench.outbound.take(&mut turn, part, SendReceipt::default()).await;
    assert_eq!(notes(&bench).len(), 1);
}
