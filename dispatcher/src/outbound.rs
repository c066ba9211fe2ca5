//! Consumes `outgoing.<backend>`: sends each message part by part, and says what becomes of it.
//!
//! A part that is sent is never sent again by a retry: which ones are travels in a header of the message.

mod progress;

use std::time::{Duration, Instant};

use futures_util::{FutureExt, future::BoxFuture};
use metrics::{Counter, Histogram};
use shared::{
    clock,
    lifecycle::Lifecycle,
    message::{BackendName, Identity, OutgoingMessage},
    queue::{Disposition, Headers, Message},
    telemetry::Privacy,
};

use self::progress::Progress;
use crate::{
    engines::{Backend, Part, SendError, UNAVAILABLE},
    lanes::Work,
    recent::Recent,
};

/// How long one delivery is worked on, but for a single call: then it goes back with what is left of it.
const LONGEST_TURN: Duration = Duration::from_secs(60);

/// The work on one backend's outgoing messages.
pub struct Outbound {
    name: BackendName,
    backend: Backend,
    privacy: Privacy,
    lifecycle: Lifecycle,
    recent: Recent,
    sent: Counter,
    sending: Histogram,
    latency: Histogram,
}

impl Outbound {
    /// Sends through `backend`.
    #[must_use]
    pub fn new(name: BackendName, backend: Backend, privacy: Privacy, lifecycle: &Lifecycle) -> Self {
        let label = name.to_string();
        Self {
            name,
            backend,
            privacy,
            lifecycle: lifecycle.clone(),
            recent: Recent::default(),
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
        let mut progress = Progress::of(queued, &message);
        let (begun, mut sent) = (Instant::now(), false);
        for part in &parts {
            if progress.has(part) {
                continue;
            }
            // A broker takes an unsettled delivery away after half an hour, and a stop does not wait for 200 calls.
            if sent && (self.lifecycle.is_stopping() || begun.elapsed() > LONGEST_TURN) {
                return Disposition::Continue { headers: progress.headers() };
            }
            sent = true;
            self.send_part(queued, &message, part, &mut progress).await;
            if progress.waits_for(UNAVAILABLE) {
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
        progress: &mut Progress<'_>,
    ) {
        if self.recent.has(part.id) {
            tracing::info!(message_id = %queued.id, backend = %self.name, "was sent before: not sent again");
            progress.sent(part);
            return;
        }
        let begun = Instant::now();
        let outcome = self.backend.engine.send(part).await;
        self.sending.record(begun.elapsed());
        match outcome {
            Ok(receipt) => {
                self.sent.increment(1);
                let latency = clock::now().0.saturating_sub(message.accepted_at.0);
                self.latency.record(Duration::from_millis(latency));
                let external_id = receipt.external_id.as_deref().unwrap_or("");
                let (identity, text) = (part.shown(self.privacy), self.privacy.show(&part.text));
                tracing::info!(message_id = %queued.id, backend = %self.name, %identity, %text, external_id, "sent");
                self.recent.remember(part.id, Instant::now());
                progress.sent(part);
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
        tracing::warn!(message_id = %queued.id, backend = %self.name, attempt, class, reason = error.reason(), "not sent");
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
