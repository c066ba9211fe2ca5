//! Tortures the gateway and prints what became of every message: `torture [--seed N] [--minutes N] [--embedded] [--gentle]`.

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use integration_tests::torture::{self, Options};

/// Tortures the gateway under load, heals it, and looks where every message is. Exits with 1 unless all promises were kept.
#[derive(Parser)]
struct Arguments {
    /// What is done follows from it; drawn when it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How long bad things are done.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Torture the one process on the embedded queue instead of two ingress, three dispatchers and a broker.
    #[arg(long)]
    embedded: bool,
    /// Do nothing that may double a message, and expect that nothing is doubled.
    #[arg(long)]
    gentle: bool,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let Arguments { seed, minutes, embedded, gentle } = Arguments::parse();
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    let duration = Duration::try_from_secs_f64((minutes * 60.0).round())?;
    writeln!(stdout(), "seed {seed}")?;
    let report = torture::run(Options { seed, duration, embedded, gentle }).await?;
    write!(stdout(), "{report}")?;
    Ok(if report.is_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
