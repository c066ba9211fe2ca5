//! What `webhook` and `forward` share: one signed call of a URL, and what its failure means for the message.

pub(super) mod answer;

pub(super) mod request;

use secrecy::ExposeSecret;
use shared::{
    clock,
    config::{
        Config,
        apps::{
            Phase,
            hook::{Hook as Settings, OnError},
        },
    },
    lifecycle::Failure,
};

use self::request::{IDEMPOTENCY_KEY, Request, SIGNATURE};
use super::{AppError, DeliveryReport, Step};
use crate::engines::{
    calls::Calls,
    client::{Answer, Client},
};

/// Calls one URL.
pub(super) struct Hook {
    name: String,
    client: Client,
    settings: Settings,
}

impl Hook {
    /// The hook of an app of this `kind`.
    pub(super) fn new(
        kind: &str,
        settings: Settings,
        config: &Config,
        calls: &Calls,
    ) -> Result<Self, Failure> {
        let name = format!("{kind} {}", settings.peer);
        let client = Client::new(&name, settings.timeout, config.dispatcher.concurrency, calls)?;
        Ok(Self { name, client, settings })
    }

    /// The app's name. Of the URL it has the host only: the rest may hold credentials.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is called in `phase`.
    pub(super) fn is_called_in(&self, phase: Phase) -> bool {
        self.settings.phases.contains(&phase)
    }

    /// Makes the call and reads the answer. A failure that shall be ignored is an answer that says nothing.
    pub(super) async fn call<A: Default>(
        &self,
        request: Request,
        read: fn(&Answer) -> Result<A, String>,
    ) -> Result<A, AppError> {
        let Request { id, phase, .. } = request;
        let answer = self.post(request).await.and_then(|answer| read(&answer));
        match (answer, self.settings.on_error) {
            (Ok(answer), _) => Ok(answer),
            (Err(reason), OnError::Retry) => Err(reason.into()),
            (Err(reason), OnError::Ignore) => {
                metrics::counter!("gateway_ignored_errors_total", "app" => self.name.clone()).increment(1);
                tracing::error!(message_id = %id, app = self.name, %phase, %reason, "failed; ignored");
                Ok(A::default())
            }
        }
    }

    /// Tells of a report. What is answered counts for nothing: there is nobody to answer.
    pub(super) fn tell<'a>(&'a self, report: &'a DeliveryReport) -> Step<'a, ()> {
        if !self.is_called_in(Phase::Report) {
            return Step::ready(());
        }
        Step::later(self.call(Request::report(report), |_| Ok(())))
    }

    /// The answer, when it is a success; else why not, without personal data.
    async fn post(&self, request: Request) -> Result<Answer, String> {
        let Settings { url, secret, headers, .. } = &self.settings;
        let key = request.key();
        let signature = secret.as_ref().map(|secret| request.signature(secret, clock::now()));
        let secret_headers = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.expose_secret()))
            .chain(signature.as_deref().map(|signature| (SIGNATURE, signature)));
        let headers = [(IDEMPOTENCY_KEY, key.as_str())];
        let answer = self.client.post_json(url.expose_secret(), headers, secret_headers, request.body).await;
        let answer = answer.map_err(|error| error.reason().to_owned())?;
        if answer.is_success() { Ok(answer) } else { Err(answer.refusal().reason().to_owned()) }
    }
}

#[cfg(test)]
mod tests;
