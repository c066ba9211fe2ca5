//! Texts that are sent in parts: in order, and none after one that is not sent.

use super::*;

/// A backend that splits, and a text of three parts.
fn splitting(errors: &[(&'static str, SendError)], on_unknown: OnUnknown) -> Bench {
    let mut bench = Bench::new(errors, on_unknown);
    bench.outbound.backend.texts = Texts { split: true, max_parts: Some(3), substitute: false };
    bench.text = "x".repeat(3 * 153);
    bench
}

fn ids(bench: &Bench) -> Vec<MessageId> {
    bench.engine.called.lock().unwrap().iter().map(|(_, id)| *id).collect()
}

#[tokio::test]
async fn everybody_gets_the_parts_in_order_each_with_an_id_of_its_own() {
    let bench = splitting(&[], OnUnknown::DeadLetter);
    assert_eq!(bench.send_to(&["1", "2"], Headers::new()).await, Disposition::Done);
    assert_eq!(bench.called(), ["1", "1/2", "1/3", "2", "2/2", "2/3"]);
    let mut ids = ids(&bench);
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6);
}

#[tokio::test]
async fn a_part_that_is_not_sent_is_sent_again_with_those_after_it() {
    let bench = splitting(&[("1/2", not_sent())], OnUnknown::DeadLetter);
    let disposition = bench.send_to(&["1", "2"], Headers::new()).await;
    let Disposition::Retry { headers, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!(bench.called(), ["1", "1/2", "2", "2/2", "2/3"]);
    assert_eq!(headers[header::SENT], r#"["0/1","1/3"]"#);

    let again = splitting(&[], OnUnknown::DeadLetter);
    assert_eq!(again.send_to(&["1", "2"], headers).await, Disposition::Done);
    assert_eq!(again.called(), ["1/2", "1/3"]);
    assert_eq!(ids(&again)[0], ids(&bench)[1]);
}

/// What the provider may have, or will never take: a hole in the text would not be better.
#[tokio::test]
async fn a_part_that_fails_for_good_ends_the_text_for_its_identity_only() {
    for (error, class) in [(rejected(), "rejected"), (unknown(), "unknown")] {
        let bench = splitting(&[("1/2", error)], OnUnknown::DeadLetter);
        let disposition = bench.send_to(&["1", "2"], Headers::new()).await;
        let Disposition::DeadLetter { class: told, mut headers, .. } = disposition else { panic!("{class}") };
        assert_eq!((told, headers[header::SENT].as_str()), (class, r#"["0/1","1/3"]"#));
        assert_eq!(headers[header::FAILED], format!(r#"{{"0/2":"{class}"}}"#));
        assert_eq!(bench.called(), ["1", "1/2", "2", "2/2", "2/3"]);

        // A person has it tried again.
        headers.remove(header::FAILED);
        let again = splitting(&[], OnUnknown::DeadLetter);
        assert_eq!(again.send_to(&["1", "2"], headers).await, Disposition::Done);
        assert_eq!(again.called(), ["1/2", "1/3"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_text_goes_on_after_a_pause_where_it_was() {
    let bench = splitting(&[("1/2", unavailable())], OnUnknown::DeadLetter);
    let disposition = bench.send_to(&["1"], Headers::new()).await;
    let Disposition::Continue { headers } = disposition else { panic!("{disposition:?}") };
    bench.heal("1/2");
    assert_eq!(bench.send_to(&["1"], headers).await, Disposition::Done);
    assert_eq!(bench.called(), ["1", "1/2", "1/2", "1/3"]);
}

/// Each call takes longer than a turn, so every part has a delivery of its own.
#[tokio::test(start_paused = true)]
async fn a_text_whose_part_failed_is_not_gone_on_with_in_the_next_delivery_of_the_attempt() {
    let mut bench = splitting(&[("1/2", not_sent())], OnUnknown::DeadLetter);
    bench.outbound.limit = Limit::new(Some(&Rate::per_second(0.02).unwrap().into()));
    let disposition = bench.deliver(&["1", "2"]).await;
    assert!(matches!(disposition, Disposition::Retry { class: "not_sent", .. }), "{disposition:?}");
    assert_eq!(bench.called(), ["1", "1/2", "2", "2/2", "2/3"]);
}

/// One has the first part, another all of the text.
#[tokio::test]
async fn a_text_that_is_cut_otherwise_than_what_was_sent_is_left_to_a_person() {
    let bench = splitting(&[("1/2", not_sent())], OnUnknown::DeadLetter);
    let disposition = bench.send_to(&["1", "2"], Headers::new()).await;
    let Disposition::Retry { headers, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!((headers[header::SENT].as_str(), headers[header::PARTS].as_str()), (r#"["0/1","1/3"]"#, "3"));

    let mut whole = splitting(&[], OnUnknown::Resend);
    whole.outbound.backend.texts = Texts::default();
    let disposition = whole.send_to(&["1", "2"], headers.clone()).await;
    let Disposition::DeadLetter { class, reason, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!(class, "unknown");
    assert!(
        reason.starts_with("some of the text was sent when it had 3 parts, and now it has 1:"),
        "{reason}"
    );
    assert!(whole.called().is_empty());

    // A person has set it back, and has it tried again.
    let again = splitting(&[], OnUnknown::DeadLetter);
    assert_eq!(again.send_to(&["1", "2"], headers).await, Disposition::Done);
    assert_eq!(again.called(), ["1/2", "1/3"]);
}

#[tokio::test]
async fn a_text_of_which_nothing_is_sent_is_cut_as_it_is_now() {
    let mut whole = splitting(&[("1", not_sent())], OnUnknown::DeadLetter);
    whole.outbound.backend.texts = Texts::default();
    let disposition = whole.send_to(&["1"], Headers::new()).await;
    let Disposition::Retry { headers, .. } = disposition else { panic!("{disposition:?}") };
    let cut = splitting(&[], OnUnknown::DeadLetter);
    assert_eq!(cut.send_to(&["1"], headers).await, Disposition::Done);
    assert_eq!(cut.called(), ["1", "1/2", "1/3"]);
}

#[tokio::test]
async fn a_text_that_is_too_long_is_dead_lettered_before_any_call() {
    let mut bench = splitting(&[], OnUnknown::DeadLetter);
    bench.text.push('x');
    let Disposition::DeadLetter { class, reason, .. } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!((class, reason.as_str()), ("rejected", "the text takes 4 parts, and max_parts is 3"));
    assert!(bench.called().is_empty());
}

/// 200 long numbers, each with as many parts as a text can have.
#[test]
fn how_far_it_is_fits_into_a_frame_however_many_parts_there_are() {
    let long = |number: usize| format!("{number:0>100}");
    let message = OutgoingMessage {
        id: MessageId::new(),
        accepted_at: UnixMillis(0),
        backend: "b".parse().unwrap(),
        identities: (0..200).map(|number| Identity::from(long(number))).collect(),
        text: "x".to_owned(),
        in_response_to: None,
        fields: BTreeMap::new(),
    };
    let refused = SendError::Rejected { reason: "status 400".to_owned(), answer: "\u{1200}".repeat(200) };
    let queued = Message::new(&Route::Outgoing(message.backend.clone()), &message, Headers::new());
    let mut progress = Progress::of(&queued);
    for mut part in Part::for_each_identity(&message) {
        for number in 1..255 {
            part.number = number;
            progress.sent(&part);
        }
        part.number = 255;
        progress.fail(&part, &refused, OnUnknown::DeadLetter);
    }
    let size: usize = progress.headers().values().map(String::len).sum();
    assert!(size < 16 * 1024, "{size}");
}
