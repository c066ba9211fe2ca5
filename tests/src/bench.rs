//! How fast the gateway is, beside what the same work costs at the least: the floors of `src/bin/floor.rs`.
//!
//! A [`Section`] is a list of [cases](case). Each subject is started anew for each measurement, and all cases of a section are
//! measured in turn, so that a slow hour of the machine meets all alike. Compare ratios: client, broker, services and sink
//! share the cores.

mod case;

mod meter;

mod load;

mod sink;

mod site;

mod fill;

mod flow;

mod accepts;

mod open;

mod round_trips;

mod lone;

mod backends;

mod apps;

mod slow;

mod memory;

mod waiting;

mod growth;

mod targets;

mod report;

mod chart;

mod machine;

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;

use crate::Broker;

use self::case::{Case, Results};
pub use self::chart::draw;
pub use self::report::Report;

/// How many messages are turned round for each second of a measurement.
const ROUND_TRIPS: u64 = 6000;

/// What can be chosen, in the order in which it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// Requests that are answered 200, each connection again when it is answered.
    Accepts,
    /// The same at fixed rates.
    Open,
    /// From the request until the provider has the reply.
    RoundTrips,
    /// One message at a time.
    Lone,
    /// Up to 500 backends, and how long a start takes.
    Backends,
    /// Routing through up to 100 apps.
    Apps,
    /// One slow provider among others.
    Slow,
    /// A million messages in the queue.
    Waiting,
    /// How cost grows with size, connections, backends, apps, depth, concurrency and dispatchers.
    Growth,
    /// How much memory is held, and whether it stays.
    Memory,
}

impl Section {
    fn cases(self) -> Vec<Case> {
        match self {
            Self::Accepts => accepts::cases(),
            Self::Open => open::cases(),
            Self::RoundTrips => round_trips::cases(),
            Self::Lone => lone::cases(),
            Self::Backends => backends::cases(),
            Self::Apps => apps::cases(),
            Self::Slow => slow::cases(),
            Self::Waiting => waiting::cases(),
            Self::Growth => growth::cases(),
            Self::Memory => memory::cases(),
        }
    }

    /// What takes long to prepare is measured less often, and what is long by itself once.
    fn rounds(self, rounds: usize) -> usize {
        match self {
            Self::Backends | Self::Waiting => rounds.div_ceil(2),
            Self::Growth => rounds.div_ceil(3),
            Self::Memory => 1,
            Self::Accepts | Self::Open | Self::RoundTrips | Self::Lone | Self::Apps | Self::Slow => rounds,
        }
    }
}

/// How much is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The sections; none are all.
    pub only: Vec<Section>,
    /// How long one measurement takes.
    pub seconds: f64,
    /// How often each is made; the medians are told.
    pub rounds: usize,
    /// How long it is looked whether memory grows.
    pub minutes: f64,
}

impl Options {
    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// How many messages are turned round, which takes about as long.
    fn round_trips(&self) -> u64 {
        self.time().as_secs().max(1) * ROUND_TRIPS
    }
}

/// What a case is measured with.
struct Bench {
    broker: Broker,
    options: Options,
}

/// Measures the sections.
pub async fn run(options: Options) -> Result<Report> {
    crate::processes::allow_many_connections()?;
    let sections = Section::value_variants();
    let chosen = sections.iter().filter(|it| options.only.is_empty() || options.only.contains(it));
    let (mut results, mut machine, begun) = (Results::default(), None, Instant::now());
    for section in chosen {
        // Anew: what one section has left in a broker is no other's business.
        let broker = Broker::start().await.context("the broker of the benchmark")?;
        let bench = Bench { broker, options: options.clone() };
        machine = machine.or(Some(machine::look(&bench.broker)?));
        let cases: Vec<Case> = section.cases().into_iter().filter(|case| !results.has(case.key)).collect();
        for round in 0..section.rounds(options.rounds) {
            for Case { key, measure } in &cases {
                let seconds = begun.elapsed().as_secs();
                writeln!(stderr(), "{seconds:5} s: {section:?}, round {}: {key}", round + 1)?;
                results.extend(measure(&bench).await.with_context(|| key.to_string())?);
            }
        }
    }
    Ok(Report::new(machine.context("no section")?, options, &results))
}
