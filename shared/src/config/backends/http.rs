//! Engine `http`: any HTTP API, described by templates.

use std::borrow::Cow;

use regex::Regex;
use url::Position;

use super::{
    super::{
        problem::Origin,
        reader::{Entry, Read, Section, one_of},
        tree::Value,
    },
    Basic, read_basic,
    url::parse_http,
};
use crate::template::Template;

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

/// The names that the templates of the `http` engine may use.
pub const HTTP_NAMES: [&str; 4] = ["identity", "text", "id", "backend"];

pub(super) fn read(section: &mut Section<'_>) -> Option<Http> {
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
    let basic_origin = section.origin_of("basic");
    let basic = section.optional_with("basic", read_basic);
    if basic.is_some() && headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        section.problem_at(
            &basic_origin,
            "basic",
            "`headers` has an Authorization too, and one is sent; write only one",
        );
    }
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
        let url = parse_http(&url.render(|_| Some(Cow::Borrowed(value))));
        url.map(|url| url[..Position::BeforePath].to_owned())
    };
    match (host_with("x"), host_with("1")) {
        (Ok(one), Ok(other)) if one == other => {}
        (Err(problem), Err(other)) if problem == other => section.problem_at(&origin, "url", problem),
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

pub(crate) fn is_header_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(allowed)
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
