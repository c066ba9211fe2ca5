//! SIGHUP: the configuration is read again. What a running process can follow it follows at once, the rates and the log level;
//! what else is different needs a restart, and is named. One that has problems changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use crate::{
    config::{Config, LiveRate},
    lifecycle::Failure,
    telemetry::LogLevel,
};

/// The key of the log level.
const LEVEL: &str = "logging.level";

/// Reads the configuration as the start did.
pub type Read = Box<dyn Fn() -> Result<Config, Failure> + Send + Sync>;

/// A configuration that is in use, and how to read it again.
pub struct Reload {
    read: Read,
    /// As it was at the start, but for its rates.
    config: Config,
    level: LogLevel,
    /// The level that is in force.
    written_level: Mutex<String>,
}

/// What became of a configuration that was read again, by key.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    applied: BTreeSet<String>,
    needs_restart: BTreeSet<String>,
    /// With the variable of the environment that goes on to win.
    overridden: BTreeMap<String, String>,
}

impl Reload {
    /// For a process that runs with `config`, and logs at `level`.
    #[must_use]
    pub fn new(config: &Config, level: LogLevel, read: Read) -> Self {
        let written_level = Mutex::new(config.logging.level.clone());
        Self { read, config: config.clone(), level, written_level }
    }

    /// Reads it again, and tells the log what became of it.
    pub fn again(&self) {
        match (self.read)() {
            Ok(new) => tell(&self.apply(&new)),
            Err(failure) => {
                failure.message.lines().for_each(|line| tracing::error!("{line}"));
                tracing::error!(
                    "SIGHUP: refused, all goes on as before; correct the configuration and send SIGHUP again"
                );
            }
        }
    }

    fn apply(&self, new: &Config) -> Outcome {
        let changes = self.config.written.changes(&new.written);
        let mut outcome = Outcome { overridden: changes.overridden, ..Outcome::default() };
        let mut live = BTreeSet::from([LEVEL.to_owned()]);
        let wanted = rates(new);
        for (rated, rate) in rates(&self.config) {
            // A rate that is new or gone is another queue: only the number can be followed.
            let Some(wanted) = wanted.get(&rated) else { continue };
            if rate.now() != wanted.now() {
                rate.set(wanted.now());
                outcome.applied.insert(rated.key.clone());
            }
            live.insert(rated.key);
        }
        let mut level = self.written_level.lock().unwrap_or_else(PoisonError::into_inner);
        if *level != new.logging.level {
            self.level.set(&new.logging.level);
            level.clone_from(&new.logging.level);
            outcome.applied.insert(LEVEL.to_owned());
        }
        outcome.needs_restart = &changes.changed - &live;
        outcome
    }
}

/// Whose rate it is, and its key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rated<'c> {
    name: &'c str,
    key: String,
}

/// Every rate that is set.
fn rates(config: &Config) -> BTreeMap<Rated<'_>, &LiveRate> {
    let backends = config.backends.iter().filter_map(|(name, backend)| {
        let rated = Rated { name: name.as_str(), key: format!("backends.{name}.rate") };
        Some((rated, backend.rate.as_ref()?))
    });
    let tokens = config.api.tokens.iter().enumerate().filter_map(|(place, token)| {
        let rated = Rated { name: &token.name, key: format!("api.tokens[{place}].rate") };
        Some((rated, token.rate.as_ref()?))
    });
    backends.chain(tokens).collect()
}

fn tell(outcome: &Outcome) {
    let Outcome { applied, needs_restart, overridden } = outcome;
    let joined = |keys: &BTreeSet<String>| keys.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !applied.is_empty() {
        tracing::info!("SIGHUP: applied: {}", joined(applied));
    }
    if !needs_restart.is_empty() {
        tracing::warn!("SIGHUP: changed, and needs a restart: {}", joined(needs_restart));
    }
    for (key, variable) in overridden {
        tracing::warn!(
            "SIGHUP: changed in the file, but the environment variable {variable} goes on to win: {key}"
        );
    }
    if *outcome == Outcome::default() {
        tracing::info!("SIGHUP: nothing has changed");
    }
}

#[cfg(test)]
mod tests;
