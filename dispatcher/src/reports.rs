//! Consumes `reports`: finds out which part each delivery report is about, and tells the apps what is new.
//!
//! One process at a time consumes the queue, so what it has seen is all there is to know ([`ledger`]).

mod ledger;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{FutureExt, future::BoxFuture};
use shared::{
    config::Config,
    metric,
    queue::{Disposition, Headers, Message, QueueName},
    report::{Reference, Report},
    telemetry::{Chain, Privacy},
};

use self::ledger::{Finding, Ledger};
use crate::{
    age::Ages,
    apps::DeliveryReport,
    lanes::{Hold, Lane, Work},
    router::Router,
};

/// How often a report is tried whose part nobody has heard of: it may have overtaken the news that the part is sent.
const PATIENCE: u32 = 3;

/// The class of a report whose part is not known.
const UNMATCHED: &str = "unmatched";

/// The work on delivery reports.
pub(crate) struct Reports {
    router: Arc<Router>,
    ledger: Mutex<Ledger>,
    privacy: Privacy,
    ages: Ages,
}

impl Reports {
    /// Tells the apps of `router`.
    pub(crate) fn new(router: Arc<Router>, config: &Config) -> Self {
        let ages = Ages::of(&QueueName::Reports);
        Self { router, ledger: Mutex::default(), privacy: Privacy::new(&config.logging), ages }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn judge(&self, queued: &Message, report: Report) -> Disposition {
        self.ages.note(queued, report.accepted_at);
        let entry = self.ledger().learn(&report);
        let finding = entry.map(|entry| (entry, self.ledger().find(entry, &report)));
        let (outcome, disposition) = match finding {
            Some((entry, Finding::New(told))) => match self.tell(queued, &told).await {
                Ok(()) => {
                    self.ledger().told(entry, report.state);
                    ("new", Disposition::Done)
                }
                Err(disposition) => ("failed", disposition),
            },
            Some((_, Finding::Repeat)) => ("repeat", Disposition::Done),
            Some((_, Finding::Late)) => ("late", Disposition::Done),
            None => (UNMATCHED, unmatched(queued, &report)),
        };
        let (backend, state) = (report.backend.to_string(), report.state.name());
        metrics::counter!(metric::REPORTS, "backend" => backend, "state" => state, "outcome" => outcome)
            .increment(1);
        // Some have the number in it.
        let external_id = self.privacy.show(report.external_id.as_deref().unwrap_or_default());
        let reference = report.reference.as_deref().unwrap_or_default();
        tracing::info!(reference, backend = %report.backend, %external_id, %state, outcome, "delivery report");
        disposition
    }

    async fn tell(&self, queued: &Message, report: &DeliveryReport) -> Result<(), Disposition> {
        self.router.report(report).await.map_err(|error| {
            let (reason, headers) = (Chain(&error).to_string(), Headers::new());
            tracing::error!(message_id = %report.message_id, attempt = queued.attempts() + 1, %reason, "report not told");
            if error.is_over_time() {
                return Disposition::DeadLetter { class: "over_time", reason, headers };
            }
            Disposition::Retry { class: "app_failed", reason, headers }
        })
    }
}

/// A name of ours that is none cannot become one; a provider's may still be heard of.
fn unmatched(queued: &Message, report: &Report) -> Disposition {
    let (class, headers) = (UNMATCHED, Headers::new());
    if report.reference.is_none() && queued.attempts() < PATIENCE {
        let reason = "no part with this id of the provider's is known yet".to_owned();
        return Disposition::Retry { class, reason, headers };
    }
    let reason = match report.reference {
        Some(_) => "it is about a part that was not sent through this backend: its reference is none of ours",
        None => {
            "no part with this id of the provider's is known: it was sent before the last start, or by another"
        }
    };
    Disposition::DeadLetter { class, reason: reason.to_owned(), headers }
}

impl Work for Reports {
    type Payload = Report;

    fn queue(&self) -> QueueName {
        QueueName::Reports
    }

    /// The reports of a part stay in order, by whichever name they come.
    fn lanes(&self, report: &Report, hasher: &RandomState) -> Vec<Lane> {
        let message = report.reference.as_deref().and_then(|name| name.parse::<Reference>().ok());
        let message = message.map(|reference| hasher.hash_one((&report.backend, reference.message_id)));
        let external = report.external_id.as_ref().map(|id| hasher.hash_one((&report.backend, id)));
        message.into_iter().chain(external).collect()
    }

    fn run<'a>(&'a self, queued: &'a Message, report: Report, _hold: Hold<'a>) -> BoxFuture<'a, Disposition> {
        self.judge(queued, report).boxed()
    }
}

#[cfg(test)]
mod tests;
