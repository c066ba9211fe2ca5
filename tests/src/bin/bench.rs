//! Measures how fast the gateway is beside its floors, and prints the ratios: `bench [--seconds N] [--rounds N] [--json FILE]`.

use std::fs::File;
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use integration_tests::bench::{self, Options};

/// Measures the services and the floors in turn, on a private broker, and prints the medians. Build everything first:
/// `cargo build --release --workspace`.
#[derive(Parser)]
struct Arguments {
    /// How long each measurement takes.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where to write all measurements as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { seconds, rounds, json } = Arguments::parse();
    let options = Options { time: Duration::try_from_secs_f64(seconds)?, rounds: rounds.max(1) };
    let report = bench::run(options).await?;
    write!(stdout(), "{report}")?;
    if let Some(file) = json {
        serde_json::to_writer_pretty(File::create(file)?, &report)?;
    }
    Ok(())
}
