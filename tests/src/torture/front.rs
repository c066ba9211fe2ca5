//! What the clients know of one ingress: where it listens, and when nobody may expect an answer of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::script::lock;

/// The most requests that wait for one ingress; a client with so many open tries another.
const MOST_WAITING: usize = 200;

/// One ingress, as its clients see it.
#[derive(Default)]
pub(super) struct Front {
    url: Mutex<Option<String>>,
    /// When it was frozen or dead: from, and to unless that goes on.
    excuses: Mutex<Vec<(Instant, Option<Instant>)>>,
    waiting: AtomicUsize,
}

impl Front {
    /// Where to post, unless nobody listens there or too many wait already.
    pub(super) fn url(&self) -> Option<String> {
        let room = self.waiting.load(Ordering::Relaxed) < MOST_WAITING;
        lock(&self.url).clone().filter(|_| room)
    }

    /// It listens here, or nowhere.
    pub(super) fn listens(&self, url: Option<String>) {
        *lock(&self.url) = url;
    }

    /// From now on it cannot answer.
    pub(super) fn excuse(&self) {
        lock(&self.excuses).push((Instant::now(), None));
    }

    /// From now on it can.
    pub(super) fn expect(&self) {
        if let Some((_, end)) = lock(&self.excuses).last_mut() {
            *end = Some(Instant::now());
        }
    }

    /// Whether it could not answer at any time from `begun` until now.
    pub(super) fn was_excused(&self, begun: Instant) -> bool {
        lock(&self.excuses).iter().any(|(_, end)| end.is_none_or(|end| end >= begun))
    }

    /// Counts a request as waiting until the guard is dropped.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }
}

/// A request that waits for its answer.
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
