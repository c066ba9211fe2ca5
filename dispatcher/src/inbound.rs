//! Consumes `incoming`: routes each message, publishes its replies, and only then lets it be settled.

use std::{collections::BTreeSet, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use shared::{
    config::Config,
    lifecycle::Lifecycle,
    message::{BackendName, Identity, IncomingMessage, OutgoingMessage},
    queue::{Disposition, Headers, Message, Publish, Route, header, publish_until_taken},
    telemetry::{Chain, Privacy},
    trace,
};

use crate::{
    lanes::{Hold, Work},
    router::{Outcome, Routed, Router},
};

/// The work on incoming messages.
pub struct Inbound {
    router: Arc<Router>,
    queue: Arc<dyn Publish>,
    backends: BTreeSet<BackendName>,
    privacy: Privacy,
    lifecycle: Lifecycle,
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
        }
    }

    async fn handle(&self, queued: &Message, message: IncomingMessage, hold: Hold<'_>) -> Disposition {
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
        let Routed { outcome, replies, dropped } = routed;
        let count = replies.len();
        for reply in replies {
            if !self.publish(queued, &reply, hold).await {
                return Disposition::Leave;
            }
        }
        let (what, app) = match outcome {
            Outcome::Handled(app) => ("handled", app),
            Outcome::Filtered(app) => ("filtered", app),
            Outcome::Unclaimed => ("unclaimed", ""),
        };
        metrics::counter!("gateway_routed_total", "outcome" => what, "app" => app.to_owned()).increment(1);
        tracing::info!(message_id = %id, outcome = what, app, replies = count, dropped, "routed");
        Disposition::Done
    }

    /// Publishes until the queue has it, and tells whether it has. The incoming message stays unsettled meanwhile, so
    /// nothing can be lost; when the process stops and the queue is away, or the delivery is lost, it is left to the next one.
    async fn publish(&self, queued: &Message, reply: &OutgoingMessage, hold: Hold<'_>) -> bool {
        let parent = queued.headers.get(header::TRACEPARENT).map(String::as_str);
        let headers = Headers::from([(header::TRACEPARENT.to_owned(), trace::child_of(parent))]);
        let message = Message::new(&Route::Outgoing(reply.backend.clone()), reply, headers);
        let text = self.privacy.show(&reply.text);
        tracing::debug!(message_id = %reply.id, in_response_to = %queued.id, backend = %reply.backend, %text, "reply");
        if !self.backends.contains(&reply.backend) {
            // It ends in `unrouted`, or in the queue that the backend had when it was configured.
            tracing::error!(
                message_id = %reply.id, backend = %reply.backend,
                "an app sends to a backend that is not configured; it waits until that is done"
            );
        }
        let publish = || self.queue.publish_patiently(message.clone());
        // Only after an answer: what nobody has answered may still be taken, and the next process would make it anew.
        let stops = || self.lifecycle.is_stopping();
        tokio::select! {
            taken = publish_until_taken(&message.id, publish, stops) => taken,
            // Whoever gets the message makes the same replies.
            () = hold.lost() => false,
        }
    }
}

impl Work for Inbound {
    type Payload = IncomingMessage;
    type Lane = (BackendName, Identity);

    fn lanes(&self, message: &IncomingMessage) -> Vec<Self::Lane> {
        vec![(message.backend.clone(), message.identity.clone())]
    }

    fn run<'a>(
        &'a self,
        queued: &'a Message,
        message: IncomingMessage,
        hold: Hold<'a>,
    ) -> BoxFuture<'a, Disposition> {
        self.handle(queued, message, hold).boxed()
    }
}

#[cfg(test)]
mod tests;
