//! Runs a message through the phases of the apps: filter, parse, handle, default, cleanup; each reply, and each message
//! that a program submitted, through outgoing.
//!
//! As RapidSMS's router, with its bugs fixed: cleanup runs for handled messages too, and a failing app does not go
//! unnoticed: none of the replies is sent, and the message is tried again.

use std::time::Duration;

use futures_util::future::join_all;
use shared::{
    config::{Config, apps::Phase},
    message::{IncomingMessage, OutgoingMessage, SubmittedMessage},
    metric,
};
use tokio::time::Instant;

use crate::apps::{App, Claim, Context, DeliveryReport, Draft, Filter, Outgoing, Step, StepError};

/// What became of an incoming message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'r> {
    /// The app of this name stopped it.
    Filtered(&'r str),
    /// The app of this name claimed it, in `handle` or in `default`.
    Handled {
        /// The app.
        app: &'r str,
        /// The phase.
        phase: Phase,
    },
    /// Nobody claimed it.
    Unclaimed,
}

/// A message after all phases: what became of it, and the replies to publish, in order.
#[derive(Debug)]
pub struct Routed<'r> {
    /// What became of the message.
    pub outcome: Outcome<'r>,
    /// The replies, final.
    pub replies: Vec<OutgoingMessage>,
    /// The replies that an app cancelled.
    pub cancelled: Vec<Cancelled<'r>>,
    /// How many replies to the sender were dropped, because it cannot be answered any more.
    pub dropped: usize,
}

/// A reply that an app did not let out.
#[derive(Debug)]
pub struct Cancelled<'r> {
    /// The app.
    pub app: &'r str,
    /// The reply, as the apps before have left it.
    pub draft: Draft,
}

/// An app failed: none of the replies is sent.
#[derive(Debug, thiserror::Error)]
#[error("the app `{app}` failed in {phase}")]
pub struct RouteError {
    app: String,
    phase: Phase,
    source: StepError,
}

impl RouteError {
    /// True when the app took too long; it would again.
    #[must_use]
    pub fn is_over_time(&self) -> bool {
        matches!(self.source, StepError::OverTime)
    }
}

/// The apps, in order.
pub struct Router {
    apps: Vec<Box<dyn App>>,
    /// Which of them take part in each phase: of a hundred apps most take part in one.
    by_phase: [Vec<usize>; Phase::ALL.len()],
    project_name: String,
    app_timeout: Duration,
}

impl Router {
    /// A router over `apps`, with the rest from `config`.
    #[must_use]
    pub fn new(apps: Vec<Box<dyn App>>, config: &Config) -> Self {
        let (project_name, app_timeout) = (config.project_name.clone(), config.dispatcher.app_timeout);
        let by_phase = Phase::ALL
            .map(|phase| (0..apps.len()).filter(|&index| apps[index].takes_part_in(phase)).collect());
        Self { apps, by_phase, project_name, app_timeout }
    }

    fn apps_in(&self, phase: Phase) -> impl DoubleEndedIterator<Item = &dyn App> {
        self.by_phase[phase as usize].iter().map(|&index| self.apps[index].as_ref())
    }

    /// Runs `message` through all phases; it is the `attempt`th time that this is done.
    pub async fn route(&self, message: IncomingMessage, attempt: u32) -> Result<Routed<'_>, RouteError> {
        let deadline = Instant::now() + self.app_timeout;
        let mut context = Context::new(message, attempt, &self.project_name);
        let outcome = self.run_phases(&mut context, deadline).await?;
        let dropped = if context.message.no_reply { drop_replies(&mut context) } else { 0 };
        let (replies, cancelled) = self.finish(context.into_drafts()).await;
        Ok(Routed { outcome, replies, cancelled, dropped })
    }

    /// Runs a message that a program submitted through the outgoing phase, and gives what remains of it: it keeps its id.
    pub async fn submit(&self, message: SubmittedMessage) -> Vec<OutgoingMessage> {
        let SubmittedMessage { id, accepted_at, backend, identities, text, fields, .. } = message;
        let in_response_to = None;
        let message = OutgoingMessage { id, accepted_at, backend, identities, text, in_response_to, fields };
        self.finish(vec![Draft(message)]).await.0
    }

    /// Tells all apps of a delivery report, beside each other: one that fails, or takes long, keeps it from no other.
    pub async fn report(&self, report: &DeliveryReport) -> Result<(), RouteError> {
        let deadline = Instant::now() + self.app_timeout;
        let tell = async |app: &dyn App| {
            app.report(report).done_by(deadline).await.map_err(failed(app, Phase::Report))
        };
        let told = join_all(self.apps_in(Phase::Report).map(tell)).await;
        // What may be mended is tried again, whoever else took too long.
        let failure = told.into_iter().filter_map(Result::err).min_by_key(RouteError::is_over_time);
        failure.map_or(Ok(()), Err)
    }

    async fn run_phases(
        &self,
        context: &mut Context<'_>,
        deadline: Instant,
    ) -> Result<Outcome<'_>, RouteError> {
        for app in self.apps_in(Phase::Filter) {
            let filtered = app.filter(context).done_by(deadline).await.map_err(failed(app, Phase::Filter))?;
            if filtered == Filter::Stop {
                // Replies that were made before are sent all the same: an app may say why it stops a message.
                return Ok(Outcome::Filtered(app.name()));
            }
        }
        for app in self.apps_in(Phase::Parse) {
            app.parse(context).done_by(deadline).await.map_err(failed(app, Phase::Parse))?;
        }
        let outcome = self.claim(context, deadline).await?;
        for app in self.apps_in(Phase::Cleanup) {
            app.cleanup(context).done_by(deadline).await.map_err(failed(app, Phase::Cleanup))?;
        }
        Ok(outcome)
    }

    async fn claim(&self, context: &mut Context<'_>, deadline: Instant) -> Result<Outcome<'_>, RouteError> {
        for phase in [Phase::Handle, Phase::Default] {
            for app in self.apps_in(phase) {
                let step = if phase == Phase::Handle { app.handle(context) } else { app.default(context) };
                let claim = match step {
                    // Each message asks a hundred apps, and all but one pass: no future is made for that.
                    Step::Ready(Ok(claim)) => claim,
                    step @ (Step::Ready(_) | Step::Later(_)) => {
                        step.done_by(deadline).await.map_err(failed(app, phase))?
                    }
                };
                if claim == Claim::Handled {
                    return Ok(Outcome::Handled { app: app.name(), phase });
                }
            }
        }
        Ok(Outcome::Unclaimed)
    }

    /// Runs the drafts through the outgoing phase, and gives what remains of them, in order, and what was cancelled. They go
    /// beside each other, so that their number adds nothing to the time in which all must be done.
    async fn finish(&self, drafts: Vec<Draft>) -> (Vec<OutgoingMessage>, Vec<Cancelled<'_>>) {
        let deadline = Instant::now() + self.app_timeout;
        let drafts = drafts.into_iter().map(|draft| self.run_outgoing(draft, deadline));
        let (mut messages, mut cancelled) = (Vec::new(), Vec::new());
        for outcome in join_all(drafts).await {
            match outcome {
                Ok(message) => messages.push(message),
                Err(draft) => cancelled.push(draft),
            }
        }
        (messages, cancelled)
    }

    /// Runs a draft through the apps in reverse order, and gives what remains of it.
    async fn run_outgoing(
        &self,
        mut draft: Draft,
        deadline: Instant,
    ) -> Result<OutgoingMessage, Cancelled<'_>> {
        for app in self.apps_in(Phase::Outgoing).rev() {
            let (message_id, name, before) = (draft.id(), app.name(), draft.clone());
            match app.outgoing(&mut draft).done_by(deadline).await {
                Ok(Outgoing::Send) if !draft.identities().is_empty() => {}
                Ok(Outgoing::Send | Outgoing::Cancel) => {
                    tracing::info!(%message_id, app = name, "cancelled");
                    return Err(Cancelled { app: name, draft: before });
                }
                // As in RapidSMS: a message that was made is worth more than what an app wanted to do to it.
                Err(error) => {
                    metrics::counter!(metric::IGNORED_ERRORS, "app" => name.to_owned()).increment(1);
                    tracing::error!(%message_id, app = name, %error, "failed in outgoing; sent all the same");
                    draft = before;
                }
            }
        }
        Ok(draft.0)
    }
}

/// Takes the sender out of all drafts, and tells out of how many. What an app sends to others is not concerned.
fn drop_replies(context: &mut Context<'_>) -> usize {
    let Context { message, drafts, .. } = context;
    let mut dropped = 0;
    for draft in drafts.iter_mut().filter(|draft| *draft.backend() == message.backend) {
        let before = draft.identities().len();
        draft.retain(|identity| *identity != message.identity);
        dropped += before - draft.identities().len();
    }
    drafts.retain(|draft| !draft.identities().is_empty());
    dropped
}

fn failed(app: &dyn App, phase: Phase) -> impl FnOnce(StepError) -> RouteError {
    move |source| RouteError { app: app.name().to_owned(), phase, source }
}

#[cfg(test)]
mod tests;
