//! What a webhook says: one JSON object, whose keys are those that have a meaning in the phase. Pure.
//!
//! An unknown key is an error: it may be a reply that is spelt wrong, which would be lost.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use shared::message::{BackendName, Identity};

use crate::{apps::Context, engines::client::Answer};

/// The answer in the phase `filter`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::apps) struct Filtered {
    /// Whether the message reaches no other phase.
    pub(in crate::apps) stop: bool,
    /// What to send.
    pub(in crate::apps) messages: Messages,
}

/// The answer in the phase `parse`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::apps) struct Parsed {
    /// What the message says from now on.
    pub(in crate::apps) text: Option<String>,
    /// What is added to its fields.
    pub(in crate::apps) fields: BTreeMap<String, String>,
    /// What to send.
    pub(in crate::apps) messages: Messages,
}

/// The answer in the phases `handle` and `default`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::apps) struct Claimed {
    handled: Option<bool>,
    /// What to send.
    pub(in crate::apps) messages: Messages,
}

/// The answer in the phase `cleanup`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::apps) struct Cleaned {
    /// What to send.
    pub(in crate::apps) messages: Messages,
}

/// The answer in the phase `outgoing`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(in crate::apps) struct Changed {
    /// What the reply says from now on.
    pub(in crate::apps) text: Option<String>,
    /// Whether it is not sent.
    pub(in crate::apps) cancel: bool,
}

/// What to send, in order.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub(in crate::apps) struct Messages(Vec<Message>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    text: String,
    backend: Option<BackendName>,
    identities: Option<Vec<Identity>>,
}

impl Claimed {
    /// Whether the message is claimed: who answers it has, unless it says otherwise. A message to nobody is no answer.
    pub(in crate::apps) fn is_handled(&self) -> bool {
        let is_to_nobody = |message: &Message| message.identities.as_ref().is_some_and(Vec::is_empty);
        self.handled.unwrap_or_else(|| !self.messages.0.iter().all(is_to_nobody))
    }
}

impl Messages {
    /// Sends them; to the sender of the message, through its backend, where they say nothing else.
    pub(in crate::apps) fn send(self, context: &mut Context<'_>) {
        for Message { text, backend, identities } in self.0 {
            let backend = backend.unwrap_or_else(|| context.message.backend.clone());
            let identities = identities.unwrap_or_else(|| vec![context.message.identity.clone()]);
            context.send(backend, identities, text);
        }
    }
}

/// Reads an answer of a success status; one without a body says nothing. The reason has nothing of what it says.
pub(in crate::apps) fn read<A: DeserializeOwned + Default>(answer: &Answer) -> Result<A, String> {
    if answer.broke_off {
        return Err("the answer broke off, or was too slow".to_owned());
    }
    if answer.is_too_large {
        return Err("the answer is too large".to_owned());
    }
    parse(&answer.body)
}

fn parse<A: DeserializeOwned + Default>(body: &[u8]) -> Result<A, String> {
    match body.trim_ascii() {
        [] => Ok(A::default()),
        // An array would be taken for an object without its keys.
        [b'{', ..] => serde_json::from_slice(body).map_err(|error| {
            format!(
                "the answer is not what is documented for this phase, at line {} column {}",
                error.line(),
                error.column()
            )
        }),
        _ => Err("the answer is no JSON object".to_owned()),
    }
}

#[cfg(test)]
mod tests;
