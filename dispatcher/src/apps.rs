//! The apps: what takes part in the router's phases. One file an app, one line in [`build`].
//!
//! To write one: make a type, implement [`App`] for it with the phases it takes part in, name it in
//! `shared/src/config/apps.rs` and in [`build`]. `docs/writing-an-app.md` shows a whole one.

mod default;

mod draft;

mod echo;

mod forward;

mod hook;

mod keyword;

mod loop_guard;

mod pattern;

mod ping;

mod webhook;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
};

use futures_util::{
    FutureExt,
    future::{self, BoxFuture, Either},
};
use shared::{
    clock::UnixMillis,
    config::{self, Config, apps::Phase},
    lifecycle::Failure,
    message::{BackendName, Identity, IncomingMessage, MAX_IDENTITIES, MessageId, OutgoingMessage},
    report::State,
    template::Template,
};
use tokio::time::{Instant, timeout_at};

pub use self::draft::Draft;
use self::hook::Hook;
use crate::engines::calls::Calls;

/// The page's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/writing-an-app.md")]
struct WritingAnApp;

/// Why an app failed. The message is tried again later.
pub type AppError = Box<dyn std::error::Error + Send + Sync>;

/// Why a phase has no result.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The app says so.
    #[error(transparent)]
    Failed(AppError),
    /// It was not done in time.
    #[error("it is over the time limit, dispatcher.app_timeout")]
    OverTime,
}

/// Takes part in the router's phases. Every phase has a default that does nothing.
pub trait App: Send + Sync {
    /// The name, for logs and metrics.
    fn name(&self) -> &str;

    /// Whether it takes part in `phase`. This is asked once, at the start; in a phase that it takes no part in it is not called.
    /// That it takes part in all is always right, and costs each message a call that does nothing.
    fn takes_part_in(&self, _phase: Phase) -> bool {
        true
    }

    /// The first phase: may stop the message, which then reaches no other phase. Replies made before are still sent.
    fn filter<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, Filter> {
        Step::ready(Filter::Pass)
    }

    /// The second phase: may add to the message, or change it for the apps that follow.
    fn parse<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, ()> {
        Step::ready(())
    }

    /// The third phase: may claim the message. The first app that does ends the phase.
    fn handle<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, Claim> {
        Step::ready(Claim::Passed)
    }

    /// The fourth phase, for messages that nobody handled.
    fn default<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, Claim> {
        Step::ready(Claim::Passed)
    }

    /// The last phase, for every message that was not filtered.
    fn cleanup<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, ()> {
        Step::ready(())
    }

    /// For each reply and each message that a program submits, apps in reverse order: may change or cancel it. The replies to
    /// one message go through this phase beside each other.
    fn outgoing<'a>(&'a self, _draft: &'a mut Draft) -> Step<'a, Outgoing> {
        Step::ready(Outgoing::Send)
    }

    /// For each delivery report that tells something new about a part of a message.
    fn report<'a>(&'a self, _report: &'a DeliveryReport) -> Step<'a, ()> {
        Step::ready(())
    }
}

/// What `filter` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Go on.
    Pass,
    /// Stop the message here.
    Stop,
}

/// What `handle` and `default` say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was ours; nobody else is asked.
    Handled,
    /// It was not ours.
    Passed,
}

/// What `outgoing` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// Go on.
    Send,
    /// Do not send it.
    Cancel,
}

/// What a phase gives: at once, or after some waiting. Most apps never wait, and then nothing is allocated.
pub enum Step<'a, T> {
    /// At once.
    Ready(Result<T, AppError>),
    /// After a database, another service, ... has answered.
    Later(BoxFuture<'a, Result<T, AppError>>),
}

impl<'a, T> Step<'a, T> {
    /// Gives `value` at once.
    pub fn ready(value: T) -> Self {
        Self::Ready(Ok(value))
    }

    /// Gives what `future` gives.
    pub fn later(future: impl Future<Output = Result<T, AppError>> + Send + 'a) -> Self {
        Self::Later(Box::pin(future))
    }

    /// The result, unless it is not there at `deadline`. Of the many steps that do not wait none is as large as a timer.
    pub(crate) fn done_by(
        self,
        deadline: Instant,
    ) -> impl Future<Output = Result<T, StepError>> + Send + use<'a, T>
    where
        T: Send + 'a,
    {
        match self {
            Self::Ready(result) => Either::Left(future::ready(result.map_err(StepError::Failed))),
            Self::Later(future) => Either::Right(Box::pin(timeout_at(deadline, future).map(|done| {
                let result = done.map_err(|_elapsed| StepError::OverTime)?;
                result.map_err(StepError::Failed)
            }))),
        }
    }
}

/// A message on its way through the phases, and the replies made so far.
pub struct Context<'r> {
    /// The message. `parse` may change it; its id and backend belong to the queue and are best left alone.
    pub message: IncomingMessage,
    /// Which attempt at the message this is, counted from 1. What a crash or a stop broke off is not counted.
    pub attempt: u32,
    /// `project_name` of the configuration.
    pub project_name: &'r str,
    pub(crate) drafts: Vec<Draft>,
}

/// How far a part of a message is, as its provider tells. Each state of a part is told once, and none after a final one.
#[derive(Clone, Debug)]
pub struct DeliveryReport {
    /// The id of the report, the same when it is told again.
    pub id: MessageId,
    /// When it came in.
    pub accepted_at: UnixMillis,
    /// The message, by the id that it had in the outgoing phase.
    pub message_id: MessageId,
    /// Which part of its text, counted from 1.
    pub part: u16,
    /// The backend that it was sent through.
    pub backend: BackendName,
    /// To whom, as far as it is known.
    pub identity: Option<Identity>,
    /// The provider's own id of the part.
    pub external_id: Option<String>,
    /// How far it is.
    pub state: State,
    /// What else the provider says: an error, its own word for the state.
    pub detail: Option<String>,
}

impl<'r> Context<'r> {
    pub(crate) fn new(message: IncomingMessage, attempt: u32, project_name: &'r str) -> Self {
        Self { message, attempt, project_name, drafts: Vec::new() }
    }

    /// Replies to the sender.
    pub fn respond(&mut self, text: impl Into<String>) {
        let (backend, identity) = (self.message.backend.clone(), self.message.identity.clone());
        self.send(backend, vec![identity], text);
    }

    /// Sends to anybody, through any backend. Identities that repeat are sent to once; none at all is no message.
    pub fn send(&mut self, backend: BackendName, mut identities: Vec<Identity>, text: impl Into<String>) {
        if identities.len() > 1 {
            let mut seen = HashSet::new();
            identities.retain(|identity| seen.insert(identity.clone()));
        }
        if identities.is_empty() {
            tracing::warn!(message_id = %self.message.id, %backend, "an app sends a message to nobody");
        }
        let message = OutgoingMessage {
            id: self.message.id,
            accepted_at: self.message.accepted_at,
            backend,
            identities: Vec::new(),
            text: text.into(),
            in_response_to: Some(self.message.id),
            fields: BTreeMap::new(),
        };
        for identities in identities.chunks(MAX_IDENTITIES) {
            // By its place among all that was made, whatever becomes of the others: the same when the message comes again.
            let id = self.message.id.response(self.drafts.len());
            let identities = identities.to_vec();
            self.drafts.push(Draft(OutgoingMessage { id, identities, ..message.clone() }));
        }
    }

    /// What was made, with the fields that the message has in the end.
    pub(crate) fn into_drafts(self) -> Vec<Draft> {
        let fields = self.message.fields;
        let with_fields = |Draft(message)| Draft(OutgoingMessage { fields: fields.clone(), ..message });
        self.drafts.into_iter().map(with_fields).collect()
    }

    /// A value that every reply template may name; `text` is what `{text}` stands for.
    fn value<'v>(&'v self, name: &str, text: &'v str) -> Option<Cow<'v, str>> {
        Some(Cow::Borrowed(match name {
            "text" => text,
            "identity" => self.message.identity.as_str(),
            "backend" => self.message.backend.as_str(),
            "project_name" => self.project_name,
            _ => return None,
        }))
    }

    /// Replies with `template`; `text` is what `{text}` stands for.
    fn respond_with(&mut self, template: &Template, text: &str) {
        let reply = template.render(|name| self.value(name, text));
        self.respond(reply);
    }
}

/// Gives the apps of a configuration.
pub type Build = fn(&Config, &Calls) -> Result<Vec<Box<dyn App>>, Failure>;

/// The apps of `config`, in order.
pub fn build(config: &Config, calls: &Calls) -> Result<Vec<Box<dyn App>>, Failure> {
    config.apps.iter().map(|app| build_one(app.clone(), config, calls)).collect()
}

fn build_one(app: config::App, config: &Config, calls: &Calls) -> Result<Box<dyn App>, Failure> {
    Ok(match app {
        config::App::Echo(keyword) => Box::new(echo::Echo::new(keyword)),
        config::App::Ping => Box::new(ping::Ping),
        config::App::Keyword { keyword, help, reply } => {
            Box::new(keyword::Handler::new(keyword, help, reply))
        }
        config::App::Pattern { pattern, reply } => Box::new(pattern::Handler::new(pattern, reply)),
        config::App::Default { reply } => Box::new(default::Default::new(reply)),
        config::App::Webhook(hook) => Box::new(webhook::Webhook(Hook::new("webhook", *hook, config, calls)?)),
        config::App::Forward(hook) => Box::new(forward::Forward(Hook::new("forward", *hook, config, calls)?)),
        config::App::LoopGuard(settings) => Box::new(loop_guard::LoopGuard::new(settings)),
    })
}
