//! `params` and `[endpoints.fields]`: the fields of a message, where each is found, and what it must look like.

use std::borrow::Cow;

use regex::Regex;

use super::{
    form::{Form, Source},
    known,
};
use crate::{
    config::{
        Ingress,
        problem::suggestion,
        reader::{Entry, Read, Section, explain_regex},
    },
    message::EXTERNAL_ID,
};

/// One field of a message, where it comes from, and what it must look like.
#[derive(Clone, Debug)]
pub struct Field {
    /// Our name: `identity`, `text`, one that the form knows, or one of `[endpoints.fields]`.
    pub name: String,
    /// The provider's name, or, for a JSON document, the pointer to it.
    pub parameter: String,
    /// Whether it must be there.
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

/// Reads the fields of an endpoint with this form, `identity` and `text` first.
pub(super) fn read(section: &mut Section<'_>, form: &Form, ingress: Option<&Ingress>) -> Vec<Field> {
    let allow_blank = section.or("allow_blank", form.allows_blank());
    let params_origin = section.origin_of("params");
    let params: Vec<(String, String)> = section.or("params", Vec::new());
    let mut rules = section.section("fields");
    let mut fields = known::fields(form, allow_blank);
    let declared = rules.as_ref().map(Section::keys).unwrap_or_default();
    // The provider's own id needs no rules to be declared.
    let renamed = params.iter().map(|(name, _)| name).filter(|name| *name == EXTERNAL_ID);
    for name in declared.iter().chain(renamed) {
        if !fields.iter().any(|field| field.name == *name) {
            fields.push(Field::new(name, known::default_parameter(form, name)));
        }
    }
    let problem =
        |key: &str, message: &str| section.problem_at(&params_origin, &format!("params{key}"), message);
    for (name, parameter) in params {
        let key = format!(".{name}");
        match (form.source(), parameter.starts_with('/')) {
            (Source::Json, false) => problem(&key, r#"a JSON pointer is wanted, such as "/content""#),
            (Source::Parameters, true) => problem(&key, "a JSON pointer finds nothing here: no JSON is read"),
            _ => {}
        }
        if let Some(field) = fields.iter_mut().find(|field| field.name == name) {
            field.parameter = parameter;
            continue;
        }
        let near = suggestion(&name, fields.iter().map(|field| field.name.as_str()));
        problem(
            &key,
            &format!("`{name}` is neither a field of this form nor one of [endpoints.fields]{near}"),
        );
    }
    let with_rules = |field: Field| match rules.as_mut().and_then(|rules| rules.named(&field.name)) {
        Some(entry) => read_rules(entry, field, ingress),
        None => field,
    };
    let fields: Vec<Field> = fields.into_iter().map(with_rules).collect();
    if let Some(same) = read_twice(&fields) {
        problem("", &same);
    }
    if form.source() == Source::Both {
        for (name, never) in never_read(&fields) {
            problem(&format!(".{name}"), &never);
        }
    }
    fields
}

/// Why not each of these fields has a value of its own.
fn read_twice(fields: &[Field]) -> Option<String> {
    fields.iter().enumerate().find_map(|(place, field)| {
        let other = fields[..place].iter().find(|other| other.parameter == field.parameter)?;
        Some(format!("`{}` and `{}` are read from the same parameter", other.name, field.name))
    })
}

/// The fields that no request has beside the identity, which every request has, and why.
fn never_read(fields: &[Field]) -> impl Iterator<Item = (&str, String)> {
    let in_json = fields.first().is_some_and(Field::is_in_json);
    let (here, there) = if in_json { ("parameters", "JSON") } else { ("JSON", "parameters") };
    fields.iter().filter(move |field| field.is_in_json() != in_json).map(move |Field { name, .. }| {
        let why = format!("`{name}` is looked for in {here}, and `identity` in {there}: no request has both");
        (name.as_str(), why)
    })
}

fn is_own(name: &str) -> bool {
    name == "identity" || name == "text"
}

fn read_rules(entry: Entry<'_>, mut field: Field, ingress: Option<&Ingress>) -> Field {
    let Some(mut rule) = Section::read(entry) else { return field };
    let required_origin = rule.origin_of("required");
    let written: Option<bool> = rule.optional("required");
    if is_own(&field.name) && written == Some(false) {
        let message = "identity and text are always required; `allow_blank = true` takes a blank text";
        rule.problem_at(&required_origin, "required", message);
    } else if is_own(&field.name) && written == Some(true) && !field.required {
        let message = "a blank text is a message here; write allow_blank = false";
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
    /// A field without rules.
    pub(super) fn new(name: &str, parameter: String) -> Self {
        Self {
            name: name.to_owned(),
            parameter,
            required: false,
            min_length: None,
            max_length: None,
            pattern: None,
            one_of: Vec::new(),
            integer: false,
            message: None,
        }
    }

    /// Whether it is looked for in a JSON document.
    #[must_use]
    pub fn is_in_json(&self) -> bool {
        self.parameter.starts_with('/')
    }

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
