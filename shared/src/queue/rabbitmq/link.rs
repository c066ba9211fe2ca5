//! What all roles share: how to reach the broker, what to do when that fails, and what health pages tell of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    types::{LongString, ShortString},
};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    declaration::look,
    mismatch::{self, Mismatch},
    topology::Topology,
};
use crate::{
    config::Config,
    lifecycle::{Exit, Failure, Lifecycle},
    queue::Check,
    telemetry::Chain,
};

/// A connection is given up when nothing was heard for twice this time.
const HEARTBEAT_SECONDS: &str = "10";

/// How long a connection, its channels and the topology may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a connection may take to say goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The pause after the first failure; it doubles with each.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Where the pause stops to grow. With the jitter it is at most twice as long, so that a process is ready 3 s after its broker.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After a session of this length the pauses start short again.
const LONG_SESSION: Duration = Duration::from_secs(10);

/// Reaches one broker, for every role in the process.
pub(super) struct Link {
    url: String,
    address: String,
    pub(super) topology: Topology,
    /// Tells this process from the others.
    pub(super) replica: Uuid,
    pub(super) publish_wait: Duration,
    connect_timeout: Duration,
    /// How long messages may wait where nobody consumes.
    pub(super) stuck_after: Duration,
    started: Instant,
    connected_once: AtomicBool,
    checks: Mutex<BTreeMap<&'static str, Check>>,
    /// The consumers' connection, for looking at queues: one that publishes is not read while the broker has an alarm.
    connection: Mutex<Option<Arc<Connection>>>,
    pub(super) lifecycle: Lifecycle,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    declaring: tokio::sync::Mutex<()>,
}

/// Why a session with the broker ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// lapin's error.
    #[error(transparent)]
    Lapin(#[from] lapin::Error),
    /// The session could not be opened in time.
    #[error("it does not answer in time")]
    OpenTimeout,
    /// The broker ended the consumer, most often because its queue was deleted.
    #[error("the broker cancelled the consumer of {0}")]
    Cancelled(String),
    /// A message was refused, which only an operator's tool takes for an end.
    #[error("it refused a message: a queue is full or has lost its majority")]
    NotTaken,
    /// Nothing goes on, which only an operator's tool takes for an end.
    #[error("it takes no messages: it is short of memory or disk")]
    Blocked,
    /// The connection was found dead.
    #[error("the connection was lost")]
    Lost,
    /// Messages wait where nobody consumes until a migration is finished.
    #[error("a migration of the queue {0} was broken off, and its messages wait in {0}.migrating")]
    Unfinished(String),
}

/// What a [`SessionError`] means at start.
enum Verdict {
    /// The broker is there and says no: waiting does not help.
    Refused(String),
    /// It may come.
    Unreachable,
}

/// The pauses between the sessions of one role: growing, jittered, without end.
pub(super) struct Pauses {
    role: &'static str,
    next: ExponentialBackoff,
    since: Instant,
}

impl Pauses {
    pub(super) fn new(role: &'static str) -> Self {
        Self { role, next: pauses(), since: Instant::now() }
    }

    /// Notes why the session ended and waits. False when there shall be no other session.
    pub(super) async fn after(&mut self, error: &SessionError, link: &Link) -> bool {
        if link.closing.is_cancelled() {
            return false;
        }
        link.note(self.role, false, Chain(error).to_string());
        let at_start =
            !link.connected_once.load(Ordering::Relaxed) || matches!(error, SessionError::Unfinished(_));
        if at_start && link.give_up(error) {
            return false;
        }
        tracing::warn!(role = self.role, broker = %link.address, error = %Chain(error), "no session with the broker");
        if self.since.elapsed() > LONG_SESSION {
            self.next = pauses();
        }
        tokio::select! {
            () = tokio::time::sleep(self.next.next().unwrap_or(LONGEST_PAUSE)) => {}
            () = link.closing.cancelled() => return false,
        }
        self.since = Instant::now();
        true
    }
}

fn pauses() -> ExponentialBackoff {
    let builder = ExponentialBuilder::default().with_min_delay(SHORTEST_PAUSE).with_max_delay(LONGEST_PAUSE);
    builder.with_jitter().without_max_times().build()
}

impl Link {
    pub(super) fn new(url: &SecretString, config: &Config, lifecycle: &Lifecycle) -> Self {
        let (url, address) = with_heartbeat(url.expose_secret());
        Self {
            url,
            address,
            topology: Topology::new(config),
            replica: Uuid::new_v4(),
            publish_wait: config.queue.publish_wait(),
            connect_timeout: config.queue.connect_timeout,
            stuck_after: config.dispatcher.stuck_after,
            started: Instant::now(),
            connected_once: AtomicBool::new(false),
            checks: Mutex::default(),
            connection: Mutex::default(),
            lifecycle: lifecycle.clone(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            declaring: tokio::sync::Mutex::default(),
        }
    }

    /// lapin's settings for a connection with a name that an operator recognises on RabbitMQ's own page.
    pub(super) fn properties(role: &str) -> ConnectionProperties {
        let name = format!("{} {role}", program().as_deref().unwrap_or("gateway"));
        ConnectionProperties::default().with_connection_name(LongString::from(name))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Bounds the opening of a session: by its own timeout, by what is left of `connect_timeout`, and by the end.
    pub(super) async fn open<T>(
        &self,
        opening: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        let first = !self.connected_once.load(Ordering::Relaxed);
        let left = self.connect_timeout.saturating_sub(self.started.elapsed());
        let timeout = if first { OPEN_TIMEOUT.min(left) } else { OPEN_TIMEOUT };
        tokio::select! {
            opened = tokio::time::timeout(timeout, opening) => opened.unwrap_or(Err(SessionError::OpenTimeout)),
            () = self.closing.cancelled() => Err(SessionError::Lost),
        }
    }

    /// Declares the topology, one role at a time: the broker takes longer for two that declare the same beside each other. Each
    /// does, on its own connection: in a cluster another node may not know yet what one has declared.
    pub(super) async fn declare(&self, connection: &Connection) -> lapin::Result<()> {
        let _turn = self.declaring.lock().await;
        self.topology.declare(connection).await
    }

    /// Closes what may be dead already. After an error too: what is not acknowledged goes back only with the connection.
    pub(super) async fn close_connection(connection: &Connection) {
        let closing = connection.close(200, "bye".into());
        if let Ok(Err(error)) = tokio::time::timeout(CLOSE_TIMEOUT, closing).await {
            tracing::debug!(error = %Chain(&error), "the connection was closed already");
        }
    }

    /// Notes that a role is ready.
    pub(super) fn ready(&self, role: &'static str, detail: String) {
        self.connected_once.store(true, Ordering::Relaxed);
        tracing::info!(role, broker = %self.address, "{detail}");
        self.note(role, true, detail);
    }

    /// Notes what a health page tells of a role.
    pub(super) fn note(&self, role: &'static str, ok: bool, detail: String) {
        let check = Check { name: role.to_owned(), ok, detail };
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).insert(role, check);
    }

    pub(super) fn checks(&self) -> Vec<Check> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Notes the connection through which queues can be looked at, or that there is none.
    pub(super) fn look_through(&self, connection: Option<Arc<Connection>>) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    /// How many messages are ready in the queue; nothing when it cannot be asked.
    pub(super) async fn depth(&self, queue: ShortString) -> Option<u32> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let looked = tokio::time::timeout(OPEN_TIMEOUT, look(&connection, queue)).await;
        Some(looked.ok()?.ok()??.messages)
    }

    /// Ends all roles once they have nothing left to do.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// At start only: decides whether to end the process, and does.
    fn give_up(&self, error: &SessionError) -> bool {
        let told = Chain(error);
        let message = match verdict(error) {
            Verdict::Refused(advice) => refusal(&self.address, error, &advice),
            Verdict::Unreachable if self.started.elapsed() < self.connect_timeout => return false,
            Verdict::Unreachable => format!(
                "the broker at {} cannot be reached for {}: {told}; start it, or correct queue.url",
                self.address,
                humantime::format_duration(self.connect_timeout)
            ),
        };
        self.lifecycle.fail(Failure::new(Exit::Unavailable, message));
        true
    }
}

/// What an operator's tool tells when the session that it had is over.
pub(super) fn interruption(address: &str, error: &SessionError) -> Failure {
    let first = match error {
        SessionError::Blocked => "free memory or disk on the broker, and ",
        SessionError::NotTaken => "see that a majority of its nodes runs and that no queue is full, and ",
        SessionError::Lapin(_)
        | SessionError::OpenTimeout
        | SessionError::Cancelled(_)
        | SessionError::Lost
        | SessionError::Unfinished(_) => "",
    };
    told(address, error, "does not go on", &format!("{first}run this again"))
}

/// What an operator's tool tells when it cannot connect, which it does not wait out.
pub(super) fn failure(address: &str, error: &SessionError) -> Failure {
    told(address, error, "cannot be used", "start it, or correct queue.url")
}

/// A refusal has its own advice; for everything else it is said what the broker does, and `advice`.
fn told(address: &str, error: &SessionError, does: &str, advice: &str) -> Failure {
    let message = match verdict(error) {
        Verdict::Refused(advice) => refusal(address, error, &advice),
        Verdict::Unreachable => format!("the broker at {address} {does}: {}; {advice}", Chain(error)),
    };
    Failure::new(Exit::Unavailable, message)
}

fn refusal(address: &str, error: &SessionError, advice: &str) -> String {
    format!("the broker at {address} refuses: {}; {advice}", Chain(error))
}

/// The reply code and text with which the broker has refused.
pub(super) fn refused(error: &lapin::Error) -> Option<(u16, &str)> {
    if let ErrorKind::ProtocolError(protocol) = error.kind() {
        Some((protocol.get_id(), protocol.get_message().as_str()))
    } else {
        None
    }
}

/// The name of this program.
fn program() -> Option<String> {
    std::env::current_exe().ok()?.file_name()?.to_str().map(str::to_owned)
}

/// The name of the program that has the tools.
fn tool() -> &'static str {
    if program().as_deref() == Some("gateway") { "gateway" } else { "dispatcher" }
}

fn verdict(error: &SessionError) -> Verdict {
    let error = match error {
        SessionError::Lapin(error) => error,
        SessionError::Unfinished(queue) => return Verdict::Refused(mismatch::finish(tool(), queue)),
        SessionError::OpenTimeout
        | SessionError::Cancelled(_)
        | SessionError::NotTaken
        | SessionError::Blocked
        | SessionError::Lost => return Verdict::Unreachable,
    };
    let Some((code, told)) = refused(error) else {
        return Verdict::Unreachable;
    };
    let advice = match code {
        403 => "correct the user and password in queue.url, and what the user may do",
        530 => "correct the virtual host in queue.url (`/` is written %2f), or create it",
        406 => {
            return Verdict::Refused(Mismatch::read(told).map_or_else(
                || "correct what differs, or write another queue.prefix".to_owned(),
                |mismatch| mismatch.advice(tool()),
            ));
        }
        _ => return Verdict::Unreachable,
    };
    Verdict::Refused(advice.to_owned())
}

/// The URL with our heartbeat unless it has one, and the address for logs, without user and password.
pub(super) fn with_heartbeat(written: &str) -> (String, String) {
    let Ok(mut url) = url::Url::parse(written) else {
        return (written.to_owned(), "queue.url".to_owned());
    };
    if !url.query_pairs().any(|(name, _)| name == "heartbeat") {
        url.query_pairs_mut().append_pair("heartbeat", HEARTBEAT_SECONDS);
    }
    let port = url.port().unwrap_or(if url.scheme() == "amqps" { 5671 } else { 5672 });
    let address = format!("{}:{port}{}", url.host_str().unwrap_or_default(), url.path());
    (url.into(), address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_is_ours_unless_it_is_written_and_addresses_have_no_password() {
        let (url, address) = with_heartbeat("amqp://user:s3cret@rabbit/%2f");
        assert_eq!(url, "amqp://user:s3cret@rabbit/%2f?heartbeat=10");
        assert_eq!(address, "rabbit:5672/%2f");
        assert_eq!(with_heartbeat("amqp://h/v?heartbeat=3").0, "amqp://h/v?heartbeat=3");
    }
}
