//! Consumes `incoming`, which has the messages from outside and those that programs submit: routes each, publishes what is
//! to be sent, and only then lets it be settled.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use futures_util::{FutureExt, future::BoxFuture};
use shared::{
    clock::UnixMillis,
    config::Config,
    envelope::{Carried, Payload},
    lifecycle::Lifecycle,
    message::{BackendName, IncomingMessage, OutgoingMessage, SubmittedMessage},
    metric,
    queue::{Disposition, Headers, Message, Publish, QueueName, Route, header, publish_until_taken},
    telemetry::{Chain, Privacy},
};

use crate::{
    age::Ages,
    lanes::{Hold, Lane, Work},
    router::{Outcome, Routed, Router},
};

/// A message that needs the router.
pub enum Arrival {
    /// From outside: all phases.
    Incoming(IncomingMessage),
    /// From a program: the outgoing phase.
    Submitted(SubmittedMessage),
}

impl Carried for Arrival {
    const TYPES: &'static [&'static str] = &[IncomingMessage::TYPE, SubmittedMessage::TYPE];

    fn read(kind: &str, body: &[u8]) -> Option<serde_json::Result<Self>> {
        let incoming = IncomingMessage::read(kind, body).map(|read| read.map(Self::Incoming));
        incoming.or_else(|| SubmittedMessage::read(kind, body).map(|read| read.map(Self::Submitted)))
    }

    fn accepted_at(&self) -> UnixMillis {
        match self {
            Self::Incoming(message) => message.accepted_at,
            Self::Submitted(message) => message.accepted_at,
        }
    }
}

/// The work on incoming messages.
pub struct Inbound {
    router: Arc<Router>,
    queue: Arc<dyn Publish>,
    backends: BTreeSet<BackendName>,
    privacy: Privacy,
    lifecycle: Lifecycle,
    ages: Ages,
}

impl Inbound {
    /// Routes with `router`, publishes to `queue`.
    pub fn new(router: Arc<Router>, queue: Arc<dyn Publish>, config: &Config, lifecycle: &Lifecycle) -> Self {
        Self {
            router,
            queue,
            backends: config.backends.keys().cloned().collect(),
            privacy: Privacy::new(&config.logging),
            lifecycle: lifecycle.clone(),
            ages: Ages::of(&QueueName::Incoming),
        }
    }

    async fn route(&self, queued: &Message, message: IncomingMessage, hold: Hold<'_>) -> Disposition {
        let (id, attempt) = (message.id, queued.attempts() + 1);
        let routed = match self.router.route(message, attempt).await {
            Ok(routed) => routed,
            Err(error) => {
                let (reason, headers) = (Chain(&error).to_string(), Headers::new());
                tracing::error!(message_id = %id, attempt, %reason, "not handled");
                if error.is_over_time() {
                    return Disposition::DeadLetter { class: "over_time", reason, headers };
                }
                return Disposition::Retry { class: "app_failed", reason, headers };
            }
        };
        let Routed { outcome, replies, dropped, .. } = routed;
        if !self.publish(queued, &replies, hold).await {
            return Disposition::Leave;
        }
        let (what, app) = match outcome {
            Outcome::Handled { app, .. } => ("handled", app),
            Outcome::Filtered(app) => ("filtered", app),
            Outcome::Unclaimed => ("unclaimed", ""),
        };
        metrics::counter!(metric::ROUTED, "outcome" => what, "app" => app.to_owned()).increment(1);
        metrics::counter!(metric::DROPPED_REPLIES).increment(dropped as u64);
        tracing::info!(message_id = %id, outcome = what, app, replies = replies.len(), dropped, "routed");
        Disposition::Done
    }

    async fn submit(&self, queued: &Message, message: SubmittedMessage, hold: Hold<'_>) -> Disposition {
        let (id, submission, caller) = (message.id, message.submission, message.caller.clone());
        let messages = self.router.submit(message).await;
        if !self.publish(queued, &messages, hold).await {
            return Disposition::Leave;
        }
        let outcome = if messages.is_empty() { "cancelled" } else { "submitted" };
        metrics::counter!(metric::ROUTED, "outcome" => outcome, "app" => "").increment(1);
        tracing::info!(message_id = %id, %submission, caller, outcome, messages = messages.len(), "routed");
        Disposition::Done
    }

    /// Publishes each until the queue has it, and tells whether it has all. The `queued` message stays unsettled meanwhile, so
    /// nothing can be lost; when the process stops and the queue is away, or the delivery is lost, it is left to the next one.
    async fn publish(&self, queued: &Message, messages: &[OutgoingMessage], hold: Hold<'_>) -> bool {
        for message in messages {
            if !self.publish_one(queued, message, hold).await {
                return false;
            }
        }
        true
    }

    async fn publish_one(&self, queued: &Message, message: &OutgoingMessage, hold: Hold<'_>) -> bool {
        let (id, backend, text) = (message.id, &message.backend, self.privacy.show(&message.text));
        tracing::debug!(message_id = %id, from = %queued.id, %backend, %text, "to be sent");
        if !self.backends.contains(backend) {
            // It ends in `unrouted`, from where it can be replayed when the backend is there.
            tracing::error!(message_id = %id, %backend, "to be sent through a backend that is not configured");
        }
        let route = Route::Outgoing(backend.clone());
        // Made anew for another attempt, with the same id and body: most often there is none, and then no copy was needed.
        let publish = || self.queue.publish_patiently(Message::new(&route, message, headers_from(queued)));
        // Only after an answer: what nobody has answered may still be taken, and the next process would make it anew.
        let stops = || self.lifecycle.is_stopping();
        tokio::select! {
            taken = publish_until_taken(id, publish, stops) => taken,
            // Whoever gets the message makes the same ones.
            () = hold.lost() => false,
        }
    }
}

/// The headers of a message that `queued` led to: in the same trace, and with the same time after which it is not to be sent.
fn headers_from(queued: &Message) -> Headers {
    let mut headers = queued.traced();
    let expires_at = queued.headers.get_key_value(header::EXPIRES_AT);
    headers.extend(expires_at.map(|(name, time)| (name.clone(), time.clone())));
    headers
}

impl Work for Inbound {
    type Payload = Arrival;

    fn queue(&self) -> QueueName {
        QueueName::Incoming
    }

    fn lanes(&self, arrival: &Arrival, hasher: &RandomState) -> Vec<Lane> {
        match arrival {
            Arrival::Incoming(message) => vec![hasher.hash_one((&message.backend, &message.identity))],
            Arrival::Submitted(SubmittedMessage { backend, identities, .. }) => {
                identities.iter().map(|identity| hasher.hash_one((backend, identity))).collect()
            }
        }
    }

    fn run<'a>(
        &'a self,
        queued: &'a Message,
        arrival: Arrival,
        hold: Hold<'a>,
    ) -> BoxFuture<'a, Disposition> {
        self.ages.note(queued, arrival.accepted_at());
        match arrival {
            Arrival::Incoming(message) => self.route(queued, message, hold).boxed(),
            Arrival::Submitted(message) => self.submit(queued, message, hold).boxed(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
