//! A power cut in the middle of a write: the log ends in a frame that is not whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    io::{Seek, SeekFrom, Write},
};

use super::*;

/// How the end of the log is damaged.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// It is not there.
    Cut,
    /// Something else is there.
    Garbled,
    /// One bit is another.
    Flipped,
}

/// What was known to be durable when the log had a length.
#[derive(Clone, Copy, Debug)]
enum Event {
    Published(u32),
    HandedOut(u32),
    Done(u32),
}

struct Recording {
    place: Place,
    events: Vec<(u64, Event)>,
}

impl Recording {
    fn log(&self) -> PathBuf {
        self.place.0.path().join("gateway.db-wal")
    }

    fn note(&mut self, event: Event) {
        self.events.push((fs::metadata(self.log()).unwrap().len(), event));
    }

    /// Publishes, hands out and settles, and notes how long the log is when each of it is durable.
    async fn make() -> Self {
        let lifecycle = Lifecycle::default();
        let mut made = Self { place: Place::new(), events: Vec::new() };
        let queue = made.place.open(&lifecycle);
        for id in 0..12 {
            publish(&queue, [id]).await;
            made.note(Event::Published(id));
        }
        let mut deliveries = consume(&queue, outgoing(), 3);
        for id in 0..6 {
            let delivery = next(&mut deliveries).await;
            made.note(Event::HandedOut(id));
            done(delivery).await;
            made.place.counts(&format!("id = '{id}'"), 0).await;
            made.note(Event::Done(id));
            publish(&queue, [id + 12]).await;
            made.note(Event::Published(id + 12));
        }
        // As the files are while the process lives.
        made.place = made.place.crashed();
        made
    }

    /// What must be there, and whether it was handed out, when the log is whole up to `offset`.
    fn durable(&self, offset: u64) -> (BTreeMap<u32, bool>, BTreeSet<u32>) {
        let (mut there, mut gone) = (BTreeMap::new(), BTreeSet::new());
        for (_, event) in self.events.iter().filter(|(length, _)| *length <= offset) {
            match event {
                Event::Published(id) => drop(there.insert(*id, false)),
                Event::HandedOut(id) => drop(there.insert(*id, true)),
                Event::Done(id) => {
                    there.remove(id);
                    gone.insert(*id);
                }
            }
        }
        (there, gone)
    }
}

fn damage(log: &Path, offset: u64, damage: Damage) {
    let mut bytes = fs::read(log).unwrap();
    let at = usize::try_from(offset).unwrap();
    match damage {
        Damage::Cut => bytes.truncate(at),
        Damage::Garbled => bytes[at..].fill(0x5a),
        Damage::Flipped => bytes[at] ^= 0x10,
    }
    let mut file = OpenOptions::new().write(true).truncate(true).open(log).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(&bytes).unwrap();
}

#[tokio::test]
async fn a_torn_log_keeps_what_was_confirmed_before_the_tear_and_repeats_nothing_as_new() {
    let recording = Recording::make().await;
    let whole = fs::metadata(recording.log()).unwrap().len();
    let ends: BTreeSet<u64> = recording.events.iter().map(|(length, _)| *length).collect();
    assert!(ends.len() > 20, "the events share their commits: {ends:?}");
    for (turn, end) in ends.iter().rev().enumerate() {
        let kind = [Damage::Cut, Damage::Garbled, Damage::Flipped][turn % 3];
        // In the header of the frame after the end, in the middle of it, and one byte before the end.
        for offset in [end + 3, end + 2000, end - 1] {
            if offset < whole {
                check(&recording, offset, kind).await;
            }
        }
    }
}

async fn check(recording: &Recording, offset: u64, kind: Damage) {
    let (must, gone) = recording.durable(offset);
    let torn = recording.place.crashed();
    damage(&torn.0.path().join("gateway.db-wal"), offset, kind);
    let lifecycle = Lifecycle::default();
    let queue = torn.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 100);
    let mut found = BTreeMap::new();
    for _ in 0..torn.count("true") {
        let delivery = next(&mut deliveries).await;
        let id: u32 = id(&delivery).parse().unwrap();
        assert!(!gone.contains(&id), "{id} was done with before {offset}, {kind:?}");
        assert_eq!(found.insert(id, delivery.redelivered), None, "{id} came twice at {offset}, {kind:?}");
        done(delivery).await;
    }
    for (id, handed_out) in must {
        let redelivered = found.get(&id);
        assert!(redelivered.is_some(), "{id} is lost at {offset}, {kind:?}");
        assert!(redelivered == Some(&true) || !handed_out, "{id} came as new at {offset}, {kind:?}");
    }
    queue.close().await;
}
