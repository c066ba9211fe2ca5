//! The engines: the code that sends for a backend. One file an engine, one line in [`Engines::build`].
//!
//! [`Backend::plan`] is pure: it cuts a message into parts, each one billable provider call, where [`Engine::plan`] says
//! who shares a call. [`Engine::send`] makes one call. The error says what is known about it; what becomes of the message
//! is decided elsewhere.

pub mod calls;

pub(crate) mod client;

mod part;

mod plan;

pub(crate) mod request;

mod tls;

pub mod http;

pub mod httptester;

pub mod kannel;

pub mod twilio;

pub mod vumi;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use shared::{
    config::{
        self, Config, LiveRate,
        backends::{OnUnknown, Texts},
    },
    lifecycle::Failure,
    message::{BackendName, Identity, OutgoingMessage},
    queue::Prefetch,
    text::Alphabet,
};

pub(crate) use self::part::Pair;
pub use self::part::Part;
use self::{calls::Calls, httptester::HttpTester};
use crate::{gate::Gate, lanes, rate};

/// Sends for one backend.
pub trait Engine: Send + Sync {
    /// Says who shares a call: a first part for each call, with the whole text, which [`Backend::plan`] then cuts. The
    /// same message always gives the same parts.
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>>;

    /// The alphabet in which the provider is given all of `text`, which decides where it is cut; or why it cannot be given it,
    /// so that no part is sent of a text that would be refused in its middle.
    fn alphabet(&self, text: &str) -> Result<Alphabet, SendError> {
        Ok(Alphabet::of(text))
    }

    /// Makes one provider call.
    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>>;
}

/// What a provider said to a part that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SendReceipt {
    /// The provider's own ids of it: one of the call, or one of each identity that it took, in their order.
    pub external_ids: Vec<String>,
    /// Those of its identities that it did not take.
    pub left_out: Option<LeftOut>,
}

/// The identities of a part that the provider did not take, though it took the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Who.
    pub identities: Vec<Identity>,
    /// Why.
    pub error: SendError,
}

impl SendReceipt {
    /// All was taken; the provider's id of it may be known.
    #[must_use]
    pub fn all(external_id: Option<String>) -> Self {
        Self { external_ids: external_id.into_iter().collect(), left_out: None }
    }
}

/// Why a part is not sent, or may not be. Each variant is a different certainty.
///
/// The text has no numbers or texts of people; `answer` is the beginning of what the provider said, which may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The provider says no to this message. Trying again is useless.
    #[error("rejected: {reason}")]
    Rejected {
        /// Why, without personal data.
        reason: String,
        /// The beginning of the provider's answer.
        answer: String,
    },
    /// This message was surely not taken, and may be tried again.
    #[error("not sent: {reason}")]
    NotSent {
        /// Why, without personal data.
        reason: String,
    },
    /// The provider takes nothing at the moment: not reached, or it says so itself.
    #[error("unavailable: {reason}")]
    Unavailable {
        /// Why, without personal data.
        reason: String,
        /// How long the provider asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The request was written and the answer is lost: the provider may have taken it.
    #[error("unknown whether it was sent: {reason}")]
    Unknown {
        /// Why, without personal data.
        reason: String,
    },
}

impl SendError {
    /// The class, for headers and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::NotSent { .. } => "not_sent",
            Self::Unavailable { .. } => "unavailable",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// The class that was written as `name`; one that is not known was surely not sent by this version.
    pub(crate) fn class_named(name: &str) -> &'static str {
        ["rejected", "unavailable", "unknown"].into_iter().find(|class| *class == name).unwrap_or("not_sent")
    }

    /// The reason for whoever looks at the dead letter, with what the provider said.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Rejected { reason, answer } if !answer.is_empty() => format!("{reason}: {answer}"),
            Self::Rejected { .. }
            | Self::NotSent { .. }
            | Self::Unavailable { .. }
            | Self::Unknown { .. } => self.reason().to_owned(),
        }
    }

    /// The same certainty for this reason.
    pub(crate) fn because(self, reason: String) -> Self {
        match self {
            Self::Rejected { answer, .. } => Self::Rejected { reason, answer },
            Self::NotSent { .. } => Self::NotSent { reason },
            Self::Unavailable { retry_after, .. } => Self::Unavailable { reason, retry_after },
            Self::Unknown { .. } => Self::Unknown { reason },
        }
    }

    /// The reason, without personal data.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Rejected { reason, .. }
            | Self::NotSent { reason }
            | Self::Unavailable { reason, .. }
            | Self::Unknown { reason } => reason,
        }
    }
}

/// A backend's way out, ready to send.
#[derive(Clone)]
pub struct Backend {
    /// The engine.
    pub engine: Arc<dyn Engine>,
    /// How many parts a second are sent at most.
    pub rate: Option<LiveRate>,
    /// How many calls run at a time.
    pub concurrency: u16,
    /// What becomes of a part of which nobody knows.
    pub on_unknown: OnUnknown,
    /// What becomes of a text before the engine has it.
    pub texts: Texts,
    /// Whether the provider takes anything.
    pub gate: Arc<Gate>,
}

impl Backend {
    /// How many deliveries are taken from its queue at a time.
    pub(crate) fn prefetch(&self) -> Prefetch {
        let limited = self.rate.as_ref().map(|rate| rate::prefetch(rate, self.concurrency));
        limited.unwrap_or_else(|| Prefetch::fixed(lanes::prefetch(self.concurrency)))
    }
}

/// The engines of all backends.
#[derive(Default)]
pub struct Engines {
    backends: BTreeMap<BackendName, Backend>,
    testers: BTreeMap<BackendName, Arc<HttpTester>>,
}

impl Engines {
    /// The engines of `config`.
    pub fn build(config: &Config, calls: &Calls) -> Result<Self, Failure> {
        let mut engines = Self::default();
        for (name, settings) in &config.backends {
            let reports = config.reports.get(name);
            let engine: Arc<dyn Engine> = match &settings.engine {
                config::Engine::HttpTester { keep } => engines.tester(name, *keep),
                config::Engine::Http(http) => Arc::new(http::HttpEngine::new(name, http, settings, calls)?),
                config::Engine::Kannel(kannel) => {
                    Arc::new(kannel::KannelEngine::new(name, kannel, settings, calls, reports)?)
                }
                config::Engine::Twilio(twilio) => {
                    Arc::new(twilio::TwilioEngine::new(name, twilio, settings, calls, reports)?)
                }
                config::Engine::Vumi(vumi) => Arc::new(vumi::VumiEngine::new(name, vumi, settings, calls)?),
            };
            let config::Backend { concurrency, on_unknown, texts, .. } = *settings;
            let rate = settings.rate.clone();
            let backend = Backend { engine, rate, concurrency, on_unknown, texts, gate: Arc::default() };
            engines.backends.insert(name.clone(), backend);
        }
        Ok(engines)
    }

    fn tester(&mut self, name: &BackendName, keep: usize) -> Arc<dyn Engine> {
        let tester = Arc::new(HttpTester::new(keep));
        self.testers.insert(name.clone(), Arc::clone(&tester));
        tester
    }

    /// The backend of this name.
    #[must_use]
    pub fn get(&self, name: &BackendName) -> Option<&Backend> {
        self.backends.get(name)
    }

    /// Each backend, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&BackendName, &Backend)> {
        self.backends.iter()
    }

    /// The backends that keep what they send, for their page.
    #[must_use]
    pub fn testers(&self) -> &BTreeMap<BackendName, Arc<HttpTester>> {
        &self.testers
    }
}

impl IntoIterator for Engines {
    type Item = (BackendName, Backend);
    type IntoIter = std::collections::btree_map::IntoIter<BackendName, Backend>;

    fn into_iter(self) -> Self::IntoIter {
        self.backends.into_iter()
    }
}
