//! A short torture of each mode; long ones are run by hand with the `torture` binary.

use std::time::Duration;

use anyhow::{Result, ensure};
use integration_tests::torture::{Options, run};

const SEED: u64 = 3;

#[expect(clippy::print_stdout, reason = "the figures of a run, which the test runner shows on request")]
async fn torture(seconds: u64, embedded: bool, gentle: bool) -> Result<()> {
    let duration = Duration::from_secs(seconds);
    let report = run(Options { seed: SEED, duration, embedded, gentle }).await?;
    println!("{report}");
    ensure!(report.is_well(), "promises were broken:\n{report}");
    ensure!(report.accepted() > 500, "too few messages were accepted to show anything:\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tortured_pair_loses_nothing() -> Result<()> {
    torture(35, false, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tortured_standalone_loses_nothing() -> Result<()> {
    torture(30, true, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_providers_and_orderly_stops_double_nothing() -> Result<()> {
    torture(15, false, true).await
}
