//! Backends with a rate: what waits for its turn.

use super::*;

/// A backend that sends so many parts a second.
fn limited(parts: f64) -> Bench {
    Bench::with_rate(&[], OnUnknown::DeadLetter, Rate::per_second(parts))
}

#[tokio::test(start_paused = true)]
async fn the_rate_counts_parts_and_not_messages() {
    let (bench, begun) = (limited(1.0), Instant::now());
    assert_eq!(bench.send(Headers::new()).await, Disposition::Done);
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn at_a_low_rate_a_message_goes_back_with_what_is_left_of_it() {
    let bench = limited(0.05);
    let Disposition::Continue { headers } = bench.send(Headers::new()).await else { panic!() };
    assert_eq!(headers[header::SENT], r#"["0/1","1/1"]"#);
    assert_eq!(bench.send(headers).await, Disposition::Done);
    assert_eq!(bench.called(), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_what_waits_for_its_turn() {
    let bench = limited(1.0);
    let stop = |after| {
        let lifecycle = bench.lifecycle.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            lifecycle.stop();
        }
    };
    let (disposition, ()) = tokio::join!(bench.send(Headers::new()), stop(1500));
    let Disposition::Continue { headers } = disposition else { panic!("{disposition:?}") };
    assert_eq!((bench.called(), headers[header::SENT].as_str()), (vec!["1".to_owned()], r#"["0/1"]"#));

    let bench = limited(1.0);
    bench.lifecycle.stop();
    assert_eq!(bench.send(Headers::new()).await, Disposition::Leave);
    assert!(bench.called().is_empty());
}

/// It may be late by then.
#[tokio::test(start_paused = true)]
async fn no_call_is_made_after_a_message_shall_be_given_back() {
    let bench = limited(1.0);
    let disposition = bench.send_within(Duration::from_millis(1500), &["1", "2"], Headers::new()).await;
    let Disposition::Continue { headers } = disposition else { panic!("{disposition:?}") };
    assert_eq!((bench.called(), headers[header::SENT].as_str()), (vec!["1".to_owned()], r#"["0/1"]"#));

    let bench = Bench::new(&[], OnUnknown::DeadLetter);
    let disposition = bench.send_within(Duration::ZERO, &["1"], Headers::new()).await;
    assert_eq!(disposition, Disposition::Continue { headers: Headers::new() });
    assert!(bench.called().is_empty());
}
