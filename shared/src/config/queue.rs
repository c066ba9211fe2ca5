//! `[queue]`: where messages are kept, and how often and when they are tried again.

use std::{borrow::Cow, fmt, path::PathBuf, time::Duration};

use secrecy::SecretString;
use url::{Url, form_urlencoded};

use super::{
    AtLeastOne, Positive,
    reader::{Entry, Read, Section},
};

/// The longest delay that RabbitMQ keeps a message for.
const LONGEST_RUNG_MILLIS: u128 = u32::MAX as u128;

/// `[queue]`.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Which queue.
    pub url: QueueUrl,
    /// Every exchange's and queue's name starts with it.
    pub prefix: String,
    /// How long an unreachable broker is waited for at start.
    pub connect_timeout: Duration,
    /// How long a publish may take until its confirm, answer included.
    pub publish_timeout: Duration,
    /// The delays of the retry ladder; the last repeats.
    pub retry: Vec<Duration>,
    /// How often a message is tried before it is dead-lettered.
    pub max_attempts: u32,
    /// How old a message may become before it is dead-lettered.
    pub expire_after: Duration,
}

impl Queue {
    /// How long a confirm is waited for: the last twentieth of the time is for the answer.
    #[must_use]
    pub fn publish_wait(&self) -> Duration {
        self.publish_timeout.saturating_sub(self.publish_timeout / 20)
    }
}

/// Which queue: RabbitMQ, or a file in the process itself.
#[derive(Clone)]
pub enum QueueUrl {
    /// `amqp://` or `amqps://`.
    Amqp(SecretString),
    /// `embedded:FILE`.
    Embedded(PathBuf),
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amqp(_) => f.write_str("amqp://.."),
            Self::Embedded(file) => write!(f, "embedded:{}", file.display()),
        }
    }
}

/// Reads the queue of a program that has all services in it, or is only `service`.
pub(super) fn read(mut section: Section<'_>, service: Option<&str>) -> Option<Queue> {
    let url = section.required_with("url", |entry| {
        let url = QueueUrl::read(entry.clone())?;
        if let (QueueUrl::Embedded(_), Some(service)) = (&url, service) {
            entry.note(format!(
                "the embedded queue is for one process; run `gateway`, or name a broker for `{service}`: \
                 amqp://USER:PASSWORD@HOST:5672/%2f"
            ));
        }
        Some(url)
    });
    let prefix_origin = section.origin_of("prefix");
    let prefix = section.or("prefix", "sms".to_owned());
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !(1..=64).contains(&prefix.len()) || !prefix.chars().all(allowed) {
        section.problem_at(&prefix_origin, "prefix", "1 to 64 letters, digits, `_`, `-` or `.` are wanted");
    }
    let connect_timeout = section.or("connect_timeout", Positive(Duration::from_secs(30))).0;
    let publish_timeout = section.or("publish_timeout", Positive(Duration::from_secs(5))).0;
    let retry_origin = section.origin_of("retry");
    let ladder = [5, 30, 300, 1800].map(Duration::from_secs).map(Positive).to_vec();
    let retry: Vec<Duration> = section.or("retry", ladder).into_iter().map(|rung| rung.0).collect();
    if retry.iter().any(|rung| rung.as_millis() > LONGEST_RUNG_MILLIS) {
        let message = "a delay is above 49 days: 4294967295 ms is RabbitMQ's longest TTL";
        section.problem_at(&retry_origin, "retry", message);
    }
    if retry.is_empty() {
        section.problem_at(&retry_origin, "retry", r#"at least one delay is wanted, such as ["5s", "30s"]"#);
    }
    let max_attempts = section.or("max_attempts", AtLeastOne(12)).0;
    let expire_after = section.or("expire_after", Positive(Duration::from_secs(48 * 60 * 60))).0;
    section.finish();
    Some(Queue { url: url?, prefix, connect_timeout, publish_timeout, retry, max_attempts, expire_after })
}

impl Read for QueueUrl {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let text = String::read(entry.clone())?;
        let wanted = r#""amqp://USER:PASSWORD@HOST:5672/%2f" or "embedded:gateway.db" is wanted"#;
        if let Some(file) = text.strip_prefix("embedded:").filter(|file| !file.is_empty()) {
            return Some(Self::Embedded(PathBuf::from(file)));
        }
        let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "amqp" | "amqps"));
        let Some(url) = url.filter(Url::has_host) else { return entry.problem(wanted) };
        match amqp_problem(&url) {
            Some(problem) => entry.problem(problem),
            None => Some(Self::Amqp(text.into())),
        }
    }
}

/// What a URL has that no AMQP client understands. Its text, which may be a secret, is never repeated.
fn amqp_problem(url: &Url) -> Option<&'static str> {
    let is_known = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| match name.as_ref() {
        "heartbeat" | "channel_max" => value.parse::<u16>().is_ok(),
        "frame_max" => value.parse::<u32>().is_ok(),
        "connection_timeout" => value.parse::<u64>().is_ok(),
        _ => false,
    };
    let is_text = |part: &str| {
        let mut decoded = form_urlencoded::parse(part.as_bytes());
        !decoded.any(|(name, value)| (name + value).contains(char::REPLACEMENT_CHARACTER))
    };
    if !url.query_pairs().all(|pair| is_known(&pair)) {
        return Some(
            "after `?` heartbeat, channel_max, frame_max and connection_timeout are known, each a number",
        );
    }
    if url.fragment().is_some() {
        return Some("a `#` begins nothing here; within a password it is written %23");
    }
    if url.domain().is_none() {
        return Some("an IPv6 address is not understood here; write the name of the host");
    }
    let parts = [url.username(), url.password().unwrap_or_default(), url.path()];
    (!parts.into_iter().all(is_text)).then_some("what the `%..` stand for is not UTF-8")
}
