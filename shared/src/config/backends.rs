//! `[backends.NAME]`: the named ways in and out. One variant an engine; its keys are read here, by both services.

mod texts;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use regex::Regex;
use secrecy::SecretString;
use url::{Position, Url};

pub use self::texts::Texts;
use super::{
    Concurrency, Positive, Rate,
    problem::{Origin, suggestion},
    reader::{Entry, Read, Section, one_of},
    too_long,
    tree::Value,
};
use crate::{message::BackendName, template::Template};

/// A backend's way out.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Which engine sends, with its settings.
    pub engine: Engine,
    /// How many parts a second are sent at most, over all processes together.
    pub rate: Option<Rate>,
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
}

/// The settings of the `http` engine.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to; values are encoded as path segments.
    pub url: Template,
    /// How.
    pub method: Method,
    /// What is sent.
    pub content: Content,
    /// Additional headers.
    pub headers: Vec<(String, Template)>,
    /// HTTP basic authentication.
    pub basic: Option<Basic>,
    /// Which answers mean that the provider took the message.
    pub success: Success,
    /// Where the answer has the provider's own id.
    pub message_id: Option<IdRule>,
}

/// The request's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
}

/// What a request carries, and how it is encoded.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing beside the URL.
    None,
    /// Parameters in the URL.
    Query(Vec<(String, Template)>),
    /// `application/x-www-form-urlencoded`.
    Form(Vec<(String, Template)>),
    /// `application/json`.
    Json(JsonTemplate),
}

/// A JSON document whose strings are templates.
#[derive(Clone, Debug)]
pub enum JsonTemplate {
    /// A string.
    String(Template),
    /// A number or a boolean, sent as it is.
    Plain(serde_json::Value),
    /// An array.
    Array(Vec<JsonTemplate>),
    /// An object, its keys as they were written.
    Object(Vec<(String, JsonTemplate)>),
}

/// User and password.
#[derive(Clone, Debug)]
pub struct Basic {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// Which answers mean that the provider took the message.
#[derive(Clone, Debug)]
pub struct Success {
    /// The statuses; empty means any 2xx.
    pub status: Vec<u16>,
    /// What the body must contain.
    pub body: Option<Regex>,
}

/// Where an answer has the provider's own id.
#[derive(Clone, Debug)]
pub enum IdRule {
    /// A JSON pointer.
    Json(String),
    /// The first group of a pattern, or all of it.
    Pattern(Regex),
}

#[derive(Clone, Copy)]
enum Kind {
    HttpTester,
    Http,
}

const KINDS: [(&str, Kind); 2] = [("httptester", Kind::HttpTester), ("http", Kind::Http)];

/// The names that the templates of the `http` engine may use.
pub const HTTP_NAMES: [&str; 4] = ["identity", "text", "id", "backend"];

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
    let rate = section.optional("rate");
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
        Kind::Http => read_http(&mut section).map(Box::new).map(Engine::Http),
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

fn read_http(section: &mut Section<'_>) -> Option<Http> {
    let url = read_url(section);
    let methods = [("GET", Method::Get), ("POST", Method::Post), ("PUT", Method::Put)];
    let method_origin = section.origin_of("method");
    let method = section.optional_with("method", |entry| one_of(&entry, &methods));
    let content = read_content(section);
    let has_body = matches!(content, Content::Form(_) | Content::Json(_));
    if has_body && method == Some(Method::Get) {
        section.problem_at(
            &method_origin,
            "method",
            "a GET has no body; write `query` instead of `form` or `json`",
        );
    }
    let headers = read_headers(section);
    let basic = section.optional_with("basic", read_basic);
    let success = section.section("success").map(read_success);
    let message_id = section.optional_with("message_id", read_id_rule);
    Some(Http {
        url: url?,
        method: method.unwrap_or(if has_body { Method::Post } else { Method::Get }),
        content,
        headers,
        basic,
        success: success?,
        message_id,
    })
}

fn read_url(section: &mut Section<'_>) -> Option<Template> {
    let origin = section.origin_of("url");
    let url: Template = section.required("url")?;
    section.check_names(&origin, "url", &url, &HTTP_NAMES);
    // Where to is never left to a message: with any value the host is the same.
    let host_with = |value| {
        let url = Url::parse(&url.render(|_| Some(Cow::Borrowed(value)))).ok()?;
        let usable = matches!(url.scheme(), "http" | "https") && url.has_host();
        usable.then(|| url[..Position::BeforePath].to_owned())
    };
    match (host_with("x"), host_with("1")) {
        (Some(one), Some(other)) if one == other => {}
        (None, None) => section.problem_at(&origin, "url", "an http:// or https:// URL is wanted"),
        _ => section.problem_at(&origin, "url", "a name in braces can stand only after the host and port"),
    }
    Some(url)
}

fn read_content(section: &mut Section<'_>) -> Content {
    let given: Vec<&str> = ["query", "form", "json"].into_iter().filter(|key| section.has(key)).collect();
    if let [_, second, ..] = given[..] {
        section.problem(
            second,
            format!("only one of query, form and json is wanted, not {}", given.join(" and ")),
        );
    }
    let query = read_parameters(section, "query").map(Content::Query);
    let form = read_parameters(section, "form").map(Content::Form);
    let json_origin = section.origin_of("json");
    let json = section.optional_with("json", |entry| JsonTemplate::read(entry.structured()));
    if let Some(json) = &json {
        json.visit(&mut |template| section.check_names(&json_origin, "json", template, &HTTP_NAMES));
    }
    query.or(form).or(json.map(Content::Json)).unwrap_or(Content::None)
}

fn read_parameters(section: &mut Section<'_>, key: &'static str) -> Option<Vec<(String, Template)>> {
    let origin = section.origin_of(key);
    let parameters: Vec<(String, Template)> = section.optional(key)?;
    for (name, template) in &parameters {
        section.check_names(&origin, &format!("{key}.{name}"), template, &HTTP_NAMES);
    }
    Some(parameters)
}

fn read_headers(section: &mut Section<'_>) -> Vec<(String, Template)> {
    let origin = section.origin_of("headers");
    let headers = read_parameters(section, "headers").unwrap_or_default();
    for (name, _) in headers.iter().filter(|(name, _)| !is_header_name(name)) {
        section.problem_at(&origin, &format!("headers.{name}"), "not a valid header name");
    }
    headers
}

pub(super) fn is_header_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(allowed)
}

pub(super) fn read_basic(entry: Entry<'_>) -> Option<Basic> {
    let mut section = Section::read(entry)?;
    let origin = section.origin_of("user");
    let (user, password): (Option<String>, _) = (section.required("user"), section.required("password"));
    if user.as_ref().is_some_and(|user| user.contains(':')) {
        section.problem_at(&origin, "user", "a user has no `:`, which ends it in HTTP basic authentication");
    }
    section.finish();
    Some(Basic { user: user?, password: password? })
}

fn read_success(mut section: Section<'_>) -> Success {
    let origin = section.origin_of("status");
    let status: Vec<u16> = section.or("status", Vec::new());
    if status.iter().any(|status| !(100..=599).contains(status)) {
        section.problem_at(&origin, "status", "HTTP statuses are wanted, such as [200, 202]");
    }
    let body = section.optional("body");
    section.finish();
    Success { status, body }
}

fn read_id_rule(entry: Entry<'_>) -> Option<IdRule> {
    let mut section = Section::read(entry)?;
    let origin: Origin = section.origin_of("json");
    let json: Option<String> = section.optional("json");
    let pattern: Option<Regex> = section.optional("pattern");
    let rule = match (json, pattern) {
        (Some(pointer), None) => {
            if !pointer.starts_with('/') {
                section.problem_at(
                    &origin,
                    "json",
                    r#"a JSON pointer starts with `/`, such as "/messages/0/id""#,
                );
            }
            Some(IdRule::Json(pointer))
        }
        (None, Some(pattern)) => Some(IdRule::Pattern(pattern)),
        _ => {
            section.problem_here("either `json` or `pattern` is wanted");
            None
        }
    };
    section.finish();
    rule
}

impl JsonTemplate {
    fn visit(&self, see: &mut impl FnMut(&Template)) {
        match self {
            Self::String(template) => see(template),
            Self::Plain(_) => {}
            Self::Array(items) => items.iter().for_each(|item| item.visit(see)),
            Self::Object(entries) => entries.iter().for_each(|(_, value)| value.visit(see)),
        }
    }
}

impl Read for JsonTemplate {
    fn read(entry: Entry<'_>) -> Option<Self> {
        match &entry.node.value {
            Value::String(_) => Template::read(entry).map(Self::String),
            Value::Integer(integer) => Some(Self::Plain((*integer).into())),
            Value::Float(float) => Some(Self::Plain((*float).into())),
            Value::Boolean(boolean) => Some(Self::Plain((*boolean).into())),
            Value::Array(_) => Vec::read(entry).map(Self::Array),
            Value::Table(_) => Vec::read(entry).map(Self::Object),
        }
    }
}

/// The words of `known` that are near to `name`, for a backend that does not exist.
pub(super) fn near(name: &str, known: &BTreeMap<BackendName, Option<Backend>>) -> String {
    suggestion(name, known.keys().map(BackendName::as_str))
}
