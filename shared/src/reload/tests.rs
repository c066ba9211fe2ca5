use std::{collections::BTreeMap, io, sync::Arc};

use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::{config::Rate, lifecycle::Exit};

const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What is read, and what is logged.
struct Bench {
    reload: Reload,
    config: Config,
    file: Arc<Mutex<String>>,
    log: Log,
    subscriber: tracing::Dispatch,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn base() -> String {
    format!(
        "[queue]\nurl = 'amqp://u:secret@127.0.0.1/%2f'\n[logging]\nlevel = 'info'\n\
         [backends.a]\nengine = 'httptester'\nrate = 5\n[backends.b]\nengine = 'httptester'\n\
         [[api.tokens]]\nname = 'survey'\nhash = '{HASH}'\nbackends = ['a']\nrate = 2\n"
    )
}

impl Bench {
    fn new(environment: &[(&str, &str)]) -> Self {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: BTreeMap<String, String> = environment.iter().map(own).collect();
        let file = Arc::new(Mutex::new(base()));
        let now = Arc::clone(&file);
        let read = move || {
            let text = now.lock().unwrap().clone();
            Config::parse("g.toml", &text, &environment)
                .map_err(|problems| Failure::new(Exit::Config, format!("g.toml cannot be used\n{problems}")))
        };
        let config = read().unwrap();
        let (level, filter) = LogLevel::new(&config.logging.level);
        let log = Log::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer().without_time().with_target(false).with_ansi(false);
        let subscriber = tracing_subscriber::registry()
            .with(filter)
            .with(lines.with_writer(move || writer.clone()))
            .into();
        Self { reload: Reload::new(&config, level, Box::new(read)), config, file, log, subscriber }
    }

    /// Writes the file with these replacements, has it read, and gives what was logged since the last time.
    fn change(&self, replacements: &[(&str, &str)]) -> Vec<String> {
        let replace = |text: String, (from, to): &(&str, &str)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        };
        *self.file.lock().unwrap() = replacements.iter().fold(base(), replace);
        tracing::dispatcher::with_default(&self.subscriber, || self.reload.again());
        self.logged()
    }

    fn logged(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.log.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(|line| line.trim_start().to_owned()).collect()
    }

    /// The rates of the backend and of the token, as the services have them.
    fn rates(&self) -> [Option<Rate>; 2] {
        let now = |rate: &Option<LiveRate>| rate.as_ref().map(LiveRate::now);
        [now(&self.config.backends["a"].rate), now(&self.config.api.tokens[0].rate)]
    }
}

fn per_second(rates: [f64; 2]) -> [Option<Rate>; 2] {
    rates.map(Rate::per_second)
}

#[test]
fn rates_are_followed_by_whoever_has_the_configuration() {
    let bench = Bench::new(&[]);
    assert_eq!(bench.change(&[]), ["INFO SIGHUP: nothing has changed"]);
    let told = bench.change(&[("rate = 5", "rate = 50"), ("rate = 2", "rate = 0.5")]);
    assert_eq!(told, ["INFO SIGHUP: applied: api.tokens[0].rate, backends.a.rate"]);
    assert_eq!(bench.rates(), per_second([50.0, 0.5]));
    assert_eq!(bench.change(&[("rate = 5", "rate = 50")]), ["INFO SIGHUP: applied: api.tokens[0].rate"]);
    assert_eq!(bench.change(&[]), ["INFO SIGHUP: applied: backends.a.rate"]);
    assert_eq!(bench.rates(), per_second([5.0, 2.0]));
}

#[test]
fn a_rate_that_is_new_gone_or_somebody_elses_needs_a_restart() {
    let bench = Bench::new(&[]);
    let told = bench.change(&[("rate = 5\n", ""), ("rate = 2", "rate = 3"), ("'survey'", "'clinic'")]);
    let keys = "api.tokens[0].name, api.tokens[0].rate, backends.a.rate";
    assert_eq!(told, [format!("WARN SIGHUP: changed, and needs a restart: {keys}")]);
    let told = bench.change(&[("[[api", "rate = 1\n[[api")]);
    assert_eq!(told, ["WARN SIGHUP: changed, and needs a restart: backends.b.rate"]);
    assert_eq!(bench.rates(), per_second([5.0, 2.0]));
}

#[test]
fn what_needs_a_restart_is_named_until_it_is_as_it_was_and_its_value_is_not() {
    let bench = Bench::new(&[]);
    let changed = [
        ("secret", "other"),
        ("rate = 5", "rate = 6"),
        ("[queue]", "[ingress]\nlisten = '[::1]:80'\n[queue]"),
    ];
    let needed = "WARN SIGHUP: changed, and needs a restart: ingress.listen, queue.url";
    assert_eq!(bench.change(&changed), ["INFO SIGHUP: applied: backends.a.rate", needed]);
    assert_eq!(bench.change(&changed), [needed]);
    assert_eq!(bench.change(&[]), ["INFO SIGHUP: applied: backends.a.rate"]);
}

#[test]
fn a_bad_configuration_is_told_as_at_the_start_and_nothing_of_it_applies() {
    let bench = Bench::new(&[]);
    let told = bench.change(&[
        ("rate = 5", "rate = 0"),
        ("rate = 2", "rate = 3"),
        ("level = 'info'", "level = 'info,hyper=loud'"),
    ]);
    assert_eq!(told[0], "ERROR g.toml cannot be used");
    assert!(told[1].starts_with("ERROR g.toml:4: logging.level: "), "{told:?}");
    assert!(told[2].starts_with("ERROR g.toml:7: backends.a.rate: messages a second are wanted"), "{told:?}");
    assert_eq!(told[3], "ERROR 2 problems in the configuration");
    let refused =
        "ERROR SIGHUP: refused, all goes on as before; correct the configuration and send SIGHUP again";
    assert_eq!(told[4..], [refused]);
    assert_eq!(bench.rates(), per_second([5.0, 2.0]));
}

#[test]
fn the_log_level_is_that_of_the_file_until_the_next_time() {
    let bench = Bench::new(&[]);
    let log = || {
        tracing::dispatcher::with_default(&bench.subscriber, || {
            tracing::debug!("seldom");
            tracing::debug!(target: "lapin", "never");
        });
        bench.logged()
    };
    assert!(log().is_empty());
    assert_eq!(bench.change(&[("'info'", "'debug'")]), ["INFO SIGHUP: applied: logging.level"]);
    assert_eq!(log(), ["DEBUG seldom"]);
    assert!(bench.change(&[("'info'", "'error'"), ("rate = 5", "rate = 6")]).is_empty());
    assert!(log().is_empty() && bench.rates() == per_second([6.0, 2.0]));
    assert_eq!(bench.change(&[("rate = 5", "rate = 6")]), ["INFO SIGHUP: applied: logging.level"]);
}

#[test]
fn the_environment_goes_on_to_win_and_that_is_told() {
    let bench = Bench::new(&[("GATEWAY__LOGGING__LEVEL", "warn"), ("GATEWAY__BACKENDS__A__RATE", "7")]);
    let told = bench.change(&[("rate = 5", "rate = 50"), ("'info'", "'debug'")]);
    let wins = |variable: &str, key: &str| {
        format!(
            "WARN SIGHUP: changed in the file, but the environment variable {variable} goes on to win: {key}"
        )
    };
    let expected = [
        wins("GATEWAY__BACKENDS__A__RATE", "backends.a.rate"),
        wins("GATEWAY__LOGGING__LEVEL", "logging.level"),
    ];
    assert_eq!(told, expected);
    assert_eq!(bench.rates(), per_second([7.0, 2.0]));
}
