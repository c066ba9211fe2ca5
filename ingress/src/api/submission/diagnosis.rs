//! Why an object is no [`Submission`](super::Submission): serde stops at the first problem, and here all are told.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::error::{ApiError, Problem};

/// How much of an unknown key is told, in characters.
const MAX_TOLD: usize = 64;

/// What is wrong with `object`, of which serde says `error`.
pub(super) fn of(object: Value, error: &serde_json::Error) -> ApiError {
    let mut diagnosis = Diagnosis { object, known: Vec::new(), problems: Vec::new() };
    diagnosis.wants::<String>("backend", "a string");
    diagnosis.wants::<Vec<String>>("to", "a list of strings, such as [\"+1112223333\"],");
    diagnosis.wants::<String>("text", "a string");
    diagnosis.takes::<String>("id", "a string");
    diagnosis.takes::<u32>("expires_in", "a whole number of seconds from 1 to 4294967295");
    diagnosis.takes::<String>("expires_at", "a string");
    diagnosis.takes::<BTreeMap<String, String>>("fields", "an object of strings");
    ApiError::Invalid(diagnosis.finish(error))
}

/// What is left of the object to be looked at, and what is wrong with the rest.
struct Diagnosis {
    object: Value,
    known: Vec<&'static str>,
    problems: Vec<Problem>,
}

impl Diagnosis {
    /// A key that must be there, and what it must be.
    fn wants<T: DeserializeOwned>(&mut self, key: &'static str, wanted: &str) {
        if self.object[key].is_null() {
            self.problems.push(Problem::new(key, "this field is required"));
        }
        self.takes::<T>(key, wanted);
    }

    /// A key that may be missing; `null` is missing.
    fn takes<T: DeserializeOwned>(&mut self, key: &'static str, wanted: &str) {
        self.known.push(key);
        let value = self.object.as_object_mut().and_then(|object| object.remove(key));
        let value = value.filter(|value| !value.is_null());
        if value.is_some_and(|value| serde_json::from_value::<T>(value).is_err()) {
            self.problems.push(Problem::new(key, format!("{wanted} is wanted")));
        }
    }

    /// All problems, the keys that nobody took among them; or what serde says.
    fn finish(mut self, error: &serde_json::Error) -> Vec<Problem> {
        let known = self.known.join(", ");
        let unknown = |key: &String| {
            let told: String = key.chars().take(MAX_TOLD).collect();
            Problem::new(told, format!("this field is not known; known are {known}"))
        };
        self.problems.extend(self.object.as_object().into_iter().flat_map(|left| left.keys()).map(unknown));
        if self.problems.is_empty() {
            self.problems.push(Problem::new("", error.to_string()));
        }
        self.problems
    }
}
