//! How many deliveries of a queue may be unsettled at a time.

use std::{fmt, sync::Arc};

/// How many deliveries are taken from a queue before one is settled: a number, which may change while the queue is consumed.
#[derive(Clone)]
pub struct Prefetch {
    most: u16,
    now: Arc<dyn Fn() -> u16 + Send + Sync>,
}

impl Prefetch {
    /// The same number always.
    #[must_use]
    pub fn fixed(number: u16) -> Self {
        Self::following(number, move || number)
    }

    /// What `now` says each time that it is asked, from one to `most`.
    pub fn following(most: u16, now: impl Fn() -> u16 + Send + Sync + 'static) -> Self {
        Self { most: most.max(1), now: Arc::new(now) }
    }

    /// The number at this moment.
    #[must_use]
    pub fn now(&self) -> u16 {
        (self.now)().clamp(1, self.most)
    }

    /// The largest number that it can be.
    #[must_use]
    pub fn most(&self) -> u16 {
        self.most
    }
}

impl fmt::Debug for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.now(), self.most)
    }
}
