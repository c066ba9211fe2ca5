//! Calls to many identities: each of them is sent, refused and tried again for itself.

use super::*;

/// Sends to two identities a call; those in `errors` fail.
fn bench(errors: &[(&'static str, SendError)]) -> Bench {
    let errors = Mutex::new(errors.iter().cloned().collect());
    Bench::of(Scripted { errors, batch: 2, ..Scripted::default() }, OnUnknown::DeadLetter, None)
}

#[tokio::test]
async fn who_is_left_out_of_a_call_is_tried_again_alone() {
    let bench = bench(&[("2", not_sent())]);
    let Disposition::Retry { headers, reason, .. } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!((headers[header::SENT].as_str(), reason.as_str()), (r#"["0/1","2/1"]"#, "status 500"));
    bench.heal("2");
    assert_eq!(bench.send(headers).await, Disposition::Done);
    assert_eq!(bench.called(), ["1+2", "3", "2"]);
}

#[tokio::test]
async fn who_is_refused_by_a_call_that_took_others_is_dead_lettered_alone() {
    let bench = bench(&[("2", rejected())]);
    let Disposition::DeadLetter { class, reason, headers } = bench.send(Headers::new()).await else {
        panic!()
    };
    assert_eq!((class, reason.as_str()), ("rejected", "status 400: bad number"));
    assert_eq!(headers[header::SENT], r#"["0/1","2/1"]"#);
    assert_eq!(headers[header::FAILED], r#"{"1/1":"rejected"}"#);
}

#[tokio::test]
async fn a_call_that_fails_is_repeated_for_all_of_it_with_the_same_id() {
    let bench = bench(&[("1", not_sent())]);
    let Disposition::Retry { headers, .. } = bench.send(Headers::new()).await else { panic!() };
    bench.heal("1");
    assert_eq!(bench.send(headers).await, Disposition::Done);
    let called = bench.engine.called.lock().unwrap().clone();
    assert_eq!(bench.called(), ["1+2", "3", "1+2"]);
    assert_eq!(called[0].1, called[2].1);
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_not_sent_again_to_those_who_had_it() {
    let bench = bench(&[("2", not_sent())]);
    assert!(matches!(bench.send(Headers::new()).await, Disposition::Retry { .. }));
    bench.heal("2");
    // The settlement was lost, and its headers with it.
    assert_eq!(bench.send(Headers::new()).await, Disposition::Done);
    assert_eq!(bench.called(), ["1+2", "3", "2"]);
}

/// A text of three parts, of which one identity never gets the second.
#[tokio::test]
async fn who_is_left_out_of_a_part_gets_no_later_one() {
    let mut bench = bench(&[("2/2", rejected())]);
    bench.outbound.backend.texts = Texts { split: true, max_parts: None, substitute: false };
    bench.text = "x".repeat(3 * 153);
    let disposition = bench.send_to(&["1", "2"], Headers::new()).await;
    assert!(matches!(disposition, Disposition::DeadLetter { class: "rejected", .. }), "{disposition:?}");
    assert_eq!(bench.called(), ["1+2", "1/2+2/2", "1/3"]);
}
