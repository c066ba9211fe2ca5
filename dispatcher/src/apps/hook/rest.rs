//! A pause after a call that failed, the longer the longer it took.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many times as long as the call it is.
const TIMES: u32 = 6;

/// Until when nothing is called.
#[derive(Default)]
pub(super) struct Rest(Mutex<Option<Instant>>);

impl Rest {
    /// Begins `now`, after a call that took so long.
    pub(super) fn begin(&self, now: Instant, took: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = now.checked_add(took * TIMES);
    }

    /// Whether a call may be made `now`.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_took_long_is_followed_by_a_long_rest_and_a_short_one_by_none_to_speak_of() {
        let (rest, now) = (Rest::default(), Instant::now());
        assert!(rest.is_over(now));
        rest.begin(now, Duration::from_secs(10));
        assert!(!rest.is_over(now + Duration::from_secs(59)) && rest.is_over(now + Duration::from_secs(60)));
        rest.begin(now, Duration::from_millis(1));
        assert!(rest.is_over(now + Duration::from_millis(6)));
    }
}
