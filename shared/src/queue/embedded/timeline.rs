//! The queue's own time, which never goes back: a clock that is set must neither hide messages nor reorder them.

use std::time::{Duration, Instant};

use crate::clock;

/// Milliseconds since the Unix epoch, as far as the clock was right when the file was opened.
pub(super) struct Timeline {
    start: i64,
    since: Instant,
}

impl Timeline {
    /// Begins now, or at `floor` when the clock is behind what the file has seen already.
    pub(super) fn beginning_after(floor: i64) -> Self {
        let now = i64::try_from(clock::now().0).unwrap_or(i64::MAX);
        Self { start: now.max(floor), since: Instant::now() }
    }

    /// The time.
    pub(super) fn now(&self) -> i64 {
        self.start.saturating_add(millis(self.since.elapsed()))
    }

    /// How long it is until `due`.
    pub(super) fn until(&self, due: i64) -> Duration {
        let left = due.saturating_sub(self.now());
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

/// A duration as the file has it.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_does_not_hide_what_is_due() {
        let seen = i64::try_from(clock::now().0).unwrap() + 3_600_000;
        let timeline = Timeline::beginning_after(seen);
        assert!(timeline.now() >= seen);
        assert_eq!(timeline.until(seen), Duration::ZERO);
        assert!(timeline.until(seen + 60_000) <= Duration::from_secs(60));
    }

    #[test]
    fn without_a_past_it_is_the_clock() {
        let before = i64::try_from(clock::now().0).unwrap();
        assert!(Timeline::beginning_after(0).now() >= before);
    }
}
