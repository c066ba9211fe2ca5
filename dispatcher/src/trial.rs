//! The dry run: what would become of a message, told by the router, the apps and the engines themselves, whose calls are noted
//! instead of made. There is no queue in it.

mod report;

use std::collections::BTreeMap;

use futures_util::FutureExt;
use shared::{
    cli::{Trial, Try},
    clock::{self, UnixMillis},
    config::Config,
    lifecycle::{Exit, Failure},
    message::{BackendName, EXTERNAL_ID, Identity, IncomingMessage, MessageId, OutgoingMessage},
};

use self::report::Report;
use crate::{
    apps,
    engines::{
        Backend, Engines, Part, SendError,
        calls::{Call, Calls, Notes},
    },
    router::{Routed, Router},
};

/// What the command `try` tells, of a program with these `apps`.
#[must_use]
pub fn tell(apps: apps::Build) -> Try {
    Box::new(move |config, trial| async move { run(&config, &trial, apps, clock::now()).await }.boxed())
}

async fn run(config: &Config, trial: &Trial, apps: apps::Build, now: UnixMillis) -> Result<String, Failure> {
    if !config.backends.contains_key(&trial.backend) {
        return Err(unknown(config, trial));
    }
    let shown = if trial.show_secrets { config.clone() } else { config.without_secrets() };
    let notes = Notes::default();
    let apps = if trial.call_apps {
        apps(config, &Calls::Made)?
    } else {
        apps(&shown, &Calls::Noted(notes.clone()))?
    };
    let router = Router::new(apps, config);
    let outlets = Outlets { real: Outlet::new(config)?, shown: Outlet::new(&shown)? };
    let message = incoming(trial, now);
    let mut report = Report::new(trial.show_secrets);
    report.message(&message);
    if !config.endpoints.iter().any(|endpoint| endpoint.backend == trial.backend) {
        report.no_endpoint(&trial.backend);
    }
    let outcome = router.route(message, 1).await;
    report.not_called(&notes.take());
    match outcome {
        Err(error) => report.failed(&error),
        Ok(Routed { outcome, replies, cancelled, .. }) => {
            report.outcome(outcome, replies.len() + cancelled.len());
            for reply in &replies {
                report.reply(reply);
                outlets.send(reply, &mut report).await;
            }
            for cancelled in &cancelled {
                report.cancelled(cancelled);
            }
        }
    }
    Ok(report.finish())
}

/// Engines whose calls are noted.
struct Outlet {
    engines: Engines,
    notes: Notes,
}

impl Outlet {
    fn new(config: &Config) -> Result<Self, Failure> {
        let notes = Notes::default();
        Ok(Self { engines: Engines::build(config, &Calls::Noted(notes.clone()))?, notes })
    }

    /// The calls for `part` by one of its backends. What the engine makes of an answer that nobody gave counts for nothing.
    async fn send(&self, backend: &Backend, part: &Part<'_>) -> Result<Vec<Call>, SendError> {
        let sent = backend.engine.send(part).await;
        let calls = self.notes.take();
        if calls.is_empty() { sent.map(|_| calls) } else { Ok(calls) }
    }
}

/// The engines that know whether a request can be made, and those that make the one that is shown.
struct Outlets {
    real: Outlet,
    shown: Outlet,
}

impl Outlets {
    /// Sends each part, as far as a request.
    async fn send(&self, reply: &OutgoingMessage, report: &mut Report) {
        let name = &reply.backend;
        let (Some(real), Some(shown)) = (self.real.engines.get(name), self.shown.engines.get(name)) else {
            return report.no_backend(name);
        };
        let parts = match real.plan(reply) {
            Ok(parts) => parts,
            Err(error) => return report.refused(&error),
        };
        report.texts(real.engine.as_ref(), &reply.text, &parts);
        let is_cut = parts.iter().any(|part| part.number > 1);
        for (number, part) in (1..).zip(&parts) {
            report.part(number, part, is_cut);
            let made = self.shown.send(shown, part).await;
            match self.real.send(real, part).await.and(made) {
                Ok(calls) if calls.is_empty() => report.taken(),
                Ok(calls) => report.calls(&calls),
                Err(error) => report.refused(&error),
            }
        }
    }
}

/// The message as a form would have read it.
fn incoming(trial: &Trial, now: UnixMillis) -> IncomingMessage {
    let fields: BTreeMap<String, String> = trial.fields.iter().cloned().collect();
    let identity = Identity::from(trial.from.as_str());
    let external_id = fields.get(EXTERNAL_ID).map(|id| MessageId::external(&trial.backend, &identity, id));
    IncomingMessage {
        id: external_id.unwrap_or_default(),
        accepted_at: now,
        backend: trial.backend.clone(),
        identity,
        text: trial.text.clone(),
        fields,
        no_reply: false,
    }
}

fn unknown(config: &Config, trial: &Trial) -> Failure {
    let known: Vec<&str> = config.backends.keys().map(BackendName::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!(
        "there is no backend `{}`; give --backend one of the configuration's: {known}",
        trial.backend
    );
    Failure::new(Exit::Usage, message)
}

#[cfg(test)]
mod tests;
