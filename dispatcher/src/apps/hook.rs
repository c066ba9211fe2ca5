//! What `webhook` and `forward` share: one signed call of a URL, and what its failure means for the message.

pub(super) mod answer;

pub(super) mod request;

mod rest;

use shared::{
    clock,
    config::{
        Config,
        apps::{
            Phase,
            hook::{Hook as Settings, OnError},
        },
    },
    lifecycle::{Exit, Failure},
    message::MessageId,
    metric,
};
use tokio::time::Instant;

use self::{
    request::{ATTEMPT, IDEMPOTENCY_KEY, Request, SIGNATURE},
    rest::Rest,
};
use super::{AppError, DeliveryReport, Step};
use crate::engines::{
    calls::Calls,
    client::{Answer, Client},
    request::JsonPost,
};

/// Calls one URL.
pub(super) struct Hook {
    name: String,
    client: Client,
    post: JsonPost,
    settings: Settings,
    /// From reports: they are told one at a time, and one URL that hangs would hold up all.
    rest: Rest,
}

impl Hook {
    /// The hook of an app of this `kind`.
    pub(super) fn new(
        kind: &str,
        settings: Settings,
        config: &Config,
        calls: &Calls,
    ) -> Result<Self, Failure> {
        let name = format!("{kind} {}{}", settings.url.peer(), number_told(&settings, " "));
        let client = Client::new(&name, settings.timeout, config.dispatcher.concurrency, calls)?;
        let unusable = || Failure::new(Exit::Unavailable, format!("{name}: no request can have its headers"));
        let post = JsonPost::new(&settings.url, &settings.headers).ok_or_else(unusable)?;
        Ok(Self { name, client, post, settings, rest: Rest::default() })
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
        self.outcome(id, phase, answer)
    }

    /// Tells of a report. What is answered counts for nothing: there is nobody to answer.
    pub(super) fn tell<'a>(&'a self, report: &'a DeliveryReport) -> Step<'a, ()> {
        if !self.is_called_in(Phase::Report) {
            return Step::ready(());
        }
        Step::later(async move {
            let request = Request::report(report);
            let told = if self.rest.is_over(Instant::now()) {
                self.tell_now(request).await
            } else {
                Err("it has failed just before".to_owned())
            };
            self.outcome(report.id, Phase::Report, told)
        })
    }

    async fn tell_now(&self, request: Request) -> Result<(), String> {
        let begun = Instant::now();
        let answer = self.post(request).await;
        if answer.is_err() {
            self.rest.begin(Instant::now(), begun.elapsed());
        }
        answer.map(drop)
    }

    fn outcome<A: Default>(
        &self,
        id: MessageId,
        phase: Phase,
        answer: Result<A, String>,
    ) -> Result<A, AppError> {
        match (answer, self.settings.on_error) {
            (Ok(answer), _) => Ok(answer),
            (Err(reason), OnError::Retry) => Err(reason.into()),
            (Err(reason), OnError::Ignore) => {
                metrics::counter!(metric::IGNORED_ERRORS, "app" => self.name.clone()).increment(1);
                tracing::error!(message_id = %id, app = self.name, %phase, %reason, "failed; ignored");
                Ok(A::default())
            }
        }
    }

    /// The answer, when it is a success; else why not, without personal data.
    async fn post(&self, request: Request) -> Result<Answer, String> {
        let key = request.key() + &number_told(&self.settings, "-");
        let mut headers = vec![(IDEMPOTENCY_KEY, key)];
        headers.extend(request.attempt.map(|attempt| (ATTEMPT, attempt.to_string())));
        let secret = self.settings.secret.as_ref();
        headers.extend(secret.map(|secret| (SIGNATURE, request.signature(secret, clock::now()))));
        let mut request = self.post.request(headers, request.body).ok_or("no request can be made of it")?;
        // It may be shown in a dry run, where it is worth as much as the secret.
        request.headers_mut().get_mut(SIGNATURE).into_iter().for_each(|value| value.set_sensitive(true));
        let answer = self.client.call(request).await.map_err(|error| error.reason().to_owned())?;
        if answer.is_success() { Ok(answer) } else { Err(answer.refusal().reason().to_owned()) }
    }
}

/// Which of the apps that call this host it is, behind `before`; nothing of the first. Each has a name of its own, and asks
/// for itself: what one was answered is no answer to the other.
fn number_told(settings: &Settings, before: &str) -> String {
    if settings.number == 1 { String::new() } else { format!("{before}{}", settings.number) }
}

#[cfg(test)]
mod tests;
