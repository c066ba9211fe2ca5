//! How much memory is held: with many messages in flight, and over a long run at a steady rate.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};
use tokio::try_join;

use super::Bench;
use super::accepts::CLOSED;
use super::case::{Case, Group, Measure, Measured, Part, Subject};
use super::flow::arrivals;
use super::load::Pace;
use super::sink::Sink;
use super::site::{DEADLINE, Running, Site};

/// How many are in flight at a time, and for how long each is.
const IN_FLIGHT: u16 = 300;
const TAKES: Duration = Duration::from_secs(1);

/// The load of the long run, of each of the two that run beside each other.
const PER_SECOND: Pace = Pace::PerSecond(1000);
const CONNECTIONS: usize = 64;

/// How long is posted as fast as it is answered before the long run: what a busy moment makes is kept for the next.
const BURST: Duration = Duration::from_secs(10);

/// How often memory is looked at.
const LOOKS: u32 = 60;

/// The first look that counts: until then memory may grow, for what was sent lately is remembered, up to a bound, and shrink.
const FIRST: u32 = 12;

pub(super) static BUSY: Group = Group { name: "memory in flight", axis: "in flight", plot: &[] };

pub(super) static OVER_TIME: Group = Group {
    name: "memory over time",
    axis: "seconds",
    plot: &[&[
        Measure::ResidentMib(Part::Ingress),
        Measure::ResidentMib(Part::Dispatcher),
        Measure::ResidentMib(Part::Gateway),
    ]],
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(BUSY.key(IN_FLIGHT.into(), Subject::Pair), |bench| busy(bench).boxed_local()),
        Case::new(OVER_TIME.key(0, Subject::Pair), |bench| over_time(bench).boxed_local()),
    ]
}

async fn busy(bench: &Bench) -> Result<Measured> {
    let (sink, waiting) = (Sink::start().await?, 10 * u64::from(IN_FLIGHT));
    let site = Site { waiting, delay: TAKES, concurrency: IN_FLIGHT, ..Site::whole(Subject::Pair, &sink) };
    let running = Running::start(&site, &bench.broker).await?;
    let values = arrivals(&running, &sink, bench.options.time(), u64::MAX).await?;
    running.clear().await?;
    Ok(vec![(BUSY.key(IN_FLIGHT.into(), Subject::Pair), values)])
}

async fn over_time(bench: &Bench) -> Result<Measured> {
    let sinks = [Sink::start().await?, Sink::start().await?];
    let pair = Running::start(&Site::whole(Subject::Pair, &sinks[0]), &bench.broker).await?;
    let gateway = Running::start(&Site::whole(Subject::Standalone, &sinks[1]), &bench.broker).await?;
    let both = [(&pair, Subject::Pair), (&gateway, Subject::Standalone)];
    let long = Duration::from_secs_f64(bench.options.minutes * 60.0);
    let loads = [pair.load(CONNECTIONS)?, gateway.load(CONNECTIONS)?];
    for (load, sink) in loads.iter().zip(&sinks) {
        let burst = load.post(CLOSED, BURST).await?;
        sink.reach(burst.accepted, DEADLINE).await?;
    }
    let looking = async {
        let (begun, mut measured) = (Instant::now(), Vec::new());
        for look in FIRST..=LOOKS {
            let at = long * look / LOOKS;
            sleep_until(begun + at).await;
            for (running, subject) in both {
                measured.push((OVER_TIME.key(at.as_secs(), subject), running.meter()?.memory()?));
            }
        }
        anyhow::Ok(measured)
    };
    let over = Duration::from_secs(1);
    let posting = loads.each_ref().map(|load| load.post(PER_SECOND, long + over));
    let [first, second] = posting;
    let (measured, _, _) = try_join!(looking, first, second)?;
    pair.clear().await?;
    Ok(measured)
}
