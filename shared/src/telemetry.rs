//! Logs and metrics: how they are set up, and what may appear in them.

use std::{fmt, io::IsTerminal, sync::OnceLock, time::Duration};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{
    filter::{LevelFilter, Targets, filter_fn},
    layer::SubscriberExt,
    registry::Registry,
    reload,
    util::SubscriberInitExt,
};

use crate::{
    config::{LogFormat, Logging},
    lifecycle::Lifecycle,
    metric,
};

/// The buckets of the histograms of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The buckets of those that tell how old a message is, in seconds: it may have waited for days.
const AGES: [f64; 14] =
    [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 172_800.0];

/// How long histograms gather.
const UPKEEP: Duration = Duration::from_secs(5);

/// What is logged, which can be changed.
pub struct LogLevel(reload::Handle<Targets, Registry>);

impl LogLevel {
    /// The level of a subscriber that has the filter beside it.
    pub(crate) fn new(level: &str) -> (Self, reload::Layer<Targets, Registry>) {
        let (filter, handle) = reload::Layer::new(filter(level));
        (Self(handle), filter)
    }

    /// Changes it.
    pub fn set(&self, level: &str) {
        if let Err(error) = self.0.reload(filter(level)) {
            tracing::error!(%error, "the log level stays as it is; this is a bug");
        }
    }
}

fn filter(level: &str) -> Targets {
    // lapin writes whole messages into its warnings; what matters of them is told by `shared::queue`.
    level.parse::<Targets>().unwrap_or_default().with_target("lapin", LevelFilter::OFF)
}

/// Starts logging to standard error. Called once, by the program.
pub fn start_logs(logging: &Logging) -> LogLevel {
    let (level, filter) = LogLevel::new(&logging.level);
    // Spans are for machines: in a text they would begin every line.
    let has_spans = logging.format == LogFormat::Json;
    let spans = filter_fn(move |metadata| has_spans || metadata.is_event());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter).with(spans);
    match logging.format {
        LogFormat::Text => {
            registry.with(lines.with_ansi(std::io::stderr().is_terminal()).with_target(false)).init();
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true).with_span_list(false)).init(),
    }
    level
}

/// The process's metrics; started on the first call.
pub fn metrics() -> Option<&'static PrometheusHandle> {
    static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let start = || {
        let mut builder = PrometheusBuilder::new();
        builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS).ok()?;
        for age in [metric::AGE, metric::ACCEPTED_TO_SENT] {
            builder = builder.set_buckets_for_metric(Matcher::Full(age.to_owned()), &AGES).ok()?;
        }
        let handle = builder.install_recorder().ok()?;
        metric::describe();
        Some(handle)
    };
    HANDLE.get_or_init(start).as_ref()
}

/// Sorts what histograms have gathered into their buckets, until a stop is asked for: it grows with every message else,
/// on a process whose metrics nobody reads.
pub async fn keep_up(lifecycle: Lifecycle) {
    let upkeep = || metrics().into_iter().for_each(PrometheusHandle::run_upkeep);
    every(UPKEEP, &lifecycle, upkeep).await;
}

async fn every(period: Duration, lifecycle: &Lifecycle, work: impl Fn()) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(period) => work(),
            () = lifecycle.stopping() => return,
        }
    }
}

/// Whether numbers and texts may be logged: `logging.show_messages`.
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    show: bool,
}

impl Privacy {
    /// As the configuration says.
    #[must_use]
    pub fn new(logging: &Logging) -> Self {
        Self { show: logging.show_messages }
    }

    /// `text` for a log line: as it is, or hidden.
    #[must_use]
    pub fn show(self, text: &str) -> Shown<'_> {
        Shown(self.show.then_some(text))
    }
}

/// A number or a text, as it may be logged.
pub struct Shown<'t>(Option<&'t str>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => write!(f, "{text:?}"),
            None => f.write_str("(hidden)"),
        }
    }
}

/// An error and all its causes on one line.
pub struct Chain<'e>(pub &'e (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut told = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            // Some libraries repeat the cause in their own text.
            let text = error.to_string();
            if !told.contains(&text) {
                write!(f, ": {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn upkeep_is_done_every_few_seconds_until_a_stop() {
        let (lifecycle, done) = (Lifecycle::default(), Cell::new(0));
        let upkeep = every(UPKEEP, &lifecycle, || {
            done.set(done.get() + 1);
            if done.get() == 3 {
                lifecycle.stop();
            }
        });
        let begun = tokio::time::Instant::now();
        upkeep.await;
        assert_eq!((done.get(), begun.elapsed()), (3, 3 * UPKEEP));
    }

    #[test]
    fn numbers_and_texts_are_hidden_unless_the_configuration_shows_them() {
        let logging =
            |show_messages| Logging { level: "info".to_owned(), format: LogFormat::Text, show_messages };
        assert_eq!(Privacy::new(&logging(false)).show("hello").to_string(), "(hidden)");
        assert_eq!(Privacy::new(&logging(true)).show("a\nb").to_string(), r#""a\nb""#);
    }
}
