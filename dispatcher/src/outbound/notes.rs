//! Notes that a part was taken by its provider, so that its delivery reports find it, and the apps know of it.

use std::sync::Arc;

use futures_util::future::join_all;
use metrics::Counter;
use shared::{
    clock,
    config::Config,
    message::BackendName,
    metric,
    queue::{Message, Publish, Route},
    report::{Reference, Report, Reported, State},
};

use crate::engines::{Pair, Part};

/// Notes the parts of one backend.
pub(super) struct Notes {
    queue: Arc<dyn Publish>,
    backend: BackendName,
    lost: Counter,
}

impl Notes {
    /// The notes of `backend`, if its provider reports.
    pub(super) fn new(backend: &BackendName, queue: &Arc<dyn Publish>, config: &Config) -> Option<Self> {
        let lost = || metrics::counter!(metric::LOST_NOTES, "backend" => backend.to_string());
        let notes = || Self { queue: Arc::clone(queue), backend: backend.clone(), lost: lost() };
        config.reports.contains_key(backend).then(notes)
    }

    /// Notes that `part`, made of the `queued` message, was taken. The provider has one id for the call, or one for each
    /// identity.
    pub(super) async fn taken(&self, queued: &Message, part: &Part<'_>, external_ids: &[String]) {
        let pairs: Vec<Pair<'_>> = part.pairs().collect();
        let external_id = |place: usize| match external_ids {
            [one] => Some(one.clone()),
            each if each.len() == pairs.len() => each.get(place).cloned(),
            _ => None,
        };
        let notes = pairs
            .iter()
            .enumerate()
            .map(|(place, pair)| self.publish(queued, part, pair, external_id(place)));
        join_all(notes).await;
    }

    /// Publishes once, with the deadline of a request: the message that was sent waits for it to be settled, and what a lost
    /// note costs is little. A report that has our name of the part is understood without; one with the provider's name only
    /// is not. Whether the delivery was lost meanwhile does not matter: the part is sent, and not sent again.
    async fn publish(&self, queued: &Message, part: &Part<'_>, pair: &Pair<'_>, external_id: Option<String>) {
        let reference =
            Reference { message_id: part.message.id, number: pair.number, place: Some(pair.place) };
        let reported = Reported {
            reference: Some(reference.to_string()),
            external_id,
            identity: Some(pair.identity.clone()),
            state: State::Queued,
            detail: None,
        };
        let report = Report::of_gateway(self.backend.clone(), reported, clock::now());
        let message = Message::new(&Route::Report(self.backend.clone()), &report, queued.traced());
        if let Err(error) = self.queue.publish(message).await {
            self.lost.increment(1);
            tracing::warn!(message_id = %queued.id, backend = %self.backend, part = part.number, %error, "not noted as sent");
        }
    }
}
