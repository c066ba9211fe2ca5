//! What is passed between the services: [`IncomingMessage`], [`SubmittedMessage`], [`OutgoingMessage`], and the words
//! they are made of.

use std::{borrow::Borrow, collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::UnixMillis;

/// The most identities that one queued [`SubmittedMessage`] or [`OutgoingMessage`] carries.
pub const MAX_IDENTITIES: usize = 200;

/// The field of a message that has the provider's own id of it.
pub const EXTERNAL_ID: &str = "external_id";

/// The namespace of the ids that are made from a provider's own.
const PROVIDERS: Uuid = Uuid::from_u128(0x6f1d_1f0e_52c5_4d4b_9b0e_8a4c_7d2e_93a6);

/// The namespace of the ids that are made from the ids of callers. Never to be changed: a repeat would be another message.
const SUBMISSIONS: Uuid = Uuid::from_u128(0x6d6a_2c1e_5f0b_4c39_9a57_3e8d_71b2_04f6);

/// A value without the space around it, as all are that come in. As Python's `str.strip`, which takes four control
/// characters for space.
#[must_use]
pub fn strip(value: &str) -> &str {
    value.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// The name of a backend: a configured way in and out to one provider account. Matches `[A-Za-z0-9_-]{1,64}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackendName(Arc<str>);

/// Why a text is no [`BackendName`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a backend name is 1 to 64 letters, digits, `_` or `-`")]
pub struct InvalidBackendName;

impl Borrow<str> for BackendName {
    /// So that a map by backend is asked with a part of a route.
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl BackendName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BackendName {
    type Err = InvalidBackendName;

    fn from_str(name: &str) -> Result<Self, InvalidBackendName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=64).contains(&name.len()) && name.chars().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidBackendName)
        }
    }
}

impl TryFrom<String> for BackendName {
    type Error = InvalidBackendName;

    fn try_from(name: String) -> Result<Self, InvalidBackendName> {
        name.parse()
    }
}

impl From<BackendName> for String {
    fn from(name: BackendName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The other party on a backend: a phone number, a short code, a chat name. Compared exactly; never normalised.
///
/// `Debug` hides it, because a number is personal data; show it on purpose with [`Identity::as_str`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Identity(Box<str>);

impl Identity {
    /// The identity as the provider wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Identity {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Identity {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// The id of a message: the same on every copy of it, whoever made the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// A new id (UUID version 7, so ids sort by the time they were made).
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id of the message of `identity` that the provider behind `backend` calls `external_id`.
    ///
    /// UUID version 5: a provider that repeats a request repeats the same message, and so do its replies. Some number the
    /// messages of each sender, so whose it is belongs to it.
    #[must_use]
    pub fn external(backend: &BackendName, identity: &Identity, external_id: &str) -> Self {
        // `/` stands in no backend's name, so no two pairs are written alike.
        let sender = Uuid::new_v5(&PROVIDERS, format!("{backend}/{}", identity.as_str()).as_bytes());
        Self(Uuid::new_v5(&sender, external_id.as_bytes()))
    }

    /// The id of what `caller` submits under an id of its own: a repeat has the same one.
    #[must_use]
    pub fn submitted(caller: &str, own_id: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::new_v5(&SUBMISSIONS, caller.as_bytes()), own_id.as_bytes()))
    }

    /// The id of the `position`th message made in response to this one.
    ///
    /// UUID version 5: a redelivered message makes the same replies, so a copy of a reply can be recognised.
    #[must_use]
    pub fn response(self, position: usize) -> Self {
        self.part(&position.to_string())
    }

    /// The id of what is called `name` within this message, the same whenever it is asked for.
    #[must_use]
    pub fn part(self, name: &str) -> Self {
        Self(Uuid::new_v5(&self.0, name.as_bytes()))
    }
}

impl Default for MessageId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A message that came in through a backend.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct IncomingMessage {
    /// Ours, the same when a provider repeats a request that carries the provider's own id.
    pub id: MessageId,
    /// When ingress accepted it.
    pub accepted_at: UnixMillis,
    /// The backend it came through.
    pub backend: BackendName,
    /// Who sent it.
    pub identity: Identity,
    /// What it says: stripped, decoded, never blank unless the endpoint allows it.
    pub text: String,
    /// What else the provider sent and the endpoint declares, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Whether its sender cannot be answered any more, as after the end of a session: replies to it are dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_reply: bool,
}

/// A message that a program submitted, or the part of it for 1 to [`MAX_IDENTITIES`] of its recipients. The outgoing phase
/// of the apps is still before it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmittedMessage {
    /// Ours; made from the id of the submission and of what it says to whom, so that a repeat in any order has the same.
    pub id: MessageId,
    /// The submission that this is a part of, by the id that the caller was told.
    pub submission: MessageId,
    /// Who submitted it: the name of a token, or nobody in particular on the private listener.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caller: String,
    /// When ingress accepted it.
    pub accepted_at: UnixMillis,
    /// The backend to send it through.
    pub backend: BackendName,
    /// Who shall get it, each once.
    pub identities: Vec<Identity>,
    /// What it says.
    pub text: String,
    /// What the engine may need beside the text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// A message to send: one text for one backend and 1 to [`MAX_IDENTITIES`] identities, final.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct OutgoingMessage {
    /// Ours; a reply's is made from the id of the message it answers, a submitted one keeps its own.
    pub id: MessageId,
    /// When ingress accepted what led to this message.
    pub accepted_at: UnixMillis,
    /// The backend to send it through.
    pub backend: BackendName,
    /// Who shall get it.
    pub identities: Vec<Identity>,
    /// What it says.
    pub text: String,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_response_to: Option<MessageId>,
    /// What the engine may need beside the text: the fields of the message that led to this one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

impl fmt::Debug for IncomingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingMessage")
            .field("id", &self.id)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SubmittedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmittedMessage")
            .field("id", &self.id)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for OutgoingMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingMessage")
            .field("id", &self.id)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_names_are_checked() {
        assert!("kannel-fake-smsc".parse::<BackendName>().is_ok());
        assert!("a".repeat(64).parse::<BackendName>().is_ok());
        for bad in ["", "a.b", "a b", "#", "é", &"a".repeat(65)] {
            assert_eq!(bad.parse::<BackendName>(), Err(InvalidBackendName), "{bad:?}");
        }
    }

    #[test]
    fn a_redelivered_message_makes_the_same_response_ids() {
        let id = MessageId::new();
        assert_eq!(id.response(0), id.response(0));
        assert_ne!(id.response(0), id.response(1));
        assert_ne!(id.response(0), MessageId::new().response(0));
    }

    #[test]
    fn a_providers_id_makes_the_same_id_of_one_sender_on_one_backend_only() {
        let id = |backend: &str, identity: &str, external_id| {
            MessageId::external(&backend.parse().unwrap(), &identity.into(), external_id)
        };
        let first = id("b", "+1", "SM1");
        assert_eq!(first, id("b", "+1", "SM1"));
        assert_eq!(first.to_string(), "6663173b-8313-5717-a663-daf27569b43d");
        for (backend, identity, external_id) in [
            ("b", "+1", "SM2"),
            ("b", "+1", "sm1"),
            ("B", "+1", "SM1"),
            ("b", "+2", "SM1"),
            ("b", "+1S", "M1"),
            ("b", "+", "1SM1"),
            ("b", "+1", "/SM1"),
        ] {
            assert_ne!(id(backend, identity, external_id), first, "{backend} {identity} {external_id}");
        }
        assert_ne!(id("b", "a/b", "c"), id("b", "a", "b/c"));
    }

    #[test]
    fn an_id_of_a_caller_is_always_the_same_and_no_other_callers() {
        let id = MessageId::submitted("survey", "a");
        // What was told to a caller once is what its repeat is told, by whatever version.
        assert_eq!(id.to_string(), "9b12861a-61ee-5bec-902d-bc22069c41f4");
        for other in [("survey", "b"), ("clinic", "a"), ("", "a"), ("surve", "ya")] {
            assert_ne!(id, MessageId::submitted(other.0, other.1), "{other:?}");
        }
    }

    #[test]
    fn debug_shows_neither_numbers_nor_texts() {
        let message = IncomingMessage {
            id: MessageId::new(),
            accepted_at: UnixMillis(0),
            backend: "b".parse().unwrap(),
            identity: "1112223333".into(),
            text: "secret".to_owned(),
            fields: BTreeMap::new(),
            no_reply: false,
        };
        let shown = format!("{message:?} {:?}", message.identity);
        assert!(!shown.contains("1112223333") && !shown.contains("secret"), "{shown}");
    }
}
