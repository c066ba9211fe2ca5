//! How the answers of an HTTP API are read: which of them means what, and where the provider's own id is.

use regex::Regex;

use crate::config::reader::{Entry, Section};

/// How answers are read.
#[derive(Clone, Debug)]
pub struct Answers {
    /// Which mean that the provider took the message.
    pub success: Rule,
    /// Which mean that it takes none at the moment, beside the statuses that always mean it.
    pub unavailable: Option<Rule>,
    /// Where the provider's own id is.
    pub message_id: Option<IdRule>,
}

/// What an answer must be. All that is written must hold.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// The statuses; empty means any 2xx of a success, and any at all of an `unavailable`.
    pub status: Vec<u16>,
    /// What the body must contain.
    pub body: Option<Regex>,
    /// What the body must have as JSON.
    pub json: Option<Member>,
}

/// A value of a JSON document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The pointer to it.
    pub pointer: String,
    /// What it must be, as text.
    pub one_of: Vec<String>,
}

/// Where an answer has the provider's own id.
#[derive(Clone, Debug)]
pub enum IdRule {
    /// A JSON pointer.
    Json(String),
    /// The first group of a pattern, or all of it.
    Pattern(Regex),
}

impl Rule {
    /// Whether a success may have this status.
    #[must_use]
    pub fn expects(&self, status: u16) -> bool {
        if self.status.is_empty() { (200..=299).contains(&status) } else { self.status.contains(&status) }
    }

    /// Whether the body decides, too.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.body.is_some() || self.json.is_some()
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Answers> {
    let success = section.section("success").map(read_rule);
    let origin = section.origin_of("unavailable");
    let unavailable = section.optional_with("unavailable", Section::read).map(read_rule);
    let message_id = section.optional_with("message_id", read_id_rule);
    let success = success?;
    if let Some(contradiction) = unavailable.as_ref().and_then(|rule| contradiction(rule, &success)) {
        section.problem_at(&origin, "unavailable", contradiction);
    }
    Some(Answers { success, unavailable, message_id })
}

/// Why no answer, or every one, would mean that the provider takes nothing.
fn contradiction(unavailable: &Rule, success: &Rule) -> Option<String> {
    if unavailable.reads_body() {
        return None;
    }
    if unavailable.status.is_empty() {
        return Some("`status`, `body`, or `json` with `one_of` is wanted".to_owned());
    }
    let both = unavailable.status.iter().find(|status| success.expects(**status))?;
    Some(format!("{both} is a success; say with `body`, or `json` and `one_of`, when it is none"))
}

fn read_rule(mut section: Section<'_>) -> Rule {
    let origin = section.origin_of("status");
    let status: Vec<u16> = section.or("status", Vec::new());
    if status.iter().any(|status| !(100..=599).contains(status)) {
        section.problem_at(&origin, "status", "HTTP statuses are wanted, such as [200, 202]");
    }
    let body = section.optional("body");
    if section.has("json") != section.has("one_of") {
        section.problem_here(
            "`json` and `one_of` belong together: where a value is, and what it must be, as text",
        );
    }
    let pointer = read_pointer(&mut section);
    let one_of_origin = section.origin_of("one_of");
    let one_of: Option<Vec<String>> = section.optional("one_of");
    if one_of.as_ref().is_some_and(Vec::is_empty) {
        section.problem_at(&one_of_origin, "one_of", "at least one value is wanted");
    }
    let json = pointer.zip(one_of).map(|(pointer, one_of)| Member { pointer, one_of });
    section.finish();
    Rule { status, body, json }
}

fn read_id_rule(entry: Entry<'_>) -> Option<IdRule> {
    let mut section = Section::read(entry)?;
    let pointer = read_pointer(&mut section);
    let pattern: Option<Regex> = section.optional("pattern");
    let rule = match (pointer, pattern) {
        (Some(pointer), None) => Some(IdRule::Json(pointer)),
        (None, Some(pattern)) => Some(IdRule::Pattern(pattern)),
        _ => {
            section.problem_here("either `json` or `pattern` is wanted");
            None
        }
    };
    section.finish();
    rule
}

/// Reads `json`, a pointer.
fn read_pointer(section: &mut Section<'_>) -> Option<String> {
    let origin = section.origin_of("json");
    let pointer: String = section.optional("json")?;
    if !pointer.starts_with('/') {
        let message = r#"a JSON pointer starts with `/`, such as "/messages/0/id""#;
        section.problem_at(&origin, "json", message);
    }
    Some(pointer)
}
