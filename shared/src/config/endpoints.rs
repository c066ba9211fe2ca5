//! `[[endpoints]]`: the paths that providers post to. One variant a form; its keys are read here, by both services.

use std::{borrow::Cow, collections::BTreeMap};

use regex::Regex;

use super::{
    Ingress,
    api::PREFIX,
    auth::{self, Auth},
    backends::{self, Backend},
    problem::Origin,
    reader::{Entry, Read, Section, explain_regex, one_of},
    tree::Value,
};
use crate::message::BackendName;

/// A path, the backend it receives for, and how its requests are read.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The paths, each without its trailing slash; both spellings are answered.
    pub paths: Vec<String>,
    /// The backend that messages come through.
    pub backend: BackendName,
    /// Who may post.
    pub auth: Auth,
    /// How a request is read.
    pub form: Form,
    /// The fields of a message, `identity` and `text` first.
    pub fields: Vec<Field>,
    /// Whether a blank text is a message.
    pub allow_blank: bool,
    /// The charset of requests that do not name one.
    pub charset: &'static encoding_rs::Encoding,
}

/// How a request is read, and the settings of that.
#[derive(Clone, Debug)]
pub enum Form {
    /// Parameters in the URL or the body.
    Http {
        /// The methods allowed.
        methods: Vec<HttpMethod>,
        /// What is answered when the message is in the queue.
        answer: Answer,
    },
}

/// A method that a form may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    /// `GET`, parameters in the URL.
    Get,
    /// `POST`, parameters in the body.
    Post,
}

/// What is answered when a message is in the queue.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The `Content-Type`.
    pub content_type: String,
}

/// One field of a message, where it comes from, and what it must look like.
#[derive(Clone, Debug)]
pub struct Field {
    /// Our name: `identity`, `text`, or one of `[endpoints.fields]`.
    pub name: String,
    /// The provider's name.
    pub parameter: String,
    /// Whether it may be missing.
    pub required: bool,
    /// The fewest characters.
    pub min_length: Option<usize>,
    /// The most characters.
    pub max_length: Option<usize>,
    /// What all of the value must match.
    pub pattern: Option<Regex>,
    /// The values allowed; empty means any.
    pub one_of: Vec<String>,
    /// Whether it must be a whole number.
    pub integer: bool,
    /// What a refusal says instead of our own words.
    pub message: Option<String>,
}

const FORMS: [(&str, ()); 1] = [("http", ())];
const METHODS: [(&str, HttpMethod); 2] = [("GET", HttpMethod::Get), ("POST", HttpMethod::Post)];

/// Reads all endpoints of `ingress`, which is missing when it has problems itself.
pub(super) fn read(
    sections: Vec<Section<'_>>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
    ingress: Option<&Ingress>,
) -> Vec<Endpoint> {
    let mut paths: BTreeMap<String, Origin> = BTreeMap::new();
    let mut endpoints = Vec::new();
    for section in sections {
        endpoints.extend(read_one(section, backends, ingress, &mut paths));
    }
    endpoints
}

fn read_one(
    mut section: Section<'_>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
    ingress: Option<&Ingress>,
    taken: &mut BTreeMap<String, Origin>,
) -> Option<Endpoint> {
    let backend = section.required_with("backend", |entry| read_backend(&entry, backends));
    let paths = read_paths(&mut section, backend.as_ref(), taken);
    section.optional_with("form", |entry| one_of(&entry, &FORMS));
    let public = ingress.is_some_and(|ingress| !ingress.listen.ip().is_loopback());
    if public && !section.has("auth") {
        section.problem_here(
            "`auth` is missing, and `ingress.listen` is not loopback: anybody could post; \
             write auth = { basic = { user = \"..\", password = \"${..}\" } }, or auth = \"none\" if that is meant",
        );
    }
    let auth = section.optional_with("auth", auth::read).unwrap_or_default();
    let allow_blank = section.or("allow_blank", false);
    let charset = section.or("charset", Charset(encoding_rs::UTF_8)).0;
    let fields = read_fields(&mut section, allow_blank, ingress);
    let methods =
        section.optional_with("methods", read_methods).unwrap_or_else(|| METHODS.map(|(_, m)| m).to_vec());
    let answer = section.section("answer").map(read_answer);
    section.finish();
    let form = Form::Http { methods, answer: answer? };
    Some(Endpoint { paths, backend: backend?, auth, form, fields, allow_blank, charset })
}

pub(super) fn read_backend(
    entry: &Entry<'_>,
    backends: &BTreeMap<BackendName, Option<Backend>>,
) -> Option<BackendName> {
    let name = String::read(entry.clone())?;
    let known = name.parse().ok().filter(|name| backends.contains_key(name));
    known.or_else(|| {
        let near = backends::near(&name, backends);
        entry.problem(if entry.is_hidden() {
            format!("this value is the name of no backend{near}")
        } else {
            format!("there is no backend `{name}`{near}; write [backends.{name}] with its engine")
        })
    })
}

fn read_paths(
    section: &mut Section<'_>,
    backend: Option<&BackendName>,
    taken: &mut BTreeMap<String, Origin>,
) -> Vec<String> {
    let by_backend = !section.has("path");
    let written = section.optional_with("path", |entry| Some((read_path(&entry)?, entry)));
    let paths = match (&written, backend) {
        (Some((path, _)), _) => vec![path.clone()],
        (None, Some(backend)) if by_backend => {
            vec![format!("/backends/{backend}"), format!("/backend/{backend}")]
        }
        (None, _) => Vec::new(),
    };
    // Both paths of a backend are taken together, which is one problem.
    if let Some((path, earlier)) = paths.iter().find_map(|path| Some((path, taken.get(path)?))) {
        let hidden = written.as_ref().is_some_and(|(_, entry)| entry.is_hidden());
        let shown = if hidden { "in this value".to_owned() } else { format!("`{path}/`") };
        let message =
            format!("the path {shown} is taken by the endpoint at {earlier}; one path has one endpoint");
        match &written {
            Some((_, entry)) => entry.note(message),
            None => section.problem_here(message),
        }
    }
    for path in &paths {
        taken.entry(path.clone()).or_insert_with(|| section.origin().clone());
    }
    paths
}

/// The path without its last slash.
fn read_path(entry: &Entry<'_>) -> Option<String> {
    let path = String::read(entry.clone())?;
    // Requests are looked up decoded, so an escape in a path would never match.
    let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#%".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(allowed) || path.contains("//") {
        return entry.problem("a path starts with `/` and has no space, `?`, `#`, `%` or `//`");
    }
    let path = path.strip_suffix('/').unwrap_or(&path);
    if path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return entry.problem(format!("paths from `{PREFIX}/` on are the API's; write another one"));
    }
    Some(path.to_owned())
}

fn read_methods(entry: Entry<'_>) -> Option<Vec<HttpMethod>> {
    let empty = entry.clone();
    match Vec::<MethodName>::read(entry)?.into_iter().map(|method| method.0).collect::<Vec<_>>() {
        methods if methods.is_empty() => empty.problem("at least one method is wanted"),
        methods => Some(methods),
    }
}

fn read_answer(mut section: Section<'_>) -> Answer {
    let (origin, type_origin) = (section.origin_of("status"), section.origin_of("content_type"));
    let answer = Answer {
        status: section.or("status", 200),
        body: section.or("body", "OK".to_owned()),
        content_type: section.or("content_type", "text/plain; charset=utf-8".to_owned()),
    };
    if !(200..=299).contains(&answer.status) {
        section.problem_at(
            &origin,
            "status",
            "a 2xx is wanted: it is answered when the message is in the queue",
        );
    }
    if !answer.content_type.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        let message = r#"printable ASCII is wanted, such as "application/json""#;
        section.problem_at(&type_origin, "content_type", message);
    }
    section.finish();
    answer
}

fn read_fields(section: &mut Section<'_>, allow_blank: bool, ingress: Option<&Ingress>) -> Vec<Field> {
    let params_origin = section.origin_of("params");
    let params: Vec<(String, String)> = section.or("params", Vec::new());
    let mut rules = section.section("fields");
    let declared = rules.as_ref().map(Section::keys).unwrap_or_default();
    let names = ["identity", "text"].map(str::to_owned).into_iter();
    let names: Vec<String> = names.chain(declared.into_iter().filter(|name| !is_own(name))).collect();
    for (name, _) in params.iter().filter(|(name, _)| !names.contains(name)) {
        let message = format!("`{name}` is neither identity nor text nor one of [endpoints.fields]");
        section.problem_at(&params_origin, &format!("params.{name}"), message);
    }
    let parameter_of =
        |name: &str| params.iter().find(|(from, _)| from == name).map_or(name, |(_, to)| to).to_owned();
    let mut used = BTreeMap::new();
    let mut fields = Vec::new();
    for name in names {
        let parameter = parameter_of(&name);
        if let Some(other) = used.insert(parameter.clone(), name.clone()) {
            let message = format!("`{other}` and `{name}` are read from the same parameter");
            section.problem_at(&params_origin, "params", message);
        }
        let rule = rules.as_mut().and_then(|rules| rules.named(&name)).and_then(Section::read);
        let field = unruled(name, parameter, allow_blank);
        fields.push(match rule {
            Some(rule) => read_rules(rule, field, ingress),
            None => field,
        });
    }
    fields
}

fn is_own(name: &str) -> bool {
    name == "identity" || name == "text"
}

fn unruled(name: String, parameter: String, allow_blank: bool) -> Field {
    Field {
        required: is_own(&name) && !(name == "text" && allow_blank),
        name,
        parameter,
        min_length: None,
        max_length: None,
        pattern: None,
        one_of: Vec::new(),
        integer: false,
        message: None,
    }
}

fn read_rules(mut rule: Section<'_>, mut field: Field, ingress: Option<&Ingress>) -> Field {
    let required_origin = rule.origin_of("required");
    let written: Option<bool> = rule.optional("required");
    if is_own(&field.name) && written == Some(false) {
        let message = "identity and text are always required; `allow_blank = true` takes a blank text";
        rule.problem_at(&required_origin, "required", message);
    } else if let Some(written) = written {
        field.required = written;
    }
    let (min_origin, one_of_origin) = (rule.origin_of("min_length"), rule.origin_of("one_of"));
    field.min_length = rule.optional("min_length");
    field.max_length = rule.optional("max_length");
    if field.min_length > field.max_length && field.max_length.is_some() {
        rule.problem_here("`min_length` is above `max_length`: nothing could match");
    }
    if let Some((key, limit)) = ingress.map(|ingress| limit_of(&field.name, ingress))
        && field.min_length > Some(limit)
    {
        let message = format!("above ingress.{key}, which is {limit}: nothing could match");
        rule.problem_at(&min_origin, "min_length", message);
    }
    field.pattern = rule.optional::<WholeMatch>("pattern").map(|pattern| pattern.0);
    field.one_of = rule.or("one_of", Vec::new());
    field.integer = rule.or("integer", false);
    field.message = rule.optional("message");
    for (place, _) in field.one_of.iter().enumerate().filter(|(_, value)| !field.takes(value)) {
        let message = "this value can never match: it is blank, has space around it, or breaks another rule";
        rule.problem_at(&one_of_origin, &format!("one_of[{place}]"), message);
    }
    rule.finish();
    field
}

/// The key and the value of the limit that every field of that name has.
fn limit_of(name: &str, ingress: &Ingress) -> (&'static str, usize) {
    match name {
        "identity" => ("max_identity_length", ingress.max_identity_length),
        _ => ("max_text_length", ingress.max_text_length),
    }
}

impl Field {
    /// The first rule that a value breaks, in our words.
    #[must_use]
    pub fn broken_rule(&self, value: &str) -> Option<Cow<'static, str>> {
        let length = value.chars().count();
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            return Some(
                format!("ensure this value has at least {least} characters (it has {length})").into(),
            );
        }
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            return Some(format!("ensure this value has at most {most} characters (it has {length})").into());
        }
        if self.integer && !is_integer(value) {
            return Some("enter a whole number".into());
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(value)) {
            return Some("enter a valid value".into());
        }
        let listed = self.one_of.is_empty() || self.one_of.iter().any(|allowed| allowed == value);
        (!listed).then_some("select one of the allowed values".into())
    }

    /// Whether `value`, one of `one_of`, can ever arrive: cleaning leaves it as it is, and it keeps the other rules.
    fn takes(&self, value: &str) -> bool {
        !value.is_empty() && value.trim() == value && self.broken_rule(value).is_none()
    }
}

/// A sign, then ASCII digits: what every program reads as the same number.
fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A pattern that must match all of a value.
struct WholeMatch(Regex);

impl Read for WholeMatch {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let same = entry.clone();
        let written = String::read(same)?;
        let compiled = Regex::new(&written).and_then(|_| Regex::new(&format!(r"\A(?:{written})\z")));
        compiled.map(Self).map_err(|error| entry.note(explain_regex(&error))).ok()
    }
}

struct MethodName(HttpMethod);

impl Read for MethodName {
    fn read(entry: Entry<'_>) -> Option<Self> {
        one_of(&entry, &METHODS).map(Self)
    }
}

struct Charset(&'static encoding_rs::Encoding);

impl Read for Charset {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(label) = &entry.node.value else {
            return entry.problem("the name of a charset is wanted");
        };
        let known = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
        known.map(Self).or_else(|| {
            let shown = entry.shown(label);
            entry.problem(format!("{shown} is no charset; write utf-8, iso-8859-1, utf-16be ..."))
        })
    }
}
