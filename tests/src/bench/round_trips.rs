//! From the first request until the provider has the last reply.

use std::time::Instant;

use anyhow::Result;
use futures_util::FutureExt;

use super::case::{Case, Group, Measure, Subject, Values};
use super::load::{Load, Pace};
use super::meter::float;
use super::sink::Sink;
use super::site::{DEADLINE, Running, Site};

/// How many connections post what is turned round.
pub(super) const CONNECTIONS: usize = 64;

pub(super) static GROUP: Group = Group { name: "round trips", axis: "", plot: &[&[Measure::PerSecond]] };

pub(super) fn cases() -> Vec<Case> {
    [Subject::Prototype, Subject::Pair, Subject::Standalone].map(case).into()
}

fn case(subject: Subject) -> Case {
    let key = GROUP.key(0, subject);
    Case::new(key, move |bench| {
        async move {
            let sink = Sink::start().await?;
            let running = Running::start(&Site::whole(subject, &sink), &bench.broker).await?;
            let load = running.load(CONNECTIONS)?;
            let values = turn_round(&running, &load, &sink, bench.options.round_trips()).await?;
            running.clear().await?;
            Ok(vec![(key, values)])
        }
        .boxed_local()
    })
}

/// How many are turned round a second, and what they cost; the latency is that of the request. Where messages were waiting,
/// others arrive than are accepted, and more or fewer: each of either is half a round trip.
pub(super) async fn turn_round(running: &Running, load: &Load, sink: &Sink, count: u64) -> Result<Values> {
    let before = sink.count();
    let warm = load.post(Pace::Most(count / 10), DEADLINE).await?;
    sink.reach(before + warm.accepted, DEADLINE).await?;
    let (meter, before, begun) = (running.meter()?, sink.count(), Instant::now());
    let posted = load.post(Pace::Most(count), DEADLINE).await?;
    sink.reach(before + posted.accepted, DEADLINE).await?;
    let (took, turned) = (begun.elapsed(), (posted.accepted + sink.count() - before) / 2);
    let mut values = posted.values();
    values.insert(Measure::PerSecond, float(turned) / took.as_secs_f64());
    values.extend(meter.costs(turned)?);
    Ok(values)
}
