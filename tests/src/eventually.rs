//! Waiting for a state, with a deadline: the only place in the tests that sleeps.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::{sleep, timeout};

/// How often a state is looked at: short beside every deadline, long beside the cost of a look.
const INTERVAL: Duration = Duration::from_millis(20);

/// Calls `probe` until it answers `Ok`, and gives that value.
///
/// When `deadline` has passed, the error says `what` was awaited and the last status that `probe` answered, so
/// that a failure can be understood without running the test again. A probe that hangs is cut off as well.
pub async fn eventually<T, E: Display>(
    what: &str,
    deadline: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let started = Instant::now();
    let mut status = String::from("none, the first look did not end");
    while let Some(remaining) = deadline.checked_sub(started.elapsed()) {
        match timeout(remaining, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => status = format!("{seen:#}"),
            Err(_elapsed) => break,
        }
        sleep(INTERVAL).await;
    }
    let failure = format!("not within {deadline:?}: {what}; last status: {status}");
    tell(&failure);
    bail!(failure)
}

/// Printed as well, because a harness value that complains in its `Drop` hides the error that a test returns.
#[expect(clippy::print_stderr, reason = "the test runner shows it beside the failed test")]
fn tell(failure: &str) {
    eprintln!("{failure}");
}
