//! What a hook is told: a document for each phase, its key, and its signature. Pure.
//!
//! The form is public and versioned: `docs/writing-an-app.md` has it, and `dispatcher/fixtures/hook` golden files.

use std::{collections::BTreeMap, fmt::Write as _};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;
use shared::{
    clock::UnixMillis,
    config::apps::Phase,
    message::{BackendName, Identity, MessageId},
    report::State,
};

use crate::apps::{Context, DeliveryReport, Draft};

/// The header that tells a repeat from a new request.
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The header that tells how often the message was tried. It is no part of the document, which is the same each time.
pub(super) const ATTEMPT: &str = "x-gateway-attempt";

/// The header that shows who made the request, and when.
pub(super) const SIGNATURE: &str = "x-gateway-signature";

/// The version of the document.
const VERSION: u32 = 1;

/// One request.
pub(in crate::apps) struct Request {
    /// The message that it is about.
    pub(super) id: MessageId,
    /// The phase in which it is made.
    pub(super) phase: Phase,
    /// Which attempt at an incoming message it belongs to.
    pub(super) attempt: Option<u32>,
    /// The document.
    pub(super) body: Vec<u8>,
}

#[derive(Serialize)]
struct Document<M> {
    version: u32,
    phase: &'static str,
    #[serde(flatten)]
    message: M,
}

/// The message of all phases but the last.
#[derive(Serialize)]
struct Incoming<'a> {
    id: MessageId,
    accepted_at: UnixMillis,
    backend: &'a BackendName,
    identity: &'a Identity,
    text: &'a str,
    fields: &'a BTreeMap<String, String>,
    no_reply: bool,
}

/// The message of the phase `outgoing`.
#[derive(Serialize)]
struct Outgoing<'a> {
    id: MessageId,
    in_response_to: Option<MessageId>,
    backend: &'a BackendName,
    identities: &'a [Identity],
    text: &'a str,
    fields: &'a BTreeMap<String, String>,
}

/// What a provider reports, in the phase `report`.
#[derive(Serialize)]
struct Reported<'a> {
    id: MessageId,
    accepted_at: UnixMillis,
    message_id: MessageId,
    part: u16,
    backend: &'a BackendName,
    identity: Option<&'a Identity>,
    external_id: Option<&'a str>,
    state: State,
    r#final: bool,
    detail: Option<&'a str>,
}

impl Request {
    /// The request about an incoming message, as the apps before have left it.
    pub(in crate::apps) fn incoming(phase: Phase, context: &Context<'_>) -> Self {
        let message = &context.message;
        let incoming = Incoming {
            id: message.id,
            accepted_at: message.accepted_at,
            backend: &message.backend,
            identity: &message.identity,
            text: &message.text,
            fields: &message.fields,
            no_reply: message.no_reply,
        };
        Self { attempt: Some(context.attempt), ..Self::new(message.id, phase, incoming) }
    }

    /// The request about a reply, as the apps before have left it.
    pub(in crate::apps) fn outgoing(draft: &Draft) -> Self {
        let outgoing = Outgoing {
            id: draft.id(),
            in_response_to: draft.in_response_to(),
            backend: draft.backend(),
            identities: draft.identities(),
            text: draft.text(),
            fields: draft.fields(),
        };
        Self::new(draft.id(), Phase::Outgoing, outgoing)
    }

    /// The request about a delivery report.
    pub(in crate::apps) fn report(report: &DeliveryReport) -> Self {
        let reported = Reported {
            id: report.id,
            accepted_at: report.accepted_at,
            message_id: report.message_id,
            part: report.part,
            backend: &report.backend,
            identity: report.identity.as_ref(),
            external_id: report.external_id.as_deref(),
            state: report.state,
            r#final: report.state.is_final(),
            detail: report.detail.as_deref(),
        };
        Self::new(report.id, Phase::Report, reported)
    }

    fn new(id: MessageId, phase: Phase, message: impl Serialize) -> Self {
        let document = Document { version: VERSION, phase: phase.name(), message };
        #[expect(
            clippy::expect_used,
            reason = "the document has string keys and no floats: nothing can fail"
        )]
        let body = serde_json::to_vec(&document).expect("a document is always JSON");
        Self { id, phase, attempt: None, body }
    }

    /// The same when the request is repeated, and another in each phase: these are different questions.
    pub(super) fn key(&self) -> String {
        format!("{}-{}", self.id, self.phase)
    }

    /// Who made the request, and when: `t=SECONDS,v1=HEX`, with the HMAC-SHA256 of `SECONDS.BODY`.
    pub(super) fn signature(&self, secret: &SecretString, now: UnixMillis) -> String {
        let seconds = now.seconds();
        #[expect(clippy::expect_used, reason = "an HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).expect("any key");
        mac.update(format!("{seconds}.").as_bytes());
        mac.update(&self.body);
        let mut signature = format!("t={seconds},v1=");
        for byte in mac.finalize().into_bytes() {
            // A `String` takes everything.
            write!(signature, "{byte:02x}").ok();
        }
        signature
    }
}
