//! Engine `http`: any HTTP API, described by templates.

mod answers;

use std::borrow::Cow;

use url::Position;

pub use self::answers::{Answers, IdRule, Member, Rule};
use super::{
    super::{
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
    /// How its answers are read.
    pub answers: Answers,
}

impl Http {
    /// Whether some of what is sent has `name` in it.
    pub(in crate::config) fn names(&self, name: &str) -> bool {
        let has = |template: &Template| template.names().any(|used| used == name);
        let any = |named: &[(String, Template)]| named.iter().any(|(_, template)| has(template));
        let in_content = match &self.content {
            Content::None => false,
            Content::Query(parameters) | Content::Form(parameters) => any(parameters),
            Content::Json(json) => {
                let mut found = false;
                json.visit(&mut |template| found |= has(template));
                found
            }
        };
        in_content || has(&self.url) || any(&self.headers)
    }
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

/// The names that the templates of the `http` engine may use.
pub const HTTP_NAMES: [&str; 5] = ["identity", "text", "id", "reference", "backend"];

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
    let answers = answers::read(section);
    Some(Http {
        url: url?,
        method: method.unwrap_or(if has_body { Method::Post } else { Method::Get }),
        content,
        headers,
        basic,
        answers: answers?,
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
