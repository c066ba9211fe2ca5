//! `[backends.NAME]`: the named ways in and out. One variant an engine; its keys are read here, by both services.

mod texts;

mod url;

pub mod http;

pub mod kannel;

pub mod twilio;

pub mod vumi;

use std::{collections::BTreeMap, time::Duration};

use secrecy::SecretString;

pub(super) use self::http::is_header_name;
pub use self::{http::Http, kannel::Kannel, texts::Texts, twilio::Twilio, url::HttpUrl, vumi::Vumi};
use super::{
    Concurrency, LiveRate, Positive,
    problem::{Origin, suggestion},
    reader::{Entry, Section, one_of},
    too_long,
};
use crate::message::BackendName;

/// A backend's way out.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Which engine sends, with its settings.
    pub engine: Engine,
    /// How many parts a second are sent at most, over all processes together.
    pub rate: Option<LiveRate>,
    /// How many provider calls run at a time, in each process.
    pub concurrency: u16,
    /// How long one provider call may take.
    pub timeout: Duration,
    /// What becomes of a part of which nobody knows whether the provider took it.
    pub on_unknown: OnUnknown,
    /// What becomes of a text before the engine has it.
    pub texts: Texts,
}

/// What becomes of a part of which nobody knows whether the provider took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is dead-lettered, for a person to judge.
    DeadLetter,
    /// It is sent again: right where the provider recognises our id.
    Resend,
}

/// An engine and its settings.
#[derive(Clone, Debug)]
pub enum Engine {
    /// Keeps what it is given, for trying without a phone.
    HttpTester {
        /// How many messages of each connection are kept.
        keep: usize,
    },
    /// Calls any HTTP API.
    Http(Box<Http>),
    /// Calls the `sendsms` of a Kannel.
    Kannel(Box<Kannel>),
    /// Calls the Messages API of Twilio, or one that is compatible.
    Twilio(Box<Twilio>),
    /// Calls the `RapidSMS` relay of a Vumi.
    Vumi(Box<Vumi>),
}

/// User and password.
#[derive(Clone, Debug)]
pub struct Basic {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

#[derive(Clone, Copy)]
enum Kind {
    HttpTester,
    Http,
    Kannel,
    Twilio,
    Vumi,
}

const KINDS: [(&str, Kind); 5] = [
    ("httptester", Kind::HttpTester),
    ("http", Kind::Http),
    ("kannel", Kind::Kannel),
    ("twilio", Kind::Twilio),
    ("vumi", Kind::Vumi),
];

/// Reads all backends. One that has problems is listed without settings, so that its endpoints still find its name.
pub(super) fn read(
    mut section: Section<'_>,
    stuck_after: Duration,
) -> BTreeMap<BackendName, Option<Backend>> {
    let mut backends = BTreeMap::new();
    for key in section.keys() {
        match key.parse::<BackendName>() {
            Ok(name) => {
                let backend = section.named(&key).and_then(Section::read);
                let backend = backend.and_then(|section| read_one(section, stuck_after));
                backends.insert(name, backend);
            }
            Err(error) => {
                section.problem(&key, error.to_string());
                section.named(&key);
            }
        }
    }
    backends
}

fn read_one(mut section: Section<'_>, stuck_after: Duration) -> Option<Backend> {
    // The other keys cannot be judged without knowing the engine.
    let kind = section.required_with("engine", |entry| one_of(&entry, &KINDS))?;
    let rate: Option<LiveRate> = section.optional("rate");
    let concurrency = section.or("concurrency", Concurrency(16)).0;
    let timeout_origin = section.origin_of("timeout");
    let timeout = section.or("timeout", Positive(Duration::from_secs(30))).0;
    if let Some(problem) = too_long(timeout, stuck_after) {
        section.problem_at(&timeout_origin, "timeout", problem);
    }
    let words = [("dead-letter", OnUnknown::DeadLetter), ("resend", OnUnknown::Resend)];
    let on_unknown = section.optional_with("on_unknown", |entry| one_of(&entry, &words));
    let texts = texts::read(&mut section);
    let engine = match kind {
        Kind::HttpTester => Some(Engine::HttpTester { keep: section.or("keep", Concurrency(100)).0.into() }),
        Kind::Http => http::read(&mut section).map(Box::new).map(Engine::Http),
        Kind::Kannel => kannel::read(&mut section, rate.is_some(), texts).map(Box::new).map(Engine::Kannel),
        Kind::Twilio => twilio::read(&mut section).map(Box::new).map(Engine::Twilio),
        Kind::Vumi => vumi::read(&mut section).map(Box::new).map(Engine::Vumi),
    };
    section.finish();
    Some(Backend {
        engine: engine?,
        rate,
        concurrency,
        timeout,
        on_unknown: on_unknown.unwrap_or(OnUnknown::DeadLetter),
        texts,
    })
}

pub(super) fn read_basic(entry: Entry<'_>) -> Option<Basic> {
    let mut section = Section::read(entry)?;
    let origin = section.origin_of("user");
    let (user, password): (Option<String>, _) = (section.required("user"), section.required("password"));
    check_user(&section, &origin, "user", user.as_deref());
    section.finish();
    Some(Basic { user: user?, password: password? })
}

/// Notes a problem with a user, written at `key`, whom HTTP basic authentication cannot name.
fn check_user(section: &Section<'_>, origin: &Origin, key: &str, user: Option<&str>) {
    if user.is_some_and(|user| user.contains(':')) {
        section.problem_at(origin, key, "a user has no `:`, which ends it in HTTP basic authentication");
    }
}

/// Notes each of the `sendsms_params`, written at `origin`, that the engine sets itself.
fn check_own<T>(section: &Section<'_>, origin: &Origin, params: &[(String, T)], own: &[&str]) {
    for (name, _) in params.iter().filter(|(name, _)| own.contains(&name.as_str())) {
        let message = "the engine sets this itself, for each message; leave it out";
        section.problem_at(origin, &format!("sendsms_params.{name}"), message);
    }
}

/// The words of `known` that are near to `name`, for a backend that does not exist.
pub(super) fn near(name: &str, known: &BTreeMap<BackendName, Option<Backend>>) -> String {
    suggestion(name, known.keys().map(BackendName::as_str))
}
