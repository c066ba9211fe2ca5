//! One slow provider among others, at full load: what the others are sent.

use std::time::Duration;

use anyhow::Result;
use futures_util::FutureExt;
use tokio::try_join;

use super::Bench;
use super::accepts::CLOSED;
use super::case::{Case, Group, Measure, Subject, Values};
use super::flow::arrivals;
use super::sink::Sink;
use super::site::{Running, Site, WARM};

/// How long a slow provider takes.
const SLOW: Duration = Duration::from_secs(2);

const BACKENDS: usize = 5;

const CONNECTIONS: usize = 256;

pub(super) static GROUP: Group =
    Group { name: "slow provider", axis: "slow beside them", plot: &[&[Measure::PerSecond]] };

pub(super) fn cases() -> Vec<Case> {
    [0, 1].map(case).into()
}

fn case(slow: u64) -> Case {
    let key = GROUP.key(slow, Subject::Pair);
    let aside = if slow > 0 { SLOW } else { Duration::ZERO };
    Case::new(key, move |bench| async move { Ok(vec![(key, measure(bench, aside).await?)]) }.boxed_local())
}

async fn measure(bench: &Bench, aside: Duration) -> Result<Values> {
    let (sink, time) = (Sink::start().await?, bench.options.time());
    let site = Site { backends: BACKENDS, aside: Some(aside), ..Site::whole(Subject::Pair, &sink) };
    let running = Running::start(&site, &bench.broker).await?;
    let load = running.load(CONNECTIONS)?;
    let posting = load.post(CLOSED, WARM + time);
    let (mut values, _posted) = try_join!(arrivals(&running, &sink, time, u64::MAX), posting)?;
    running.clear().await?;
    // More is taken in than sent, and more is sent than counted.
    values.retain(|measure, _| !matches!(measure, Measure::CpuUs(_)));
    Ok(values)
}
