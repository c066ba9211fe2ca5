//! What is noted of parts that were taken, for their delivery reports.

use shared::{
    envelope,
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
