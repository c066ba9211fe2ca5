//! What a program submits: the JSON of `POST /api/v1/messages`, read into [`Submission`] and checked into [`Checked`]. Pure.

mod diagnosis;

mod rules;

use std::collections::BTreeMap;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::{
    clock::UnixMillis,
    message::{BackendName, Identity, MAX_IDENTITIES, MessageId, SubmittedMessage},
};
use utoipa::ToSchema;

pub use self::rules::Limits;
use super::{callers::Caller, error::ApiError};

/// A message to send: one text for one or many recipients.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The backend to send it through.
    #[schema(example = "kannel")]
    backend: String,
    /// Who shall get it, in any order. Who is named twice gets it once.
    #[schema(min_items = 1, max_items = 10_000, example = json!(["+1112223333", "+4445556666"]))]
    to: Vec<String>,
    /// What it says, exactly as it is to be sent. At most `ingress.max_text_length` characters.
    #[schema(min_length = 1, example = "The clinic is open until 18:00 today.")]
    text: String,
    /// An id of your own. A repeat with the same id makes the same messages, which whoever has sent them lately does not send
    /// again. With another text or other recipients it makes other messages, which are sent. The header `Idempotency-Key` is
    /// another way to give it.
    #[schema(min_length = 1, max_length = 200, example = "reminder-2031")]
    id: Option<String>,
    /// After how many seconds it is not to be sent any more.
    #[schema(minimum = 1, maximum = 4_294_967_295_u32, format = Int64, example = 3600)]
    expires_in: Option<u32>,
    /// After what time it is not to be sent any more, as RFC 3339 writes it. Only one of `expires_in` and this is wanted.
    #[schema(format = DateTime, example = "2031-01-31T18:00:00+02:00")]
    expires_at: Option<String>,
    /// What the backend may need beside the text, by name. All of it together is at most `ingress.max_text_length`
    /// characters.
    #[schema(example = json!({ "sender": "CLINIC" }))]
    fields: Option<BTreeMap<String, String>>,
}

/// The answer when all of it is in the queue.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    /// The id of the submission: the same for everything with the same id of your own.
    #[schema(value_type = String, format = "uuid")]
    pub id: MessageId,
    /// To how many recipients it will be sent.
    #[schema(example = 450)]
    pub recipients: usize,
    /// The ids of the queued messages: one for each 200 recipients. Apps and delivery reports name a message by its id.
    #[schema(value_type = Vec<String>, example = json!(["0a2f1c52-8a2b-5b43-9f2e-6f0c1d7e4b90"]))]
    pub messages: Vec<MessageId>,
}

/// A submission that may be queued.
#[derive(Clone, PartialEq, Eq)]
pub struct Checked {
    /// The backend to send it through.
    pub backend: BackendName,
    /// Who shall get it, each once, sorted: in whatever order they were named, they are cut into the same messages.
    pub identities: Vec<Identity>,
    /// What it says.
    pub text: String,
    /// When it is not to be sent any more.
    pub expires_at: Option<UnixMillis>,
    id: Option<String>,
    fields: BTreeMap<String, String>,
}

impl Checked {
    /// Reads and checks the body of a request of `caller` that came at `now`, with its header `Idempotency-Key` if it has one.
    pub fn read(
        body: &[u8],
        key: Option<&HeaderValue>,
        caller: &Caller,
        limits: Limits,
        now: UnixMillis,
    ) -> Result<Self, ApiError> {
        // As a map first, for serde reads a struct from an array too.
        let object = Value::Object(serde_json::from_slice(body)?);
        let submission = Submission::deserialize(&object).map_err(|error| diagnosis::of(object, &error))?;
        limits.check(submission, key, caller, now)
    }

    /// Whether its caller gave it an id.
    #[must_use]
    pub fn has_id(&self) -> bool {
        self.id.is_some()
    }

    /// The messages to queue, each for at most [`MAX_IDENTITIES`] recipients, and the id of them all.
    #[must_use]
    pub fn messages(&self, caller: &Caller, now: UnixMillis) -> (MessageId, Vec<SubmittedMessage>) {
        let own = self.id.as_ref();
        let submission = own.map_or_else(MessageId::new, |id| MessageId::submitted(&caller.name, id));
        let message = |identities: &[Identity]| SubmittedMessage {
            id: submission.part(&self.content(identities)),
            submission,
            caller: caller.name.clone(),
            accepted_at: now,
            backend: self.backend.clone(),
            identities: identities.to_vec(),
            text: self.text.clone(),
            fields: self.fields.clone(),
        };
        (submission, self.identities.chunks(MAX_IDENTITIES).map(message).collect())
    }

    /// What makes the message to these recipients this one and no other. Never to be written otherwise: a repeat would be
    /// another message.
    fn content(&self, identities: &[Identity]) -> String {
        serde_json::json!([self.backend, identities, self.text, self.fields]).to_string()
    }
}

#[cfg(test)]
mod tests;
