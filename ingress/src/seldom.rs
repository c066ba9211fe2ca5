//! What is told once a minute at most, however often it happens.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long nothing more is told.
const PAUSE: Duration = Duration::from_secs(60);

/// When it was told the last time.
#[derive(Default)]
pub(crate) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is to be told `now`; then not for a minute.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= PAUSE);
        if is_due {
            *told = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_of_each_minute_is_told() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let told = (0..1300_u64).filter(|tenth| seldom.is_due(start + Duration::from_millis(tenth * 100)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 600, 1200]);
    }
}
