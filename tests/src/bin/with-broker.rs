//! Runs a command with a private RabbitMQ: `with-broker cargo test --workspace`.

use std::env;
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use integration_tests::broker::{Broker, URL_VARIABLE};
use integration_tests::owned::OwnedChild;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The exit code for a service that is unavailable, as in `sysexits.h`.
const UNAVAILABLE: u8 = 69;

/// How long the command may take to end after a signal.
const GRACE: Duration = Duration::from_secs(10);

/// No run of the tests is this long; the wait needs some bound.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut words = env::args_os().skip(1);
    let Some(program) = words.next() else {
        writeln!(stderr(), "usage: with-broker COMMAND [ARGUMENT]...")?;
        return Ok(ExitCode::from(2));
    };
    match run(program, words.collect()).await {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(error) => {
            writeln!(stderr(), "with-broker: {error:#}")?;
            Ok(ExitCode::from(UNAVAILABLE))
        }
    }
}

async fn run(program: OsString, arguments: Vec<OsString>) -> Result<u8> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async move {
        tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt(),
            _ = terminate.recv() => SignalKind::terminate(),
        }
    };
    tokio::pin!(stopped);

    let broker = tokio::select! {
        broker = Broker::start() => broker?,
        kind = &mut stopped => return code_of_signal(kind.as_raw_value()),
    };
    let mut command = Command::new(program);
    command.args(arguments).env(URL_VARIABLE, broker.url()).stdin(Stdio::null());
    let mut child = OwnedChild::spawn(&mut command)?;
    let code = tokio::select! {
        status = child.wait(A_DAY) => code_of(status?),
        kind = &mut stopped => {
            child.signal_group(Signal::TERM)?;
            if child.wait(GRACE).await.is_err() {
                child.kill()?;
            }
            code_of_signal(kind.as_raw_value())
        }
    };
    // Nobody will look at the data again, so the broker is dropped, not stopped.
    drop(broker);
    code
}

/// The code that a shell would give.
fn code_of(status: ExitStatus) -> Result<u8> {
    match status.code() {
        Some(code) => Ok(u8::try_from(code)?),
        None => code_of_signal(status.signal().context("the command neither ended nor was killed")?),
    }
}

fn code_of_signal(signal: i32) -> Result<u8> {
    Ok(u8::try_from(128 + signal)?)
}
