//! How cost grows with each size. What another section measures as well is not measured twice.

use std::time::Duration;

use futures_util::FutureExt;

use super::accepts::{self, CLOSED, post};
use super::case::{Case, Group, Measure, Subject};
use super::flow::arrivals;
use super::meter::float;
use super::round_trips::{self, turn_round};
use super::sink::Sink;
use super::site::{Running, Site};
use super::{apps, backends, waiting};

/// Characters of a text; the last is as long as ingress allows by default.
const CHARACTERS: [usize; 4] = [20, 160, 1000, 10_000];

const CONNECTIONS: [usize; 5] = [1, 4, 16, 64, 2048];

const DEPTHS: [u64; 2] = [10_000, 100_000];

const CONCURRENCIES: [u16; 5] = [1, 4, 16, 64, 300];

const DISPATCHERS: [usize; 4] = [1, 2, 3, 4];

/// More than are sent in a second by two cores.
const PLENTY: f64 = 12_000.0;

/// How many seconds a flow takes beside the time in which it is measured.
const AROUND: f64 = 3.0;

/// How long a provider takes that is far away.
const FAR: Duration = Duration::from_millis(50);

static ACCEPTS_BY_SIZE: Group =
    Group { name: "accepts by size", axis: "characters", plot: &[&[Measure::PerSecond]] };

static ROUND_TRIPS_BY_SIZE: Group =
    Group { name: "round trips by size", axis: "characters", plot: &[&[Measure::PerSecond]] };

static NEAR_CONCURRENCY: Group =
    Group { name: "sent by concurrency", axis: "calls at a time", plot: &[&[Measure::PerSecond]] };

static FAR_CONCURRENCY: Group = Group {
    name: "sent by concurrency to a provider of 50 ms",
    axis: "calls at a time",
    plot: &[&[Measure::PerSecond]],
};

static FAR_DISPATCHERS: Group = Group {
    name: "sent by dispatchers to a provider of 50 ms",
    axis: "dispatchers",
    plot: &[&[Measure::PerSecond]],
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = CHARACTERS.map(by_size).into();
    cases.extend(CONNECTIONS.map(|connections| accepts::at(connections, Subject::Pair)));
    cases.extend(accepts::cases().into_iter().filter(|case| case.key.subject == Subject::Pair));
    cases.extend(backends::cases());
    cases.extend(apps::cases());
    cases.push(apps::at(1000));
    let with = |group, delay| CONCURRENCIES.map(|count| flow(group, count.into(), delay, count, 1));
    cases.extend(with(&NEAR_CONCURRENCY, Duration::ZERO));
    cases.extend(with(&FAR_CONCURRENCY, FAR));
    cases.extend(DISPATCHERS.map(|count| flow(&FAR_DISPATCHERS, count as u64, FAR, 64, count)));
    // The last, for a broker is busy for some time when a million messages are gone.
    cases.extend(DEPTHS.map(|depth| waiting::case(depth, Subject::Pair)));
    cases.extend(waiting::cases().into_iter().filter(|case| case.key.subject == Subject::Pair));
    cases
}

fn by_size(characters: usize) -> Case {
    let key = move |group: &'static Group| group.key(characters as u64, Subject::Pair);
    Case::new(key(&ACCEPTS_BY_SIZE), move |bench| {
        async move {
            let (sink, count) = (Sink::start().await?, bench.options.round_trips() / 2);
            let mut running = Running::start(&Site::whole(Subject::Pair, &sink), &bench.broker).await?;
            let mut load = running.load(round_trips::CONNECTIONS)?;
            load.characters = characters;
            let turned = turn_round(&running, &load, &sink, count).await?;
            running.stop_dispatchers().await?;
            load.connections = 256;
            let accepted = post(&running, &load, CLOSED, bench.options.time()).await?;
            running.clear().await?;
            Ok(vec![(key(&ACCEPTS_BY_SIZE), accepted), (key(&ROUND_TRIPS_BY_SIZE), turned)])
        }
        .boxed_local()
    })
}

/// What flows out of a queue that is full, with nobody who posts.
fn flow(group: &'static Group, at: u64, delay: Duration, concurrency: u16, dispatchers: usize) -> Case {
    let key = group.key(at, Subject::Pair);
    Case::new(key, move |bench| {
        async move {
            let sink = Sink::start().await?;
            let whole = Site::whole(Subject::Pair, &sink);
            let waiting = enough(bench.options.seconds, delay, usize::from(concurrency) * dispatchers);
            let site = Site { delay, concurrency, dispatchers, waiting, ..whole };
            let running = Running::start(&site, &bench.broker).await?;
            let values = arrivals(&running, &sink, bench.options.time(), waiting).await?;
            running.clear().await?;
            Ok(vec![(key, values)])
        }
        .boxed_local()
    })
}

/// As many messages as so many calls at a time may need.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some thousands")]
fn enough(seconds: f64, delay: Duration, calls: usize) -> u64 {
    let most = float(calls as u64) / delay.as_secs_f64();
    (most.min(PLENTY) * (seconds + AROUND)) as u64
}
