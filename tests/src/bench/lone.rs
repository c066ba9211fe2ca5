//! One message at a time: from its request until the provider has the reply.

use std::time::Instant;

use anyhow::Result;
use futures_util::FutureExt;
use hdrhistogram::Histogram;

use super::Bench;
use super::case::{Case, Group, Measure, Subject, Values};
use super::load::{Caller, latency};
use super::sink::Sink;
use super::site::{DEADLINE, Running, Site, WARM};

pub(super) static GROUP: Group = Group { name: "lone", axis: "", plot: &[&[Measure::P50Ms, Measure::P99Ms]] };

pub(super) fn cases() -> Vec<Case> {
    [Subject::Prototype, Subject::Pair, Subject::Standalone].map(case).into()
}

fn case(subject: Subject) -> Case {
    let key = GROUP.key(0, subject);
    Case::new(key, move |bench| async move { Ok(vec![(key, measure(bench, subject).await?)]) }.boxed_local())
}

async fn measure(bench: &Bench, subject: Subject) -> Result<Values> {
    let sink = Sink::start().await?;
    let running = Running::start(&Site::whole(subject, &sink), &bench.broker).await?;
    let mut caller = Caller::connect(running.load(1)?).await?;
    let (mut micros, begun, mut count) = (Histogram::<u64>::new(3)?, Instant::now(), 0);
    let mut meter = running.meter()?;
    while begun.elapsed() < WARM + bench.options.time() {
        let asked = Instant::now();
        caller.ask(count).await?;
        count += 1;
        let arrived = sink.reach(count, DEADLINE).await?;
        if asked - begun < WARM {
            meter = running.meter()?;
        } else {
            micros.record(u64::try_from((arrived - asked).as_micros())?)?;
        }
    }
    let mut values = latency(&micros);
    values.extend(meter.costs(micros.len())?);
    running.clear().await?;
    Ok(values)
}
