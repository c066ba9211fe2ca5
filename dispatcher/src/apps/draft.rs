//! [`Draft`]: a message to send, on its way through the phase `outgoing`.

use std::collections::BTreeMap;

use shared::message::{BackendName, Identity, MessageId, OutgoingMessage};

/// A message to send that is not queued yet. An app may change its text, and take identities out of it.
#[derive(Clone, Debug)]
pub struct Draft(pub(crate) OutgoingMessage);

impl Draft {
    /// Its id, the same when what led to it is handled again.
    #[must_use]
    pub fn id(&self) -> MessageId {
        self.0.id
    }

    /// The message that it answers; none when a program submitted it.
    #[must_use]
    pub fn in_response_to(&self) -> Option<MessageId> {
        self.0.in_response_to
    }

    /// The backend to send it through.
    #[must_use]
    pub fn backend(&self) -> &BackendName {
        &self.0.backend
    }

    /// Who shall get it, each once.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.0.identities
    }

    /// Leaves only those whom `stays` wants to. A message that is left with nobody is cancelled.
    pub fn retain(&mut self, stays: impl FnMut(&Identity) -> bool) {
        self.0.identities.retain(stays);
    }

    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Has it say something else.
    pub fn set_text(&mut self, text: impl Into<String>) {
        self.0.text = text.into();
    }

    /// The fields of the message that it answers, or those with which it was submitted.
    #[must_use]
    pub fn fields(&self) -> &BTreeMap<String, String> {
        &self.0.fields
    }
}
