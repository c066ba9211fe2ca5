use futures_util::FutureExt;
use tokio::time::advance;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn close(gate: &Gate, retry_after: Option<Duration>) {
    let pass = gate.pass().now_or_never().expect("an open gate");
    pass.refused("status 503", retry_after, &mut Record::default());
}

/// Waits for the probe and lets it fail; gives how long that took.
async fn fail_a_probe(gate: &Gate, record: &mut Record) -> Duration {
    let begun = Instant::now();
    let pass = gate.pass().await;
    assert!(pass.probe.is_some());
    pass.refused("status 503", None, record);
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn an_open_gate_keeps_nobody() {
    let gate = Gate::default();
    let (one, other) = (gate.pass().now_or_never(), gate.pass().now_or_never());
    assert!(one.is_some() && other.is_some() && gate.told().is_none());
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_the_longest_and_begin_anew_after_an_opening() {
    let gate = Gate::default();
    close(&gate, None);
    let mut waits = Vec::new();
    for _ in 0..8 {
        waits.push(fail_a_probe(&gate, &mut Record::default()).await.as_secs());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    assert_eq!(gate.pass().await.reached(), Some(Duration::from_secs(243)));
    close(&gate, None);
    assert_eq!(fail_a_probe(&gate, &mut Record::default()).await, SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_providers_wish_is_granted_up_to_a_limit() {
    for (asked, granted) in [(7, 7), (0, 1), (1_000_000, 600)] {
        let gate = Gate::default();
        close(&gate, Some(Duration::from_secs(asked)));
        assert_eq!(fail_a_probe(&gate, &mut Record::default()).await.as_secs(), granted, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_goes_first_and_the_others_follow_only_when_it_came_through() {
    let gate = Gate::default();
    close(&gate, None);
    let probe = gate.pass().await;
    let mut others: Vec<_> = (0..5).map(|_| Box::pin(gate.pass())).collect();
    advance(10 * SECOND).await;
    assert!(others.iter_mut().all(|other| other.now_or_never().is_none()));
    assert_eq!(probe.reached(), Some(11 * SECOND));
    for other in others {
        assert!(other.await.probe.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_when_the_provider_goes_count_once_and_open_nothing() {
    let gate = Gate::default();
    let passes: Vec<_> = (0..20).map(|_| gate.pass().now_or_never().unwrap()).collect();
    let mut closed = 0;
    for (number, pass) in passes.into_iter().enumerate() {
        if number == 19 {
            assert_eq!(pass.reached(), None);
        } else if pass.refused("no connection", None, &mut Record::default()).is_some() {
            closed += 1;
        }
    }
    assert_eq!(closed, 1);
    assert!(gate.is_closed());
    assert_eq!(fail_a_probe(&gate, &mut Record::default()).await, SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_leaves_its_place_to_the_next() {
    let gate = Gate::default();
    close(&gate, None);
    drop(gate.pass().await);
    assert!(gate.pass().await.probe.is_some());
}

#[tokio::test(start_paused = true)]
async fn only_a_message_that_fails_where_others_pass_is_suspicious() {
    let gate = Gate::default();
    let (mut alone, mut bad) = (Record::default(), Record::default());
    close(&gate, None);
    for _ in 0..10 {
        fail_a_probe(&gate, &mut alone).await;
    }
    assert_eq!(alone.verdict(), Verdict::MakesRoom);
    for round in 0..3 {
        assert_eq!(bad.verdict(), Verdict::Waits, "{round}");
        fail_a_probe(&gate, &mut bad).await;
        gate.pass().await.reached();
        close(&gate, None);
    }
    assert_eq!(bad.verdict(), Verdict::IsRefused);
}

#[tokio::test(start_paused = true)]
async fn who_fails_again_and_again_makes_room_only_when_nobody_else_waits() {
    let gate = Gate::default();
    let mut record = Record::default();
    close(&gate, None);
    let begun = Instant::now();
    for _ in 0..ALONE {
        assert_eq!(record.verdict(), Verdict::Waits);
        fail_a_probe(&gate, &mut record).await;
    }
    assert_eq!(record.verdict(), Verdict::MakesRoom);
    assert_eq!(begun.elapsed(), Duration::from_secs(31));

    let mut in_line = Record::default();
    for _ in 0..ALONE {
        let pass = gate.pass().await;
        let mut other = Box::pin(gate.pass());
        assert!((&mut other).now_or_never().is_none());
        pass.refused("status 503", None, &mut in_line);
    }
    assert_eq!(in_line.verdict(), Verdict::Waits);
}

#[test]
fn a_record_travels_as_text() {
    let now = UnixMillis(1_795_392_000_000);
    let record = Record { refused: 2, last: Some(now), alone: 0 };
    assert_eq!(record.written().as_deref(), Some("[2,1795392000000]"));
    assert_eq!(Record::read(record.written().as_ref()), record);
    for damaged in [None, Some(""), Some("[]"), Some("{")] {
        assert_eq!(Record::read(damaged.map(str::to_owned).as_ref()), Record::default());
    }
    assert_eq!(Record::default().written(), None);
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_why_and_until_when() {
    let gate = Gate::default();
    close(&gate, Some(30 * SECOND));
    advance(12 * SECOND).await;
    assert_eq!(gate.told().as_deref(), Some("paused for 12s: status 503; next try in 18s"));
}
