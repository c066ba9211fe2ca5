//! What to tell the broker of deliveries that were settled in any order: as few acknowledgements as can be. Pure.
//!
//! A quorum queue takes about thirty at a time from a channel. More are kept by the channel for later, and forgotten when it
//! is closed.

use std::{collections::BTreeSet, time::Duration};

/// How long the broker has for the last acknowledgements before their channel is closed. No answer tells when it has passed
/// them on.
pub(super) const SETTLE: Duration = Duration::from_millis(300);

/// The deliveries of one channel that are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Outstanding(BTreeSet<u64>);

/// One acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    /// Whether it stands for all earlier ones.
    pub(super) multiple: bool,
}

impl Outstanding {
    /// Notes a delivery. Tags only grow.
    pub(super) fn deliver(&mut self, tag: u64) {
        self.0.insert(tag);
    }

    /// Notes that these are settled, and gives what to acknowledge.
    pub(super) fn settle(&mut self, tags: &[u64]) -> Vec<Ack> {
        for tag in tags {
            self.0.remove(tag);
        }
        let oldest = self.0.first().copied().unwrap_or(u64::MAX);
        let (before, after): (Vec<u64>, Vec<u64>) = tags.iter().partition(|tag| **tag < oldest);
        let all_before = before.into_iter().max().map(|tag| Ack { tag, multiple: true });
        let each_after = after.into_iter().map(|tag| Ack { tag, multiple: false });
        all_before.into_iter().chain(each_after).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_acknowledgement_stands_for_all_that_are_older() {
        let mut outstanding = Outstanding::default();
        (1..=6).for_each(|tag| outstanding.deliver(tag));
        assert_eq!(outstanding.settle(&[3, 5]), [3, 5].map(|tag| Ack { tag, multiple: false }));
        let (two, six) = (Ack { tag: 2, multiple: true }, Ack { tag: 6, multiple: false });
        assert_eq!(outstanding.settle(&[6, 2, 1]), [two, six]);
        assert_eq!(outstanding.settle(&[4]), [Ack { tag: 4, multiple: true }]);
        assert_eq!(outstanding.settle(&[]), []);
    }

    proptest! {
        /// As a broker reads them: nothing that is out is acknowledged, nothing that is settled is forgotten.
        #[test]
        fn exactly_what_is_settled_is_acknowledged(order in Just((1..60_u64).collect::<Vec<_>>()).prop_shuffle(),
                                                   sizes in prop::collection::vec(1..10_usize, 60)) {
            let mut broker: BTreeSet<u64> = (1..60).collect();
            let mut outstanding = Outstanding(broker.clone());
            let mut out = broker.clone();
            let mut rest = &order[..];
            for size in sizes {
                let (batch, left) = rest.split_at(size.min(rest.len()));
                rest = left;
                out.retain(|tag| !batch.contains(tag));
                for Ack { tag, multiple } in outstanding.settle(batch) {
                    prop_assert!(broker.contains(&tag) || multiple);
                    broker.retain(|other| if multiple { *other > tag } else { *other != tag });
                }
                prop_assert_eq!(&broker, &out);
            }
        }
    }
}
