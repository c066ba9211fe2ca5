//! Measures how fast the gateway is beside its floors, and prints the ratios and whether the targets are met.

use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use integration_tests::bench::{self, Options, Section};

/// Measures the services and the floors in turn, on a private broker, and prints the medians. Build everything first:
/// `cargo build --release --workspace --bins`.
#[derive(Parser)]
struct Arguments {
    /// The sections to measure, separated by commas; all when it is not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Section>,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// How often each is measured; half as often what takes long to prepare, and once what is long by itself.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long it is looked whether memory grows.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Where to write all measurements as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// The folder for the charts.
    #[arg(long)]
    charts: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { only, seconds, rounds, minutes, json, charts } = Arguments::parse();
    let options = Options { only, seconds: seconds.max(1.0), rounds: rounds.max(1), minutes };
    let report = bench::run(options).await?;
    write!(stdout(), "{report}")?;
    if let Some(file) = json {
        serde_json::to_writer_pretty(File::create(file)?, &report)?;
    }
    if let Some(folder) = charts {
        bench::draw(&report, &folder)?;
    }
    Ok(())
}
