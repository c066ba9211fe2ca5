//! The fields of a message: cleaned as RapidSMS cleans them, then checked by the endpoint's rules.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    config::{Config, Endpoint, endpoints::Field},
    message::strip,
};

use super::{Reading, params::Params};
use crate::refusal::Problem;

/// The fields of one endpoint.
#[derive(Clone)]
pub struct Fields {
    all: Vec<Field>,
    /// The longest identity, in characters.
    max_identity: usize,
    /// The longest other field, in characters.
    max_text: usize,
    /// The arrays that a message is read out of, by pointer, each with how many of its elements that takes.
    arrays: Vec<(String, usize)>,
}

impl Fields {
    /// The fields that `endpoint` has, `identity` and `text` first, with the limits of `config`.
    #[must_use]
    pub fn new(endpoint: &Endpoint, config: &Config) -> Self {
        let (max_identity, max_text) = (config.ingress.max_identity_length, config.ingress.max_text_length);
        Self { all: endpoint.fields.clone(), max_identity, max_text, arrays: arrays(&endpoint.fields) }
    }

    /// The same, but that a blank text is a message.
    #[must_use]
    pub fn with_blank_text(mut self) -> Self {
        self.all.iter_mut().filter(|field| field.name == "text").for_each(|field| field.required = false);
        self
    }

    /// What the provider calls the field `name`, which the form has.
    #[must_use]
    pub fn parameter<'f>(&'f self, name: &'f str) -> &'f str {
        self.all.iter().find(|field| field.name == name).map_or(name, |field| &field.parameter)
    }

    /// Whether some of them are looked for in a JSON document.
    #[must_use]
    pub fn are_in_json(&self) -> bool {
        self.all.iter().any(Field::is_in_json)
    }

    /// Reads all fields, or tells what is wrong with each.
    pub fn read(&self, params: &Params<'_>) -> Result<Reading, Vec<Problem>> {
        let several =
            |(array, taken): &&(String, usize)| params.count(array).is_some_and(|count| count > *taken);
        if let Some((array, _)) = self.arrays.iter().find(several) {
            let field = if array.is_empty() { "body" } else { array };
            // Taking one only would lose the others.
            return Err(vec![Problem::new(field, "more than one message: one request is wanted for each")]);
        }
        let mut problems = Vec::new();
        let mut reading = Reading::default();
        for field in &self.all {
            let limit = if field.name == "identity" { self.max_identity } else { self.max_text };
            let value = params.text(&field.parameter).map_err(|rule| Problem::new(&field.parameter, rule));
            match value.and_then(|value| check(field, value.as_deref(), limit)) {
                Ok(Some(value)) => match field.name.as_str() {
                    "identity" => reading.identity = value,
                    "text" => reading.text = value,
                    name => drop(reading.fields.insert(name.to_owned(), value)),
                },
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(reading)
    }
}

/// The arrays that the pointers of identity and text go through, if what is there is one, and how many elements they name.
fn arrays(fields: &[Field]) -> Vec<(String, usize)> {
    let is_own = |field: &&Field| field.is_in_json() && (field.name == "identity" || field.name == "text");
    let mut arrays = BTreeMap::<&str, BTreeSet<usize>>::new();
    for Field { parameter, .. } in fields.iter().filter(is_own) {
        for (at, _) in parameter.match_indices('/') {
            let place: Option<usize> =
                parameter[at + 1..].split('/').next().and_then(|token| token.parse().ok());
            arrays.entry(&parameter[..at]).or_default().extend(place);
        }
    }
    let named = arrays.into_iter().filter(|(_, places)| !places.is_empty());
    named.map(|(array, places)| (array.to_owned(), places.len())).collect()
}

/// What every value that comes in is: without the space around it, nothing when it is blank, or the rule that it breaks.
pub(super) fn clean(value: &str, limit: usize) -> Result<Option<&str>, String> {
    let value = strip(value);
    if value.contains('\0') {
        return Err("null characters are not allowed".to_owned());
    }
    let length = value.chars().count();
    if length > limit {
        return Err(format!("ensure this value has at most {limit} characters (it has {length})"));
    }
    Ok(Some(value).filter(|value| !value.is_empty()))
}

/// The value, nothing when it is missing and may be, or why it is refused.
fn check(field: &Field, value: Option<&str>, limit: usize) -> Result<Option<String>, Problem> {
    let problem = |rule: &str| Problem::new(&field.parameter, rule);
    let value = match clean(value.unwrap_or(""), limit).map_err(|rule| problem(&rule))? {
        None if field.required => return Err(problem("this field is required")),
        None => return Ok(None),
        Some(value) => value,
    };
    match field.broken_rule(value) {
        None => Ok(Some(value.to_owned())),
        Some(rule) => Err(Problem { message: field.message.clone(), ..problem(&rule) }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field(name: &str) -> Field {
        Field {
            name: name.to_owned(),
            parameter: name.to_owned(),
            required: true,
            min_length: None,
            max_length: None,
            pattern: None,
            one_of: Vec::new(),
            integer: false,
            message: None,
        }
    }

    fn checked(field: &Field, value: &str) -> Result<Option<String>, String> {
        check(field, Some(value), 10).map_err(|problem| problem.message.unwrap_or(problem.rule))
    }

    #[test]
    fn values_are_stripped_and_a_blank_one_is_missing() {
        assert_eq!(checked(&field("text"), " \t\u{a0}a  b\u{1c}\n").unwrap().as_deref(), Some("a  b"));
        for blank in ["", "  ", "\r\n", "\u{2003}"] {
            assert_eq!(checked(&field("text"), blank), Err("this field is required".to_owned()), "{blank:?}");
        }
        let optional = Field { required: false, ..field("text") };
        assert_eq!(checked(&optional, "  "), Ok(None));
        assert_eq!(check(&optional, None, 10), Ok(None));
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(checked(&field("text"), "éééééééééé").is_ok());
        let told = "ensure this value has at most 10 characters (it has 11)".to_owned();
        assert_eq!(checked(&field("text"), "ééééééééééé"), Err(told));
        let short = Field { min_length: Some(3), ..field("text") };
        assert!(checked(&short, "éé").unwrap_err().contains("at least 3"));
        let long = Field { max_length: Some(2), ..field("text") };
        assert!(checked(&long, "ééé").unwrap_err().contains("at most 2"));
    }

    #[test]
    fn each_rule_refuses_and_the_own_message_is_told() {
        let integer = Field { integer: true, ..field("n") };
        assert!(
            checked(&integer, "-12").is_ok()
                && checked(&integer, "1.5").is_err()
                && checked(&integer, "+").is_err()
        );
        let pattern = Field { pattern: Some(regex::Regex::new(r"\A(?:\d+)\z").unwrap()), ..field("n") };
        assert!(checked(&pattern, "123").is_ok() && checked(&pattern, "12x").is_err());
        let only = Field {
            one_of: vec!["1231231234".to_owned()],
            message: Some("not you".to_owned()),
            ..field("n")
        };
        assert!(checked(&only, "1231231234").is_ok());
        assert_eq!(checked(&only, "999"), Err("not you".to_owned()));
        assert_eq!(checked(&only, ""), Err("this field is required".to_owned()));
        assert_eq!(checked(&only, "a\0b"), Err("null characters are not allowed".to_owned()));
    }

    proptest! {
        #[test]
        fn an_accepted_value_is_what_was_sent_without_the_space_around(value in any::<String>()) {
            if let Ok(Some(accepted)) = checked(&field("text"), &value) {
                prop_assert!(value.contains(&accepted) && !accepted.is_empty() && !accepted.contains('\0'));
                prop_assert_eq!(strip(&accepted), accepted.as_str());
            }
        }
    }
}
