//! What arrives at the provider while a time passes.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::time::sleep;

use super::case::{Measure, Values};
use super::meter::float;
use super::sink::Sink;
use super::site::{Running, WARM};

/// How many arrive a second, once it flows, within `time`, or until all of `most` have; and what they cost.
pub(super) async fn arrivals(running: &Running, sink: &Sink, time: Duration, most: u64) -> Result<Values> {
    sleep(WARM).await;
    let (meter, before, begun) = (running.meter()?, sink.count(), Instant::now());
    let end = sink.reach(most, time).await.unwrap_or_else(|_not_all| Instant::now());
    let arrived = sink.count() - before;
    let mut values = meter.costs(arrived)?;
    values.insert(Measure::PerSecond, float(arrived) / (end - begun).as_secs_f64());
    Ok(values)
}
