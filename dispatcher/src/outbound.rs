//! Consumes `outgoing.<backend>`: sends each message part by part, and says what becomes of it.
//!
//! A part that is sent is never sent again by a retry: which ones are travels in a header of the message.

mod notes;

mod progress;

use std::{
    hash::{BuildHasher, RandomState},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use metrics::{Counter, Gauge, Histogram};
use shared::{
    clock,
    config::Config,
    lifecycle::Lifecycle,
    message::{BackendName, OutgoingMessage},
    metric,
    queue::{Disposition, Headers, Message, Publish, QueueName, header},
    telemetry::Privacy,
};
use tokio::time::Instant;

use self::{notes::Notes, progress::Progress};
use crate::{
    age::Ages,
    engines::{Backend, LeftOut, Part, SendError, SendReceipt},
    gate::{Pass, Record, Verdict},
    lanes::{Hold, Lane, Work},
    rate::Limit,
    recent::Recent,
};

/// The work on one backend's outgoing messages.
pub struct Outbound {
    name: BackendName,
    backend: Backend,
    limit: Limit,
    privacy: Privacy,
    lifecycle: Lifecycle,
    recent: Recent,
    notes: Option<Notes>,
    /// How long one delivery is worked on, but for a single call: then it goes back with what is left of it.
    longest_turn: Duration,
    sent: Counter,
    paused: Gauge,
    sending: Histogram,
    latency: Histogram,
    ages: Ages,
}

/// One delivery that is worked on.
struct Turn<'m> {
    queued: &'m Message,
    message: &'m OutgoingMessage,
    progress: Progress,
    record: Record,
    begun: Instant,
    hold: Hold<'m>,
    /// Whether no call was made.
    is_untried: bool,
}

impl Outbound {
    /// Sends through `backend`.
    #[must_use]
    pub fn new(
        name: BackendName,
        backend: Backend,
        queue: &Arc<dyn Publish>,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> Self {
        let label = name.to_string();
        Self {
            notes: Notes::new(&name, queue, config),
            ages: Ages::of(&QueueName::Outgoing(name.clone())),
            name,
            limit: Limit::new(backend.rate.as_ref()),
            backend,
            privacy: Privacy::new(&config.logging),
            lifecycle: lifecycle.clone(),
            recent: Recent::default(),
            // With the longest call beside it this is still well below what is taken for stuck.
            longest_turn: config.dispatcher.stuck_after / 4,
            sent: metrics::counter!(metric::SENT, "backend" => label.clone()),
            paused: metrics::gauge!(metric::PAUSED, "backend" => label.clone()),
            sending: metrics::histogram!(metric::SEND_SECONDS, "backend" => label.clone()),
            latency: metrics::histogram!(metric::ACCEPTED_TO_SENT, "backend" => label),
        }
    }

    async fn send(&self, mut turn: Turn<'_>) -> Disposition {
        let planned = self.backend.plan(turn.message);
        let parts = match planned.and_then(|parts| turn.progress.goes_on_with(&parts).map(|()| parts)) {
            Ok(parts) => parts,
            Err(error) => {
                self.note(turn.queued, &error);
                let (class, reason) = (error.class(), error.told());
                return Disposition::DeadLetter { class, reason, headers: Headers::new() };
            }
        };
        for part in &parts {
            let Some(part) = turn.progress.left_of(part) else { continue };
            // A broker takes an unsettled delivery away after half an hour, and a stop does not wait for 200 calls.
            let is_long = self.lifecycle.is_stopping() || turn.begun.elapsed() > self.longest_turn;
            let goes_on = !(turn.progress.has_news() && is_long) && self.send_part(&mut turn, &part).await;
            if !goes_on {
                return self.interrupt(&turn);
            }
        }
        turn.progress.disposition()
    }

    /// What becomes of a message that has parts left to be tried.
    fn interrupt(&self, turn: &Turn<'_>) -> Disposition {
        if turn.hold.is_lost() || self.lifecycle.is_stopping() && !turn.progress.has_news() {
            // The broker has it still, and gives it to the next.
            return Disposition::Leave;
        }
        let mut headers = turn.progress.headers();
        headers.extend(turn.record.written().map(|record| (header::REFUSED.to_owned(), record)));
        Disposition::Continue { headers }
    }

    /// Tries one part until it is known what becomes of it. False when the message is to be interrupted before.
    async fn send_part(&self, turn: &mut Turn<'_>, part: &Part<'_>) -> bool {
        let (sent_before, left) = part.divide(|pair| self.recent.has(pair.id()));
        if let Some(sent_before) = sent_before {
            tracing::info!(message_id = %turn.queued.id, backend = %self.name, "was sent before: not sent again");
            turn.progress.sent(&sent_before);
        }
        let Some(part) = &left else { return true };
        loop {
            let Some(pass) = self.pass(turn).await else { return false };
            if std::mem::take(&mut turn.is_untried) {
                self.ages.note(turn.queued, turn.message.accepted_at);
            }
            let begun = Instant::now();
            let outcome = self.backend.engine.send(part).await;
            self.sending.record(begun.elapsed());
            let error = match outcome {
                Ok(receipt) => {
                    self.reopen(pass);
                    self.take(turn, part, receipt).await;
                    return true;
                }
                Err(error) => error,
            };
            self.note(turn.queued, &error);
            if let SendError::Unavailable { reason, retry_after } = &error {
                self.pause(pass, reason, *retry_after, &mut turn.record);
                match turn.record.verdict() {
                    Verdict::Waits => continue,
                    Verdict::MakesRoom => return false,
                    Verdict::IsRefused => turn.record = Record::default(),
                }
            } else {
                self.reopen(pass);
            }
            turn.progress.fail(part, &error, self.backend.on_unknown);
            return true;
        }
    }

    /// Waits until a call may be made; nothing when the message is better given back.
    async fn pass(&self, turn: &Turn<'_>) -> Option<Pass<'_>> {
        if turn.progress.has_news() && self.backend.gate.is_closed() {
            // What was sent is noted in the queue before a wait that this process may not survive.
            return None;
        }
        let mut passing = pin!(async {
            loop {
                let pass = self.backend.gate.pass().await;
                self.limit.wait().await;
                if pass.is_good() {
                    return pass;
                }
            }
        });
        if turn.hold.is_over() {
            return None;
        }
        // Most often the way is free, and no timer is needed.
        if let Some(pass) = (&mut passing).now_or_never() {
            return Some(pass);
        }
        tokio::select! {
            biased;
            () = turn.hold.over() => None,
            pass = passing => Some(pass),
            () = self.lifecycle.stopping() => None,
        }
    }

    fn pause(&self, pass: Pass<'_>, reason: &str, retry_after: Option<Duration>, record: &mut Record) {
        if let Some(wait) = pass.refused(reason, retry_after, record) {
            self.paused.set(1);
            tracing::warn!(backend = %self.name, reason, ?wait, "paused: the provider takes nothing");
        }
    }

    fn reopen(&self, pass: Pass<'_>) {
        if let Some(paused) = pass.reached() {
            self.paused.set(0);
            tracing::info!(backend = %self.name, ?paused, "the provider takes messages again");
        }
    }

    /// The provider took the part, or some identities of it.
    async fn take(&self, turn: &mut Turn<'_>, part: &Part<'_>, receipt: SendReceipt) {
        let is_left_out =
            |identity| receipt.left_out.as_ref().is_some_and(|left| left.identities.contains(identity));
        let (left, taken) = part.divide(|pair| is_left_out(pair.identity));
        if let Some(taken) = taken {
            self.note_sent(turn, &taken, &receipt.external_ids);
            taken.pairs().for_each(|pair| self.recent.remember(pair.id(), Instant::now()));
            turn.progress.sent(&taken);
            if let Some(notes) = &self.notes {
                notes.taken(turn.queued, &taken, &receipt.external_ids).await;
            }
        }
        if let (Some(left), Some(LeftOut { error, .. })) = (left, receipt.left_out) {
            self.note(turn.queued, &error);
            turn.progress.fail(&left, &error, self.backend.on_unknown);
        }
    }

    fn note_sent(&self, turn: &Turn<'_>, part: &Part<'_>, external_ids: &[String]) {
        self.sent.increment(part.identities().len() as u64);
        self.latency.record(clock::now().since(turn.message.accepted_at));
        let external_ids = external_ids.join(",");
        // Some have the number in it.
        let (external_id, number) = (self.privacy.show(&external_ids), part.number);
        let (identity, text) = (part.shown(self.privacy), self.privacy.show(&part.text));
        let message_id = &turn.queued.id;
        tracing::info!(%message_id, backend = %self.name, part = number, %identity, %text, %external_id, "sent");
    }

    fn note(&self, queued: &Message, error: &SendError) {
        let class = error.class();
        metrics::counter!(metric::NOT_SENT, "backend" => self.name.to_string(), "class" => class)
            .increment(1);
        let attempt = queued.attempts() + 1;
        tracing::warn!(message_id = %queued.id, backend = %self.name, attempt, class, reason = error.reason(), "not sent");
    }
}

impl Work for Outbound {
    type Payload = OutgoingMessage;

    fn queue(&self) -> QueueName {
        QueueName::Outgoing(self.name.clone())
    }

    fn lanes(&self, message: &OutgoingMessage, hasher: &RandomState) -> Vec<Lane> {
        message.identities.iter().map(|identity| hasher.hash_one(identity)).collect()
    }

    fn is_waiting(&self) -> bool {
        self.backend.gate.is_closed() || self.limit.is_waiting()
    }

    fn run<'a>(
        &'a self,
        queued: &'a Message,
        message: OutgoingMessage,
        hold: Hold<'a>,
    ) -> BoxFuture<'a, Disposition> {
        async move {
            let progress = Progress::of(queued);
            let record = Record::read(queued.headers.get(header::REFUSED));
            let (begun, is_untried) = (Instant::now(), true);
            let turn = Turn { queued, message: &message, progress, record, begun, hold, is_untried };
            self.send(turn).await
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
