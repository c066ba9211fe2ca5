//! What to tell the broker of deliveries that were settled in any order: as few acknowledgements as can be, and each of them
//! before the channel is closed.

use std::collections::BTreeSet;

use lapin::{
    Channel,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::{FieldTable, ShortString},
};

/// Waits until the queue has every acknowledgement of the channel, which must be done before the channel is closed.
///
/// A channel of RabbitMQ hands a quorum queue 32 commands at a time. While it waits for their notices it keeps further
/// acknowledgements, and when it is closed it forgets them: the messages would be delivered again. It passes on what it keeps
/// when a notice comes. To begin to consume and to cancel that are commands too, whose answers come from the queue, in order:
/// the first means that the queue has all commands that it was handed before; the second, that the notices of these have
/// reached the channel, so that it passes on what it kept before it hears of its end.
pub(super) async fn pass_on(channel: &Channel, queue: &ShortString, tag: ShortString) -> lapin::Result<()> {
    channel.basic_qos(1, BasicQosOptions::default()).await?;
    let (consume, cancel) = (BasicConsumeOptions::default(), BasicCancelOptions::default());
    let consumer = channel.basic_consume(queue.clone(), tag.clone(), consume, FieldTable::default()).await?;
    channel.basic_cancel(tag, cancel).await?;
    // At most one message was delivered, and goes back with the others when the channel is closed.
    drop(consumer);
    Ok(())
}

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

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
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
