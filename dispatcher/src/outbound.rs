//! Consumes `outgoing.<backend>`: sends each message part by part, and says what becomes of it.
//!
//! A part that is sent is never sent again by a retry: which ones are travels in a header of the message.

use std::collections::BTreeMap;

use futures_util::{FutureExt, future::BoxFuture};
use metrics::{Counter, Histogram};
use shared::{
    clock,
    config::backends::OnUnknown,
    message::{BackendName, Identity, OutgoingMessage},
    queue::{Disposition, Headers, Message, header},
    telemetry::Privacy,
};

use crate::{
    engines::{Backend, Part, SendError, UNAVAILABLE},
    lanes::Work,
};

/// The header that holds the parts that were refused for good, with the reason of each: a JSON object.
const FAILED: &str = "failed";

/// The work on one backend's outgoing messages.
pub struct Outbound {
    name: BackendName,
    backend: Backend,
    privacy: Privacy,
    sent: Counter,
    sending: Histogram,
    latency: Histogram,
}

/// How far a message is, over all its attempts.
struct Progress {
    sent: Vec<String>,
    failed: BTreeMap<String, String>,
    /// The class and reason of what is to be tried again.
    retry: Option<(&'static str, String)>,
    /// The class of the last refusal.
    class: &'static str,
}

impl Outbound {
    /// Sends through `backend`.
    #[must_use]
    pub fn new(name: BackendName, backend: Backend, privacy: Privacy) -> Self {
        let label = name.to_string();
        Self {
            name,
            backend,
            privacy,
            sent: metrics::counter!("gateway_sent_total", "backend" => label.clone()),
            sending: metrics::histogram!("gateway_send_seconds", "backend" => label.clone()),
            latency: metrics::histogram!("gateway_accepted_to_sent_seconds", "backend" => label),
        }
    }

    async fn send(&self, queued: &Message, message: OutgoingMessage) -> Disposition {
        let parts = match self.backend.engine.plan(&message) {
            Ok(parts) => parts,
            Err(error) => {
                self.note(queued, &error);
                return Disposition::DeadLetter {
                    class: error.class(),
                    reason: error.told(),
                    headers: Headers::new(),
                };
            }
        };
        let mut progress = Progress::of(queued);
        for part in &parts {
            if progress.has(part) {
                continue;
            }
            self.send_part(queued, &message, part, &mut progress).await;
            if progress.retry.as_ref().is_some_and(|(class, _)| *class == UNAVAILABLE) {
                // The other identities would only hear the same.
                break;
            }
        }
        progress.disposition()
    }

    async fn send_part(
        &self,
        queued: &Message,
        message: &OutgoingMessage,
        part: &Part,
        progress: &mut Progress,
    ) {
        let begun = std::time::Instant::now();
        let outcome = self.backend.engine.send(part).await;
        self.sending.record(begun.elapsed());
        match outcome {
            Ok(receipt) => {
                self.sent.increment(1);
                let latency = clock::now().0.saturating_sub(message.accepted_at.0);
                self.latency.record(std::time::Duration::from_millis(latency));
                let external_id = receipt.external_id.as_deref().unwrap_or("");
                let (identity, text) = (part.shown(self.privacy), self.privacy.show(&part.text));
                tracing::info!(message_id = %queued.id, backend = %self.name, %identity, %text, external_id, "sent");
                progress.sent.extend(part.keys());
            }
            Err(error) => {
                self.note(queued, &error);
                progress.fail(part, &error, self.backend.on_unknown);
            }
        }
    }

    fn note(&self, queued: &Message, error: &SendError) {
        let class = error.class();
        metrics::counter!("gateway_not_sent_total", "backend" => self.name.to_string(), "class" => class)
            .increment(1);
        let attempt = queued.attempts() + 1;
        tracing::warn!(message_id = %queued.id, backend = %self.name, attempt, class, reason = %error, "not sent");
    }
}

impl Progress {
    fn of(queued: &Message) -> Self {
        fn read<T: serde::de::DeserializeOwned + Default>(queued: &Message, name: &str) -> T {
            queued.headers.get(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        }
        Self {
            sent: read(queued, header::SENT),
            failed: read(queued, FAILED),
            retry: None,
            class: "rejected",
        }
    }

    /// True when the part needs nothing more: sent, or refused for good.
    fn has(&self, part: &Part) -> bool {
        part.keys().all(|key| self.sent.contains(&key) || self.failed.contains_key(&key))
    }

    fn fail(&mut self, part: &Part, error: &SendError, on_unknown: OnUnknown) {
        let again = match error {
            SendError::NotSent { .. } | SendError::Unavailable { .. } => true,
            SendError::Unknown { .. } => on_unknown == OnUnknown::Resend,
            SendError::Rejected { .. } => false,
        };
        if again {
            self.retry = Some((error.class(), error.told()));
        } else {
            self.class = error.class();
            self.failed.extend(part.keys().map(|key| (key, error.told())));
        }
    }

    fn disposition(self) -> Disposition {
        let mut headers = Headers::new();
        let mut write = |name: &str, empty: bool, value: serde_json::Value| {
            if !empty {
                headers.insert(name.to_owned(), value.to_string());
            }
        };
        write(header::SENT, self.sent.is_empty(), serde_json::json!(self.sent));
        write(FAILED, self.failed.is_empty(), serde_json::json!(self.failed));
        if let Some((class, reason)) = self.retry {
            return Disposition::Retry { class, reason, headers };
        }
        let Some(reason) = self.failed.into_values().next_back() else {
            return Disposition::Done;
        };
        Disposition::DeadLetter { class: self.class, reason, headers }
    }
}

impl Work for Outbound {
    type Payload = OutgoingMessage;
    type Lane = Identity;

    fn lanes(&self, message: &OutgoingMessage) -> Vec<Identity> {
        message.identities.clone()
    }

    fn run<'a>(&'a self, queued: &'a Message, message: OutgoingMessage) -> BoxFuture<'a, Disposition> {
        self.send(queued, message).boxed()
    }
}

#[cfg(test)]
mod tests;
