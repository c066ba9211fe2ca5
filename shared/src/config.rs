//! The configuration: one TOML file, read by both services. Each uses its part, and both check all of it.
//!
//! Two stages: [`tree`] is what was written and where; [`Config`] is what it means, with every value parsed.
//! All problems are collected and told at once, before any side effect.

mod tree;

mod reader;

mod problem;

pub mod api;

pub mod apps;

pub mod auth;

pub mod backends;

pub mod endpoints;

mod hidden;

mod queue;

mod rate;

pub mod reports;

mod written;

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tracing_subscriber::filter::Targets;

pub use self::{
    api::Api,
    apps::App,
    backends::{Backend, Engine},
    endpoints::Endpoint,
    hidden::HIDDEN,
    problem::{Origin, Problem, Problems},
    queue::{Queue, QueueUrl},
    rate::{LiveRate, Rate},
    reports::Reports,
    tree::Environment,
    written::{Changes, Written},
};
use self::{
    problem::Notes,
    reader::{Entry, Read, Section, one_of},
    reports::Around,
};
use crate::message::BackendName;

/// A whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Appears in replies as `{project_name}`.
    pub project_name: String,
    /// How long a stop may take before the process gives up and exits with 75.
    pub drain_timeout: Duration,
    /// Where messages are kept.
    pub queue: Queue,
    /// The service that takes requests.
    pub ingress: Ingress,
    /// The service that routes and sends.
    pub dispatcher: Dispatcher,
    /// What is logged, and how.
    pub logging: Logging,
    /// The ways in and out.
    pub backends: BTreeMap<BackendName, Backend>,
    /// The paths that providers post to.
    pub endpoints: Vec<Endpoint>,
    /// Where delivery reports come in, by backend.
    pub reports: BTreeMap<BackendName, Reports>,
    /// The router's apps, in order.
    pub apps: Vec<App>,
    /// The programs that may send through the public listener.
    pub api: Api,
    /// What was written.
    pub written: Written,
}

/// `[ingress]`.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// Where providers reach us.
    pub listen: SocketAddr,
    /// Where health, metrics and other private pages are.
    pub admin_listen: SocketAddr,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The longest identity, in characters.
    pub max_identity_length: usize,
    /// The longest text, in characters.
    pub max_text_length: usize,
    /// How long a request's body may take to arrive.
    pub request_timeout: Duration,
}

/// `[dispatcher]`.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    /// Where health, metrics and other private pages are.
    pub admin_listen: SocketAddr,
    /// How many incoming messages are routed at a time.
    pub concurrency: u16,
    /// How long all apps together may take for one message.
    pub app_timeout: Duration,
    /// How long a queue with messages in it may stand still.
    pub stuck_after: Duration,
}

/// `[logging]`.
#[derive(Clone, Debug)]
pub struct Logging {
    /// A level, or `tracing`'s directives: `info,lapin=warn`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether numbers and texts may appear.
    pub show_messages: bool,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

impl Config {
    /// Reads and checks `text`, written in `file`, with the overrides of `environment`.
    pub fn parse(file: &str, text: &str, environment: &Environment) -> Result<Self, Problems> {
        Self::parse_for(None, file, text, environment)
    }

    /// As [`Config::parse`], for a program that is only `service`, which the embedded queue cannot serve.
    pub fn parse_for(
        service: Option<&str>,
        file: &str,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, Problems> {
        let notes = Notes::default();
        let root = tree::read(file, text, environment, &notes);
        let written = Written::of(&root);
        let config = Section::root(root, &notes).and_then(|root| read(root, service, written));
        notes.into_result()?;
        #[expect(clippy::expect_used, reason = "`read` returns None only with a problem noted")]
        Ok(config.expect("a configuration without problems"))
    }
}

fn read(mut root: Section<'_>, service: Option<&str>, written: Written) -> Option<Config> {
    let project_name = root.or("project_name", "RapidSMS".to_owned());
    let drain_timeout = root.or("drain_timeout", Positive(Duration::from_secs(25))).0;
    let queue = root.section("queue").and_then(|section| queue::read(section, service));
    let ingress = root.section("ingress").map(read_ingress);
    let dispatcher = root.section("dispatcher").map(|section| read_dispatcher(section, ingress.as_ref()));
    let logging = root.section("logging").map(read_logging);
    let stuck_after = dispatcher.as_ref().map_or(Duration::MAX, |dispatcher| dispatcher.stuck_after);
    let section = root.section("backends");
    let origins = section.as_ref().map(Section::origins).unwrap_or_default();
    let backends = section.map(|section| backends::read(section, stuck_after)).unwrap_or_default();
    let mut taken = endpoints::Taken::new();
    let endpoints = endpoints::read(root.sections("endpoints"), &backends, ingress.as_ref(), &mut taken);
    let around = Around { backends: &backends, endpoints: &endpoints, ingress: ingress.as_ref() };
    let sections = root.sections("reports");
    let problem_of = |backend: &BackendName, problem: String| {
        let origin = origins.get(backend.as_str()).unwrap_or_else(|| root.origin());
        root.problem_at(origin, &format!("backends.{backend}"), problem);
    };
    let reports = reports::read(sections, &around, &mut taken, &problem_of);
    let app_timeout = dispatcher.as_ref().map_or(Duration::MAX, |dispatcher| dispatcher.app_timeout);
    let apps = apps::read(root.sections("apps"), app_timeout);
    let api = root.section("api").map(|section| api::read(section, &backends)).unwrap_or_default();
    root.finish();
    Some(Config {
        project_name,
        drain_timeout,
        queue: queue?,
        ingress: ingress?,
        dispatcher: dispatcher?,
        logging: logging?,
        backends: backends.into_iter().filter_map(|(name, backend)| Some((name, backend?))).collect(),
        endpoints,
        reports,
        apps,
        api,
        written,
    })
}

fn read_ingress(mut section: Section<'_>) -> Ingress {
    let ingress = Ingress {
        listen: section.or("listen", SocketAddr::from(([127, 0, 0, 1], 8000))),
        admin_listen: section.or("admin_listen", SocketAddr::from(([127, 0, 0, 1], 8001))),
        max_body_bytes: section.or("max_body_bytes", 1024 * 1024),
        max_identity_length: section.or("max_identity_length", 100),
        max_text_length: section.or("max_text_length", 10_000),
        request_timeout: section.or("request_timeout", Positive(Duration::from_secs(10))).0,
    };
    if collide(ingress.listen, ingress.admin_listen) {
        section.problem_here(
            "`listen` and `admin_listen` are the same address; the private pages need their own",
        );
    }
    section.finish();
    ingress
}

/// True when both cannot be listened on: `0.0.0.0` has all addresses, `[::]` those of IPv4 too.
fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let has = |all: SocketAddr, it: SocketAddr| {
        all.ip().is_unspecified() && (all.is_ipv6() || it.is_ipv4()) || all.ip() == it.ip()
    };
    one.port() == other.port() && one.port() != 0 && (has(one, other) || has(other, one))
}

fn read_dispatcher(mut section: Section<'_>, ingress: Option<&Ingress>) -> Dispatcher {
    let (origin, written) = (section.origin_of("admin_listen"), section.has("admin_listen"));
    let timeout_origin = section.origin_of("app_timeout");
    let dispatcher = Dispatcher {
        admin_listen: section.or("admin_listen", SocketAddr::from(([127, 0, 0, 1], 8002))),
        concurrency: section.or("concurrency", Concurrency(128)).0,
        app_timeout: section.or("app_timeout", Positive(Duration::from_secs(30))).0,
        stuck_after: section.or("stuck_after", Positive(Duration::from_secs(120))).0,
    };
    // One address is one machine. All addresses may well be those of two machines, or of two containers; and `gateway`,
    // which opens no listener for the dispatcher, must not stumble over its default.
    let address = dispatcher.admin_listen;
    let taken = ingress.is_some_and(|ingress| [ingress.listen, ingress.admin_listen].contains(&address));
    if written && taken && address.port() != 0 && !address.ip().is_unspecified() {
        section.problem_at(&origin, "admin_listen", "ingress listens on this address; write another port");
    }
    if let Some(problem) = too_long(dispatcher.app_timeout, dispatcher.stuck_after) {
        section.problem_at(&timeout_origin, "app_timeout", problem);
    }
    section.finish();
    dispatcher
}

/// Whatever takes long must not be taken for a process that is stuck.
fn too_long(timeout: Duration, stuck_after: Duration) -> Option<String> {
    let most = humantime::format_duration(stuck_after / 2);
    (timeout > stuck_after / 2).then(|| {
        format!("at most {most} is wanted, half of dispatcher.stuck_after; write a longer one there")
    })
}

fn read_logging(mut section: Section<'_>) -> Logging {
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let level_origin = section.origin_of("level");
    let logging = Logging {
        level: section.or("level", "info".to_owned()),
        format: section.optional_with("format", |entry| one_of(&entry, &formats)).unwrap_or(LogFormat::Text),
        show_messages: section.or("show_messages", false),
    };
    let wrong = match logging.level.parse::<Targets>() {
        // A word that is no level is taken for a module, and nothing else would be logged.
        Ok(targets) if targets.default_level().is_none() => {
            Some(format!("`{}` has no level for the whole program", logging.level))
        }
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    if let Some(wrong) = wrong {
        section.problem_at(
            &level_origin,
            "level",
            format!("{wrong}; write error, warn, info, debug or trace"),
        );
    }
    section.finish();
    logging
}

impl Read for SocketAddr {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let text = String::read(entry.clone())?;
        let parsed = text.parse().ok();
        parsed.or_else(|| entry.problem(r#"an address with a port is wanted, such as "127.0.0.1:8000""#))
    }
}

/// A duration above zero.
#[derive(Clone, Copy)]
struct Positive(Duration);

impl Read for Positive {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let same = entry.clone();
        match Duration::read(same)? {
            Duration::ZERO => entry.problem("more than zero is wanted"),
            duration => Some(Self(duration)),
        }
    }
}

/// A count of at least one.
struct AtLeastOne(u32);

impl Read for AtLeastOne {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let same = entry.clone();
        match u32::read(same)? {
            0 => entry.problem("at least 1 is wanted"),
            count => Some(Self(count)),
        }
    }
}

/// How many things are done at a time: 1 to 10,000.
struct Concurrency(u16);

impl Read for Concurrency {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let same = entry.clone();
        match u16::read(same)? {
            count @ 1..=10_000 => Some(Self(count)),
            _ => entry.problem("1 to 10000 is wanted"),
        }
    }
}

#[cfg(test)]
mod tests;
