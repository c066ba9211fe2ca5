//! Notes that a part was taken by its provider, so that its delivery reports find it, and the apps know of it.

use std::sync::Arc;

use futures_util::future::join_all;
use shared::{
    clock,
    config::Config,
    lifecycle::Lifecycle,
    message::BackendName,
    queue::{Headers, Message, Publish, Route, header, publish_until_taken},
    report::{Reference, Report, Reported, State},
    trace,
};

use crate::{
    engines::{Pair, Part},
    lanes::Hold,
};

/// Notes the parts of one backend.
pub(super) struct Notes {
    queue: Arc<dyn Publish>,
    backend: BackendName,
    lifecycle: Lifecycle,
}

impl Notes {
    /// The notes of `backend`, if its provider reports.
    pub(super) fn new(
        backend: &BackendName,
        queue: &Arc<dyn Publish>,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> Option<Self> {
        let (queue, lifecycle) = (Arc::clone(queue), lifecycle.clone());
        config.reports.contains_key(backend).then(|| Self { queue, backend: backend.clone(), lifecycle })
    }

    /// Notes that `part`, made of the `queued` message, was taken. The provider has one id for the call, or one for each
    /// identity.
    pub(super) async fn taken(
        &self,
        queued: &Message,
        part: &Part<'_>,
        external_ids: &[String],
        hold: Hold<'_>,
    ) {
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
        tokio::select! {
            _ = join_all(notes) => {}
            // Whoever gets the message sends the part again, and notes that.
            () = hold.lost() => {}
        }
    }

    /// Returns when the note is in the queue. A stop does not wait for a broker that is away: without the note, a report
    /// that has only the provider's id finds nothing.
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
        let parent = queued.headers.get(header::TRACEPARENT).map(String::as_str);
        let headers = Headers::from([(header::TRACEPARENT.to_owned(), trace::child_of(parent))]);
        let message = Message::new(&Route::Report(self.backend.clone()), &report, headers);
        let publish = || self.queue.publish_patiently(message.clone());
        publish_until_taken(&message.id, publish, || self.lifecycle.is_stopping()).await;
    }
}
