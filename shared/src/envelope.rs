//! How a message is written into a queue: JSON with a `type` that carries the version.
//!
//! Unknown fields are tolerated, so that old and new processes run side by side during a rolling restart; an unknown
//! type is an error that the consumer dead-letters. Every version ever shipped has a golden file in `shared/fixtures`.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::UnixMillis,
    message::{IncomingMessage, MessageId, OutgoingMessage, SubmittedMessage},
};

/// What an envelope can carry.
pub trait Payload: Serialize + DeserializeOwned {
    /// The name and version of the payload, as `type` in the JSON and in the AMQP properties.
    const TYPE: &'static str;

    /// The id of the message.
    fn id(&self) -> MessageId;

    /// When the message, or the one that it answers, was accepted.
    fn accepted_at(&self) -> UnixMillis;
}

impl Payload for IncomingMessage {
    const TYPE: &'static str = "incoming.v1";

    fn id(&self) -> MessageId {
        self.id
    }

    fn accepted_at(&self) -> UnixMillis {
        self.accepted_at
    }
}

impl Payload for SubmittedMessage {
    const TYPE: &'static str = "submit.v1";

    fn id(&self) -> MessageId {
        self.id
    }

    fn accepted_at(&self) -> UnixMillis {
        self.accepted_at
    }
}

impl Payload for OutgoingMessage {
    const TYPE: &'static str = "outgoing.v1";

    fn id(&self) -> MessageId {
        self.id
    }

    fn accepted_at(&self) -> UnixMillis {
        self.accepted_at
    }
}

/// What one queue carries: a payload, or one of several.
pub trait Carried: Sized {
    /// The types that it may have.
    const TYPES: &'static [&'static str];

    /// Reads an envelope whose type is `kind`; nothing when that is none of the types.
    fn read(kind: &str, body: &[u8]) -> Option<serde_json::Result<Self>>;

    /// When the message, or the one that it answers, was accepted.
    fn accepted_at(&self) -> UnixMillis;
}

impl<P: Payload> Carried for P {
    const TYPES: &'static [&'static str] = &[P::TYPE];

    fn read(kind: &str, body: &[u8]) -> Option<serde_json::Result<Self>> {
        (kind == P::TYPE).then(|| serde_json::from_slice(body))
    }

    fn accepted_at(&self) -> UnixMillis {
        Payload::accepted_at(self)
    }
}

/// Why bytes from a queue are no message. None of the texts repeats what the message says.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no JSON object with a `type`, or a field is missing or of the wrong kind.
    #[error("not a valid envelope at line {line} column {column}")]
    Malformed {
        /// Where the JSON stops making sense.
        line: usize,
        /// Where in that line.
        column: usize,
    },
    /// A type, or a version of it, that this program does not know.
    #[error("unknown message type `{found}`, this program reads `{}`", .expected.join("` and `"))]
    UnknownType {
        /// The type in the envelope.
        found: String,
        /// The types that this queue carries.
        expected: &'static [&'static str],
    },
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        // serde_json's own text may quote the value, which may be a number or a text of a person.
        Self::Malformed { line: error.line(), column: error.column() }
    }
}

#[derive(Serialize)]
struct Written<'a, P> {
    r#type: &'static str,
    #[serde(flatten)]
    payload: &'a P,
}

#[derive(Deserialize)]
struct Head<'b> {
    #[serde(borrow)]
    r#type: Cow<'b, str>,
}

/// What an envelope begins with when [`encode`] wrote it.
const BEGINNING: &[u8] = br#"{"type":""#;

/// Writes `payload` with its type.
#[must_use]
pub fn encode<P: Payload>(payload: &P) -> Bytes {
    #[expect(
        clippy::expect_used,
        reason = "our payloads have string keys and finite numbers: nothing can fail"
    )]
    serde_json::to_vec(&Written { r#type: P::TYPE, payload }).expect("a payload is always JSON").into()
}

/// Reads what [`encode`] wrote, in this or another version of the program.
pub fn decode<C: Carried>(body: &[u8]) -> Result<C, DecodeError> {
    let kind = kind(body, C::TYPES)?;
    match C::read(&kind, body) {
        Some(read) => Ok(read?),
        None => Err(DecodeError::UnknownType { found: kind.into_owned(), expected: C::TYPES }),
    }
}

/// The type of an envelope. What we write has one of the `types` first, and then nothing is read twice.
fn kind<'b>(body: &'b [u8], types: &[&str]) -> serde_json::Result<Cow<'b, str>> {
    let rest = body.strip_prefix(BEGINNING);
    let first = rest.and_then(|rest| Some(&rest[..rest.iter().position(|byte| *byte == b'"')?]));
    match first.and_then(|kind| std::str::from_utf8(kind).ok()).filter(|kind| types.contains(kind)) {
        Some(kind) => Ok(Cow::Borrowed(kind)),
        None => serde_json::from_slice(body).map(|head: Head<'_>| head.r#type),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const INCOMING_V1: &str = include_str!("../fixtures/incoming.v1.json");
    const NO_REPLY: &str = include_str!("../fixtures/incoming.v1.no_reply.json");
    const SUBMIT_V1: &str = include_str!("../fixtures/submit.v1.json");
    const OUTGOING_V1: &str = include_str!("../fixtures/outgoing.v1.json");

    #[test]
    fn golden_incoming_v1_is_read_and_written_to_the_byte() {
        let message: IncomingMessage = decode(INCOMING_V1.trim().as_bytes()).unwrap();
        assert_eq!(message.text, "écho ☺");
        assert_eq!(message.fields["extra"], "x");
        assert!(!message.no_reply);
        assert_eq!(encode(&message), INCOMING_V1.trim().as_bytes());
    }

    #[test]
    fn golden_incoming_v1_without_reply_is_read_and_written_to_the_byte() {
        let message: IncomingMessage = decode(NO_REPLY.trim().as_bytes()).unwrap();
        assert!(message.no_reply);
        assert_eq!(encode(&message), NO_REPLY.trim().as_bytes());
    }

    #[test]
    fn golden_submit_v1_is_read_and_written_to_the_byte() {
        let message: SubmittedMessage = decode(SUBMIT_V1.trim().as_bytes()).unwrap();
        assert_eq!((message.caller.as_str(), message.identities.len()), ("survey", 2));
        assert_eq!(encode(&message), SUBMIT_V1.trim().as_bytes());
    }

    #[test]
    fn golden_outgoing_v1_is_read_and_written_to_the_byte() {
        let message: OutgoingMessage = decode(OUTGOING_V1.trim().as_bytes()).unwrap();
        assert_eq!(message.identities.len(), 2);
        assert_eq!(encode(&message), OUTGOING_V1.trim().as_bytes());
    }

    #[test]
    fn unknown_fields_are_tolerated_and_unknown_types_are_named() {
        let newer = INCOMING_V1.trim().replacen('{', r#"{"colour":"green","#, 1);
        assert!(decode::<IncomingMessage>(newer.as_bytes()).is_ok());
        // As another writer of JSON might put it.
        let escaped = INCOMING_V1.trim().replacen("incoming", r"\u0069ncoming", 1);
        assert!(decode::<IncomingMessage>(escaped.as_bytes()).is_ok());

        let error = decode::<IncomingMessage>(OUTGOING_V1.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "unknown message type `outgoing.v1`, this program reads `incoming.v1`");
    }

    #[test]
    fn a_malformed_body_is_told_without_its_content() {
        for body in [
            "",
            "no json: 1112223333",
            "[]",
            r#"{"type":"incoming.v1","id":"1112223333"}"#,
            r#"{"type":"1112223333"#,
            r#"{"type":"incoming.v9","id":1112223333"#,
        ] {
            let text = decode::<IncomingMessage>(body.as_bytes()).unwrap_err().to_string();
            assert!(text.starts_with("not a valid envelope") && !text.contains("1112223333"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text in ".*", identity in ".*", value in ".*", no_reply: bool) {
            let message = IncomingMessage {
                id: MessageId::new(),
                accepted_at: UnixMillis(1),
                backend: "b".parse().unwrap(),
                identity: identity.into(),
                text,
                fields: BTreeMap::from([("key".to_owned(), value)]),
                no_reply,
            };
            prop_assert!(decode::<IncomingMessage>(&encode(&message)).unwrap() == message);
        }

        #[test]
        fn no_bytes_panic(begun: bool, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = if begun { [BEGINNING, &rest].concat() } else { rest };
            prop_assert!(decode::<OutgoingMessage>(&body).is_err());
        }
    }
}
