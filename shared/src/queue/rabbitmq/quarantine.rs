//! After the death of a process: which deliveries to consumers on probation are handed over, and which are held. Pure.
//!
//! Any message that was delivered before is a suspect: one of them may have killed the process. Were the suspects of several
//! queues handed over together, the next death would take all of them along, and the broker would count it against each. So
//! one is out at a time, whichever queue it is from. Every death counts against what is held, too: a random order lets the
//! innocent ones through long before the broker takes them for poison.

use std::time::{Duration, Instant};

/// How long the suspects of all queues may take to arrive, before the first one is chosen.
const GATHER: Duration = Duration::from_millis(250);

/// After this time the others do not wait for a suspect: it may be a backend that is slow, or paused.
const PATIENCE: Duration = Duration::from_secs(1);

/// A delivery of a session: the number of its queue, and its tag.
pub(super) type Id = (usize, u64);

/// What is held of a session, and which suspect is out.
#[derive(Debug)]
pub(super) struct Quarantine<D> {
    began: Instant,
    out: Option<(Id, Instant)>,
    suspects: Vec<(Id, D)>,
    /// What was not delivered before.
    fresh: Vec<(Id, D)>,
}

impl<D> Quarantine<D> {
    /// For a session that begins.
    pub(super) fn new(began: Instant) -> Self {
        Self { began, out: None, suspects: Vec::new(), fresh: Vec::new() }
    }

    /// Takes a delivery to a consumer on probation, until it is released.
    pub(super) fn hold(&mut self, id: Id, redelivered: bool, delivery: D) {
        let held = if redelivered { &mut self.suspects } else { &mut self.fresh };
        held.push((id, delivery));
    }

    /// Whether anything waits to be released.
    pub(super) fn holds_some(&self) -> bool {
        !self.suspects.is_empty() || !self.fresh.is_empty()
    }

    /// Notes that a delivery is settled.
    pub(super) fn settled(&mut self, id: Id) {
        self.out.take_if(|(out, _)| *out == id);
    }

    /// What is to be handed over at this time: one suspect, or, when there is none, all others.
    pub(super) fn release(&mut self, now: Instant) -> Vec<(Id, D)> {
        if self.out.is_some_and(|(_, since)| now.duration_since(since) < PATIENCE) {
            return Vec::new();
        }
        if self.suspects.is_empty() {
            return std::mem::take(&mut self.fresh);
        }
        if now.duration_since(self.began) < GATHER {
            return Vec::new();
        }
        let chosen = self.suspects.swap_remove(fastrand::usize(..self.suspects.len()));
        self.out = Some((chosen.0, now));
        vec![chosen]
    }

    /// Gives up all that is held.
    pub(super) fn end(self) -> Vec<(Id, D)> {
        self.suspects.into_iter().chain(self.fresh).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn after_gathering() -> (Quarantine<()>, Instant) {
        let began = Instant::now();
        (Quarantine::new(began), began + GATHER)
    }

    fn ids(released: Vec<(Id, ())>) -> Vec<Id> {
        released.into_iter().map(|(id, ())| id).collect()
    }

    #[test]
    fn without_a_suspect_nothing_waits() {
        let mut quarantine = Quarantine::new(Instant::now());
        let began = quarantine.began;
        quarantine.hold((0, 1), false, ());
        quarantine.hold((1, 1), false, ());
        assert_eq!(ids(quarantine.release(began)), [(0, 1), (1, 1)]);
        quarantine.hold((0, 2), false, ());
        assert_eq!(ids(quarantine.release(began)), [(0, 2)]);
    }

    #[test]
    fn the_first_suspect_waits_for_those_of_the_other_queues() {
        let (mut quarantine, gathered) = after_gathering();
        quarantine.hold((0, 1), true, ());
        quarantine.hold((1, 1), false, ());
        assert_eq!(ids(quarantine.release(quarantine.began + GATHER / 2)), []);
        assert_eq!(ids(quarantine.release(gathered)), [(0, 1)]);
        quarantine.settled((0, 1));
        quarantine.release(gathered);
        quarantine.hold((0, 2), true, ());
        assert_eq!(ids(quarantine.release(gathered)), [(0, 2)], "at once");
    }

    #[test]
    fn one_suspect_is_out_at_a_time_and_the_fresh_ones_come_last() {
        let (mut quarantine, now) = after_gathering();
        quarantine.hold((2, 7), false, ());
        quarantine.hold((0, 1), true, ());
        quarantine.hold((1, 1), true, ());
        let first = ids(quarantine.release(now));
        assert_eq!((first.len(), ids(quarantine.release(now))), (1, vec![]));
        quarantine.settled((2, 6));
        assert_eq!(ids(quarantine.release(now)), []);
        quarantine.settled(first[0]);
        let second = ids(quarantine.release(now));
        assert_eq!(BTreeSet::from([first[0], second[0]]), BTreeSet::from([(0, 1), (1, 1)]));
        assert_eq!(ids(quarantine.release(now)), []);
        quarantine.settled(second[0]);
        assert_eq!(ids(quarantine.release(now)), [(2, 7)]);
    }

    #[test]
    fn nobody_waits_for_a_slow_one_for_long() {
        let (mut quarantine, now) = after_gathering();
        quarantine.hold((0, 1), true, ());
        quarantine.release(now);
        quarantine.hold((1, 1), true, ());
        quarantine.hold((2, 1), false, ());
        assert_eq!(ids(quarantine.release(now + PATIENCE / 2)), []);
        assert_eq!(ids(quarantine.release(now + PATIENCE)), [(1, 1)]);
        quarantine.settled((0, 1));
        assert_eq!(ids(quarantine.release(now + PATIENCE)), [], "the later one is out");
        assert_eq!(ids(quarantine.release(now + PATIENCE * 2)), [(2, 1)]);
    }

    #[test]
    fn any_suspect_may_be_the_first() {
        let firsts: BTreeSet<Id> = (0..200)
            .flat_map(|_| {
                let (mut quarantine, now) = after_gathering();
                (0..3).for_each(|queue| quarantine.hold((queue, 1), true, ()));
                ids(quarantine.release(now))
            })
            .collect();
        assert_eq!(firsts.len(), 3);
    }
}
