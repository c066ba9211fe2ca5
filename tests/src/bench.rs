//! How fast the gateway is, beside what the same work costs at the least: the floors of `src/bin/floor.rs`.
//!
//! Each subject is started anew for each measurement, and all are measured in turn, so that a slow hour of the machine meets
//! all alike. Compare ratios: client, broker, services and sink share the cores.

mod load;
mod meter;
mod report;
mod subject;

use std::time::Duration;

use anyhow::{Context, Result};

use crate::Broker;

use self::report::Measurement;
pub use self::report::Report;
use self::subject::{Subject, measure_accepts, measure_round_trips};

/// How many connections post at a time.
const CONNECTIONS: [usize; 3] = [32, 256, 1024];

/// How many messages are turned round.
const ROUND_TRIPS: u64 = 40_000;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Options {
    /// How long one measurement of accepts takes.
    pub time: Duration,
    /// How often each is made; the medians are told.
    pub rounds: usize,
}

/// Measures everything.
pub async fn run(options: Options) -> Result<Report> {
    crate::processes::allow_many_connections()?;
    let broker = Broker::start().await.context("the broker of the benchmark")?;
    let mut measurements = Vec::new();
    for _ in 0..options.rounds {
        for connections in CONNECTIONS {
            for subject in [Subject::Form, Subject::Prototype, Subject::Pair] {
                let measured = measure_accepts(subject, &broker, connections, options.time).await;
                measurements.push(measured.with_context(|| format!("{subject:?} at {connections}"))?);
            }
        }
        for subject in [Subject::Prototype, Subject::Pair, Subject::Standalone] {
            let measured = measure_round_trips(subject, &broker, ROUND_TRIPS).await;
            measurements.push(measured.with_context(|| format!("{subject:?}, round trips"))?);
        }
    }
    Ok(Report::new(&measurements))
}
