//! How a process starts tasks, hears that it shall stop, and ends: one token, one tracker, one exit code.
//!
//! A stop is asked for by a signal, or by the first [`Failure`]. Services then end in their own order (intake,
//! in-flight, settle, flush); [`crate::cli`] bounds that by the drain deadline.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
};

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What a process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A stop was asked for, and everything begun was finished.
    Clean = 0,
    /// The command line asks for what there is not.
    Usage = 2,
    /// A port, a database file or the broker cannot be used at start.
    Unavailable = 69,
    /// A task that must run ended.
    Task = 70,
    /// The drain deadline passed, or a second signal came, with work unfinished; it will be redelivered.
    Drain = 75,
    /// The configuration has problems.
    Config = 78,
}

/// Why a process ends by itself: what to tell the operator, in one line, and the exit code.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl Failure {
    /// A failure with its exit code and its line.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

/// The life of a process, shared by everything that runs in it.
#[derive(Clone, Default)]
pub struct Lifecycle(Arc<Inner>);

#[derive(Default)]
struct Inner {
    stop: CancellationToken,
    tasks: TaskTracker,
    failure: OnceLock<Failure>,
}

impl Lifecycle {
    /// Asks for a stop on SIGTERM and SIGINT; a second one ends the process at once.
    pub fn watch_signals(&self) -> std::io::Result<()> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let lifecycle = self.clone();
        let watch = async move {
            let mut next = async || {
                tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                }
            };
            // Not within the line, whose arguments are evaluated only where it is logged.
            let signal = next().await;
            tracing::info!("{signal}: stopping");
            lifecycle.stop();
            let signal = next().await;
            tracing::warn!(
                exit = Exit::Drain as u8,
                "{signal} again: ending at once; what was unfinished is redelivered"
            );
            // The one exit besides the end of `main`: an operator who asks twice does not want to wait for anything.
            std::process::exit(Exit::Drain as i32);
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a stop must not wait for the signal that cuts it short"
        )]
        drop(tokio::spawn(watch));
        Ok(())
    }

    /// Does `work` on each SIGHUP, and once more for those that come meanwhile. From now on none ends the process.
    pub fn on_hangup(&self, work: impl Fn() + Send + Sync + 'static) -> std::io::Result<()> {
        let (mut hangup, work, lifecycle) = (signal(SignalKind::hangup())?, Arc::new(work), self.clone());
        self.spawn("SIGHUP", async move {
            loop {
                tokio::select! {
                    Some(()) = hangup.recv() => {}
                    () = lifecycle.stopping() => return,
                }
                let work = Arc::clone(&work);
                // It may read files. A stop does not wait for it, nor does its panic end what runs.
                let done = tokio::task::spawn_blocking(move || work());
                tokio::select! {
                    done = done => if done.is_err() {
                        tracing::error!("SIGHUP: not obeyed; this is a bug");
                    },
                    () = lifecycle.stopping() => return,
                }
            }
        });
        Ok(())
    }

    /// Asks for a stop.
    pub fn stop(&self) {
        self.0.stop.cancel();
    }

    /// Asks for a stop with an exit code; the first failure is the one that is told.
    pub fn fail(&self, failure: Failure) {
        if let Some(first) = self.0.failure.get() {
            // Most often a consequence of the first.
            tracing::debug!(exit = failure.exit as u8, %first, "failed while stopping: {failure}");
        } else {
            tracing::error!(exit = failure.exit as u8, "stopping: {failure}");
            self.0.failure.set(failure).ok();
        }
        self.stop();
    }

    /// The failure that asked for the stop, if one did.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.0.failure.get().cloned()
    }

    /// True once a stop was asked for.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.stop.is_cancelled()
    }

    /// Waits until a stop is asked for.
    pub async fn stopping(&self) {
        self.0.stop.cancelled().await;
    }

    /// Runs a task that must not end before a stop is asked for; when it does, or panics, the process fails.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let lifecycle = self.clone();
        self.0.tasks.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            if ended.is_err() || !lifecycle.is_stopping() {
                let how = if ended.is_err() { "panicked" } else { "ended by itself" };
                lifecycle.fail(Failure::new(Exit::Task, format!("the task `{name}` {how}; this is a bug")));
            }
        });
    }

    /// Runs a piece of work that ends by itself; a stop waits for it.
    pub fn spawn_work(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(work);
    }

    /// Waits for every task. Called last, when the services have ended.
    pub async fn finished(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_fails_the_process() {
        let lifecycle = Lifecycle::default();
        lifecycle.spawn("short", async {});
        lifecycle.stopping().await;
        assert_eq!(lifecycle.failure().unwrap().exit, Exit::Task);
        assert_eq!(lifecycle.failure().unwrap().message, "the task `short` ended by itself; this is a bug");
    }

    #[tokio::test]
    async fn a_task_that_panics_fails_the_process_and_the_first_failure_counts() {
        let lifecycle = Lifecycle::default();
        lifecycle.spawn("loud", async { panic!("on purpose") });
        lifecycle.stopping().await;
        lifecycle.fail(Failure::new(Exit::Unavailable, "later"));
        assert!(lifecycle.failure().unwrap().message.contains("panicked"));
    }

    #[tokio::test]
    async fn a_stop_that_was_asked_for_is_clean_and_waits_for_the_tasks() {
        let lifecycle = Lifecycle::default();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let waiting = lifecycle.clone();
        lifecycle.spawn("long", async move {
            waiting.stopping().await;
            sender.send(()).unwrap();
        });
        lifecycle.stop();
        lifecycle.finished().await;
        receiver.await.unwrap();
        assert!(lifecycle.failure().is_none());
    }
}
