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
    message::{BackendName, EXTERNAL_ID, IncomingMessage, MessageId, OutgoingMessage},
};

use self::report::Report;
use crate::{
    apps,
    engines::{
        Backend, Engines,
        calls::{Calls, Notes},
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
    let noted = Calls::Noted(notes.clone());
    let apps = if trial.call_apps { apps(config, &Calls::Made)? } else { apps(&shown, &noted)? };
    let (router, engines) = (Router::new(apps, config), Engines::build(&shown, &noted)?);
    let message = incoming(trial, now);
    let mut report = Report::new(trial.show_secrets);
    report.message(&message);
    if !config.endpoints.iter().any(|endpoint| endpoint.backend == trial.backend) {
        report.no_endpoint(&trial.backend);
    }
    let routed = router.route(message, 1).await;
    report.not_asked(&notes.take());
    let Routed { outcome, replies, cancelled, .. } = match routed {
        Ok(routed) => routed,
        Err(error) => {
            report.failed(&error);
            return Ok(report.finish());
        }
    };
    report.outcome(outcome, replies.len() + cancelled.len());
    for reply in &replies {
        report.reply(reply);
        match engines.iter().find(|(name, _)| **name == reply.backend) {
            Some((_, backend)) => send(backend, reply, &notes, &mut report).await,
            None => report.no_backend(&reply.backend),
        }
    }
    cancelled.iter().for_each(|cancelled| report.cancelled(cancelled));
    Ok(report.finish())
}

/// Sends each part, as far as a request.
async fn send(backend: &Backend, reply: &OutgoingMessage, notes: &Notes, report: &mut Report) {
    let parts = match backend.plan(reply) {
        Ok(parts) => parts,
        Err(error) => return report.refused(&error),
    };
    report.texts(&reply.text, &parts);
    let is_cut = parts.iter().any(|part| part.number > 1);
    for (number, part) in (1..).zip(&parts) {
        report.part(number, part, is_cut);
        // What the engine makes of the answer, which nobody gave, counts for nothing.
        let sent = backend.engine.send(part).await;
        match (&notes.take()[..], sent) {
            ([], Ok(_)) => report.taken(),
            ([], Err(error)) => report.refused(&error),
            (calls, _) => calls.iter().for_each(|call| report.call(call)),
        }
    }
}

/// The message as a form would have read it.
fn incoming(trial: &Trial, now: UnixMillis) -> IncomingMessage {
    let given = trial.fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: BTreeMap<String, String> = given.cloned().collect();
    let external_id = fields.get(EXTERNAL_ID).map(|id| MessageId::external(&trial.backend, id));
    IncomingMessage {
        id: external_id.unwrap_or_default(),
        accepted_at: now,
        backend: trial.backend.clone(),
        identity: trial.from.as_str().into(),
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
