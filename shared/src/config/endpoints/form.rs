//! `form` of an endpoint: how its requests are read, and the keys that only one form has.

use crate::config::reader::{Entry, Read, Section, one_of};

/// How a request is read, and the settings of that.
#[derive(Clone, Debug)]
pub enum Form {
    /// Parameters in the URL or the body, or a JSON document.
    Http {
        /// The methods allowed.
        methods: Vec<HttpMethod>,
        /// What is answered when the message is in the queue.
        answer: Answer,
    },
    /// What Kannel's `get-url` asks for.
    Kannel,
    /// What Vumi's RapidSMS relay posts.
    Vumi,
    /// What Twilio posts, and whoever is compatible with it.
    Twilio,
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

/// Where the fields of a request are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In parameters, by name.
    Parameters,
    /// In a JSON document, by pointer.
    Json,
    /// In either, whichever a request has.
    Both,
}

/// The name of a form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum FormKind {
    Http,
    Kannel,
    Vumi,
    Twilio,
}

const KINDS: [(&str, FormKind); 4] = [
    ("http", FormKind::Http),
    ("kannel", FormKind::Kannel),
    ("vumi", FormKind::Vumi),
    ("twilio", FormKind::Twilio),
];

const METHODS: [(&str, HttpMethod); 2] = [("GET", HttpMethod::Get), ("POST", HttpMethod::Post)];

/// Reads the form of an endpoint, which is `default` when none is written. Nothing when its name is not known.
pub(in crate::config) fn read(section: &mut Section<'_>, default: FormKind) -> Option<Form> {
    let written = section.has("form");
    let kind = section.optional_with("form", |entry| one_of(&entry, &KINDS));
    let form = match if written { kind? } else { default } {
        FormKind::Http => {
            let methods = section.optional_with("methods", read_methods);
            let methods = methods.unwrap_or_else(|| METHODS.map(|(_, method)| method).to_vec());
            let answer = section.section("answer").map(read_answer).unwrap_or_default();
            return Some(Form::Http { methods, answer });
        }
        FormKind::Kannel => Form::Kannel,
        FormKind::Vumi => Form::Vumi,
        FormKind::Twilio => Form::Twilio,
    };
    for key in ["methods", "answer"] {
        refuse(
            section,
            key,
            "only the form `http` has this; the others take and answer what their provider does",
        );
    }
    if matches!(form, Form::Vumi) {
        refuse(section, "charset", "what the form `vumi` reads is JSON, and that is UTF-8");
    }
    Some(form)
}

/// Takes a key that makes no sense here, and tells why.
fn refuse(section: &mut Section<'_>, key: &str, why: &str) {
    if let Some(entry) = section.named(key) {
        entry.note(why);
    }
}

impl Form {
    /// Whether a blank text is a message, where the endpoint does not say.
    pub(super) fn allows_blank(&self) -> bool {
        // As RapidSMS takes them from Vumi, where they open and end sessions; and Kannel would only ask again.
        matches!(self, Self::Kannel | Self::Vumi)
    }

    /// Its name.
    pub(in crate::config) fn kind(&self) -> FormKind {
        match self {
            Self::Http { .. } => FormKind::Http,
            Self::Kannel => FormKind::Kannel,
            Self::Vumi => FormKind::Vumi,
            Self::Twilio => FormKind::Twilio,
        }
    }

    /// Whether a request may be a JSON document.
    pub(in crate::config) fn takes_json(&self) -> bool {
        self.source() != Source::Parameters
    }

    /// Leaves GET out, which has no JSON. True when it was there.
    pub(super) fn leave_out_get(&mut self) -> bool {
        let Self::Http { methods, .. } = self else { return false };
        let before = methods.len();
        methods.retain(|method| *method != HttpMethod::Get);
        methods.len() < before
    }

    /// Where the fields of a request are found.
    pub(super) fn source(&self) -> Source {
        match self {
            Self::Http { methods, .. } if methods.contains(&HttpMethod::Post) => Source::Both,
            Self::Http { .. } | Self::Kannel | Self::Twilio => Source::Parameters,
            Self::Vumi => Source::Json,
        }
    }
}

fn read_methods(entry: Entry<'_>) -> Option<Vec<HttpMethod>> {
    let empty = entry.clone();
    match Vec::<MethodName>::read(entry)?.into_iter().map(|method| method.0).collect::<Vec<_>>() {
        methods if methods.is_empty() => empty.problem("at least one method is wanted"),
        methods => Some(methods),
    }
}

struct MethodName(HttpMethod);

impl Read for MethodName {
    fn read(entry: Entry<'_>) -> Option<Self> {
        one_of(&entry, &METHODS).map(Self)
    }
}

impl Default for Answer {
    fn default() -> Self {
        Self { status: 200, body: "OK".to_owned(), content_type: "text/plain; charset=utf-8".to_owned() }
    }
}

fn read_answer(mut section: Section<'_>) -> Answer {
    let (origin, type_origin) = (section.origin_of("status"), section.origin_of("content_type"));
    let default = Answer::default();
    let answer = Answer {
        status: section.or("status", default.status),
        body: section.or("body", default.body),
        content_type: section.or("content_type", default.content_type),
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
