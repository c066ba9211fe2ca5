//! The rules of a submission: what of it can be sent, and by whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use axum::http::HeaderValue;
use jiff::Timestamp;
use shared::{
    clock::UnixMillis,
    config,
    message::{BackendName, Identity},
};

use super::{Checked, Submission};
use crate::api::{
    callers::Caller,
    error::{ApiError, Problem},
};

/// The most recipients of one request.
const MAX_RECIPIENTS: usize = 10_000;

/// The longest id of a caller's own, in characters.
const MAX_ID_LENGTH: usize = 200;

/// The limits of what may be submitted, in characters.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    identity: usize,
    text: usize,
}

impl Limits {
    /// As the configuration says: the same as those of the endpoints.
    #[must_use]
    pub fn of(ingress: &config::Ingress) -> Self {
        Self { identity: ingress.max_identity_length, text: ingress.max_text_length }
    }

    /// Checks a submission; all that is wrong with it is told.
    pub(super) fn check(
        self,
        submission: Submission,
        key: Option<&HeaderValue>,
        caller: &Caller,
        now: UnixMillis,
    ) -> Result<Checked, ApiError> {
        let Submission { backend, to, text, id, expires_in, expires_at, fields } = submission;
        let (fields, mut problems) = (fields.unwrap_or_default(), Problems::default());
        let backend = problems.check_backend(&backend, caller);
        let identities = problems.check_recipients(&to, self.identity);
        problems.check_value("text", &text, self.text);
        let id = problems.check_id(id, key);
        let expires_at = problems.check_expiry(expires_in, expires_at.as_deref(), now);
        problems.check_fields(&fields, self.text);
        if !problems.0.is_empty() {
            return Err(ApiError::Invalid(problems.0));
        }
        // Whether a backend exists that is not the token's is nothing to be told.
        let backend = backend.ok_or_else(|| ApiError::Backend(caller.backends.iter().cloned().collect()))?;
        Ok(Checked { backend, identities, text, expires_at, id, fields })
    }
}

/// What is wrong with a submission.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Problem::new(field, problem));
    }

    fn check_value(&mut self, field: &str, value: &str, limit: usize) {
        let length = value.chars().count();
        if value.trim().is_empty() {
            self.add(field, "this field is required");
        } else if value.contains('\0') {
            self.add(field, "null characters are not allowed");
        } else if length > limit {
            self.add(field, format!("ensure this value has at most {limit} characters (it has {length})"));
        }
    }

    /// The backend, when it is the caller's. Who may use all of them is told which there are.
    fn check_backend(&mut self, name: &str, caller: &Caller) -> Option<BackendName> {
        let backend = caller.backends.get(name);
        if backend.is_none() && caller.is_anybody() {
            let known: Vec<&str> = caller.backends.iter().map(BackendName::as_str).collect();
            self.add("backend", format!("there is no such backend; there are {}", known.join(", ")));
        }
        backend.cloned()
    }

    /// The recipients without the space around them, each once, sorted.
    fn check_recipients(&mut self, to: &[String], limit: usize) -> Vec<Identity> {
        let count = to.len();
        if !(1..=MAX_RECIPIENTS).contains(&count) {
            self.add("to", format!("1 to {MAX_RECIPIENTS} recipients are wanted (these are {count})"));
            return Vec::new();
        }
        for (place, identity) in to.iter().enumerate() {
            self.check_value(&format!("to[{place}]"), identity.trim(), limit);
        }
        let identities: BTreeSet<&str> = to.iter().map(|identity| identity.trim()).collect();
        identities.into_iter().map(Identity::from).collect()
    }

    /// The caller's own id, which may stand in the body or in the header.
    fn check_id(&mut self, id: Option<String>, key: Option<&HeaderValue>) -> Option<String> {
        let in_header = key.map(|key| key.to_str().map(unquoted));
        if let Some(Err(_)) = in_header {
            self.add("Idempotency-Key", "printable ASCII is wanted");
        }
        let in_header = in_header.and_then(Result::ok).map(str::to_owned);
        let (field, id) = match (id, in_header) {
            (Some(id), Some(key)) if id != key => {
                self.add("id", "the header Idempotency-Key has another id; only one of them is wanted");
                return None;
            }
            (Some(id), _) => ("id", id),
            (None, Some(key)) => ("Idempotency-Key", key),
            (None, None) => return None,
        };
        self.check_value(field, &id, MAX_ID_LENGTH);
        Some(id)
    }

    fn check_expiry(&mut self, within: Option<u32>, at: Option<&str>, now: UnixMillis) -> Option<UnixMillis> {
        match (within, at) {
            (Some(_), Some(_)) => {
                self.add("expires_at", "only one of expires_in and expires_at is wanted");
                None
            }
            (Some(0), None) => {
                self.add("expires_in", "a whole number of seconds from 1 to 4294967295 is wanted");
                None
            }
            (Some(seconds), None) => Some(now.plus(Duration::from_secs(seconds.into()))),
            (None, Some(time)) => {
                let Ok(time) = time.parse::<Timestamp>() else {
                    self.add("expires_at", "a time is wanted, such as 2031-01-31T18:00:00+02:00");
                    return None;
                };
                let time = UnixMillis(u64::try_from(time.as_millisecond()).unwrap_or(0));
                if time <= now {
                    self.add("expires_at", "this time has passed already");
                }
                Some(time)
            }
            (None, None) => None,
        }
    }

    fn check_fields(&mut self, fields: &BTreeMap<String, String>, limit: usize) {
        let length: usize =
            fields.iter().flat_map(|(name, value)| [name, value]).map(|t| t.chars().count()).sum();
        if length > limit {
            // They travel with each of the queued messages.
            let told =
                format!("ensure all names and values have at most {limit} characters (they have {length})");
            self.add("fields", told);
        }
        if fields.iter().any(|(name, value)| name.is_empty() || (name.clone() + value).contains('\0')) {
            self.add("fields", "names that are not empty are wanted, and no null characters");
        }
    }
}

/// A header's value without the quotes that a structured field has.
fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}
