//! The parts that this process sent in the last minutes, so that a message that is delivered again is not sent again.
//!
//! Best effort, in memory, of this process alone: what a crash forgets is sent twice, with the same id.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shared::message::MessageId;
use tokio::time::Instant;

/// How long a part is remembered.
const KEPT: Duration = Duration::from_secs(10 * 60);

/// How many parts are remembered at most: about 10 MiB.
const MAX_KEPT: usize = 100_000;

/// The parts sent lately.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Parts>);

#[derive(Default)]
struct Parts {
    ids: HashSet<MessageId>,
    oldest_first: VecDeque<(Instant, MessageId)>,
}

impl Recent {
    /// Whether the part was sent lately.
    pub(crate) fn has(&self, id: MessageId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ids.contains(&id)
    }

    /// Remembers a part that was sent at `now`.
    pub(crate) fn remember(&self, id: MessageId, now: Instant) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.ids.insert(id) {
            parts.oldest_first.push_back((now, id));
        }
        while parts.oldest_first.front().is_some_and(|(sent, _)| {
            parts.oldest_first.len() > MAX_KEPT || now.saturating_duration_since(*sent) > KEPT
        }) {
            if let Some((_, oldest)) = parts.oldest_first.pop_front() {
                parts.ids.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_remembered_for_its_time() {
        let (recent, start) = (Recent::default(), Instant::now());
        let (first, second) = (MessageId::new(), MessageId::new());
        recent.remember(first, start);
        recent.remember(second, start + KEPT);
        assert!(recent.has(first) && recent.has(second));
        recent.remember(MessageId::new(), start + KEPT + Duration::from_millis(1));
        assert!(!recent.has(first) && recent.has(second));
    }

    #[test]
    fn memory_is_bounded() {
        let (recent, now) = (Recent::default(), Instant::now());
        let first = MessageId::new();
        recent.remember(first, now);
        for _ in 0..MAX_KEPT {
            recent.remember(MessageId::new(), now);
        }
        assert!(!recent.has(first));
        assert_eq!(recent.0.lock().unwrap().ids.len(), MAX_KEPT);
    }
}
