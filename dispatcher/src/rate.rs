//! The limit of parts a second of one backend in this process: who asks stands in line, and the first goes when it is time.
//!
//! `governor` is not used because it starts full and wakes all who wait at once, in no order. That only one process at a
//! time sends for a backend with a rate is the queue's doing.

use std::time::Duration;

use shared::{
    config::{LiveRate, Rate},
    queue::Prefetch,
};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};

/// How much unused time is made up for: what timers and a busy machine are late by.
const CATCH_UP: Duration = Duration::from_millis(20);

/// How long a delivery may wait for its turn, about: few are unsettled when another process takes over.
const AHEAD: Duration = Duration::from_secs(2);

/// How many deliveries of a backend with a rate are taken from the queue at a time.
pub(crate) fn prefetch(rate: &LiveRate, concurrency: u16) -> Prefetch {
    let rate = rate.clone();
    Prefetch::following(concurrency, move || rate.now().parts_in(AHEAD))
}

/// A backend's limit, or none. The lock is the line: it is handed on in the order of asking, and who gives up leaves it.
pub(crate) struct Limit(Option<Mutex<Line>>);

struct Line {
    rate: watch::Receiver<Rate>,
    pace: Pace,
}

impl Limit {
    /// The limit of `rate`. The first part waits as well, so that a process that dies and starts again keeps the rate.
    pub(crate) fn new(rate: Option<&LiveRate>) -> Self {
        let line =
            |rate: &LiveRate| Line { rate: rate.follow(), pace: Pace::new(rate.now(), Instant::now()) };
        Self(rate.map(line).map(Mutex::new))
    }

    /// Waits until one more part may go, by the rate as it is when it goes.
    pub(crate) async fn wait(&self) {
        let Some(line) = &self.0 else { return };
        let Line { rate, pace } = &mut *line.lock().await;
        loop {
            pace.follow(*rate.borrow_and_update());
            tokio::select! {
                biased;
                () = sleep_until(pace.next()) => break,
                Ok(()) = rate.changed() => {}
            }
        }
        pace.go(Instant::now());
    }

    /// True while somebody waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.0.as_ref().is_some_and(|line| line.try_lock().is_err())
    }
}

/// When the next part may go: one an interval.
struct Pace {
    interval: Duration,
    last: Instant,
}

impl Pace {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { interval: rate.interval(), last: now }
    }

    /// The next part goes an interval of this rate after the last one.
    fn follow(&mut self, rate: Rate) {
        self.interval = rate.interval();
    }

    fn next(&self) -> Instant {
        self.last + self.interval
    }

    /// A part goes at `now`, which is not before `next`. Time that passed unused is not made up for, but for what a timer
    /// may have been late.
    fn go(&mut self, now: Instant) {
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.last = self.next().max(earliest);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::{FutureExt, future::join_all};
    use proptest::prelude::*;

    use super::*;

    fn rate(parts: f64) -> Rate {
        Rate::per_second(parts).unwrap()
    }

    fn limit(parts: f64) -> Limit {
        Limit::new(Some(&rate(parts).into()))
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_the_rate_however_late_a_timer_is(
            per_second in 0.01..10_000.0_f64,
            asked in prop::collection::vec((0..50_000_u64, 0..50_000_u64), 1..300),
        ) {
            let start = Instant::now();
            let mut pace = Pace::new(rate(per_second), start);
            let mut now = start;
            let mut sent = Vec::new();
            for (pause, late) in asked {
                now = pace.next().max(now + Duration::from_micros(pause)) + Duration::from_micros(late);
                pace.go(now);
                sent.push(now - start);
            }
            for (first, from) in sent.iter().enumerate() {
                for (parts, to) in (1_u32..).zip(&sent[first..]) {
                    let window = to.saturating_sub(*from) + CATCH_UP;
                    let allowed = window.as_secs_f64() * per_second + 1.0;
                    prop_assert!(f64::from(parts) <= allowed + 1e-6, "{parts} in {window:?}");
                }
            }
            prop_assert!(sent[0] >= Duration::from_secs_f64(1.0 / per_second), "the first has not waited");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_first_goes_first_and_the_rate_is_kept() {
        let limit = limit(20.0);
        let begun = Instant::now();
        let order = Arc::new(Mutex::new(Vec::new()));
        let wait = async |number: usize| {
            limit.wait().await;
            order.lock().unwrap().push(number);
        };
        join_all((0..100).map(wait)).await;
        assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(5) && took < Duration::from_millis(5010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timer_of_a_millisecond_does_not_slow_a_high_rate() {
        let limit = limit(5000.0);
        let begun = Instant::now();
        for _ in 0..5000 {
            limit.wait().await;
        }
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(980) && took < Duration::from_millis(1020), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_goes_at_once_after_a_pause_and_the_next_waits() {
        let limit = limit(1.0);
        tokio::time::sleep(Duration::from_secs(60)).await;
        let begun = Instant::now();
        limit.wait().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        limit.wait().await;
        assert!(begun.elapsed() + CATCH_UP >= Duration::from_secs(1), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_costs_nobody_a_turn() {
        let limit = limit(1.0);
        let begun = Instant::now();
        let given_up = tokio::time::timeout(Duration::from_millis(500), limit.wait());
        assert!(given_up.await.is_err());
        limit.wait().await;
        assert!(begun.elapsed() <= Duration::from_millis(1010), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn it_tells_whether_somebody_waits() {
        let limit = limit(1.0);
        assert!(!limit.is_waiting());
        let mut waiting = Box::pin(limit.wait());
        assert!((&mut waiting).now_or_never().is_none() && limit.is_waiting());
        drop(waiting);
        assert!(!limit.is_waiting());
        let none = Limit::new(None);
        assert!(none.wait().now_or_never().is_some() && !none.is_waiting(), "without a rate nothing waits");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_goes_by_the_new_rate_and_so_do_those_behind() {
        let rate_of = LiveRate::from(rate(0.01));
        let (limit, begun) = (Limit::new(Some(&rate_of)), Instant::now());
        let change = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            rate_of.set(rate(20.0));
        };
        let wait = async || {
            limit.wait().await;
            begun.elapsed()
        };
        let (waited, ()) = tokio::join!(join_all((0..21).map(|_| wait())), change);
        let (first, last) = (waited[0], waited[20]);
        assert!(first >= Duration::from_secs(10) && first < Duration::from_millis(10_010), "{first:?}");
        let took = last.checked_sub(first).unwrap();
        assert!(took >= Duration::from_millis(980) && took < Duration::from_millis(1010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slower_rate_counts_from_the_last_that_went() {
        let rate_of = LiveRate::from(rate(100.0));
        let limit = Limit::new(Some(&rate_of));
        limit.wait().await;
        let begun = Instant::now();
        rate_of.set(rate(0.1));
        limit.wait().await;
        assert!(begun.elapsed() + CATCH_UP >= Duration::from_secs(10), "{:?}", begun.elapsed());
        rate_of.set(rate(0.5));
        limit.wait().await;
        assert!(begun.elapsed() < Duration::from_millis(12_010), "{:?}", begun.elapsed());
    }

    #[test]
    fn the_prefetch_is_two_seconds_within_the_concurrency_and_follows_the_rate() {
        let of = |parts, concurrency| prefetch(&rate(parts).into(), concurrency).now();
        assert_eq!([of(0.01, 16), of(3.0, 16), of(20.0, 16)], [1, 6, 16]);
        assert_eq!([of(10_000.0, 10_000), of(20.0, 1)], [10_000, 1]);
        let rate_of = LiveRate::from(rate(0.01));
        let prefetch = prefetch(&rate_of, 16);
        rate_of.set(rate(3.0));
        assert_eq!((prefetch.now(), prefetch.most()), (6, 16));
    }
}
