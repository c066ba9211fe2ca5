//! [`Message`]: what lies in a queue, and the headers that it has.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use bytes::Bytes;

use super::Route;
use crate::{
    clock::{self, UnixMillis},
    envelope::{self, Payload},
    trace,
};

/// A message as the queue sees it: bytes with properties.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// The id, the same on every copy. Empty only on what others published.
    pub id: String,
    /// The payload's type and version.
    pub kind: Cow<'static, str>,
    /// The routing key; kept on the whole way, so that a replay finds its queue.
    pub route: String,
    /// The envelope. Never changed by a move.
    pub body: Bytes,
    /// When it was made for the queue.
    pub published_at: UnixMillis,
    /// Our headers.
    pub headers: Headers,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("id", &self.id).field("route", &self.route).finish_non_exhaustive()
    }
}

/// Our headers, all texts. Those that a broker adds (`x-death` and the like) are never among them.
pub type Headers = BTreeMap<String, String>;

/// The names of our headers.
pub mod header {
    /// How often the message was tried.
    pub const ATTEMPTS: &str = "attempts";
    /// Why each attempt failed: a JSON array.
    pub const HISTORY: &str = "history";
    /// Which (identity, part) pairs are sent already: a JSON array.
    pub const SENT: &str = "sent";
    /// In how many parts the text went out of which these are: their numbers say nothing when it is cut otherwise.
    pub const PARTS: &str = "parts";
    /// The parts that were tried in an attempt that goes on in another delivery, and why the last failed: a JSON object.
    pub const TRIED: &str = "tried";
    /// How often the provider refused this message where it took others, and when it last did: a JSON array.
    pub const REFUSED: &str = "refused";
    /// The class of a dead letter.
    pub const CLASS: &str = "class";
    /// The reason of a dead letter, for people.
    pub const REASON: &str = "reason";
    /// The parts that were refused for good, with the class of each: a JSON object.
    pub const FAILED: &str = "failed";
    /// The reason of the last of them, with the beginning of what the provider said.
    pub const FAILED_REASON: &str = "failed-reason";
    /// How often a person had the dead letter tried again.
    pub const REPLAYS: &str = "replays";
    /// When that was last, in milliseconds since 1970.
    pub const REPLAYED_AT: &str = "replayed-at";
    /// The time, in milliseconds since 1970, after which the message is not to be sent any more.
    pub const EXPIRES_AT: &str = "expires-at";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
}

/// The headers of a message that a request with this `traceparent` led to, or another message: in the same trace.
#[must_use]
pub fn traced(traceparent: Option<&str>) -> Headers {
    Headers::from([(header::TRACEPARENT.to_owned(), trace::child_of(traceparent))])
}

impl Message {
    /// A message that carries `payload`.
    #[must_use]
    pub fn new<P: Payload>(route: &Route, payload: &P, headers: Headers) -> Self {
        Self {
            id: payload.id().to_string(),
            kind: P::TYPE.into(),
            route: route.name(),
            body: envelope::encode(payload),
            published_at: clock::now(),
            headers,
        }
    }

    /// How often the message was tried before.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.headers.get(header::ATTEMPTS).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// After what time whoever submitted it does not want it to be sent any more, if they said.
    #[must_use]
    pub fn expires_at(&self) -> Option<UnixMillis> {
        self.headers.get(header::EXPIRES_AT)?.parse().ok().map(UnixMillis)
    }

    /// When a person last had it tried again, if ever.
    #[must_use]
    pub fn replayed_at(&self) -> Option<UnixMillis> {
        self.headers.get(header::REPLAYED_AT)?.parse().ok().map(UnixMillis)
    }

    /// The headers of a message that this one leads to.
    #[must_use]
    pub fn traced(&self) -> Headers {
        traced(self.headers.get(header::TRACEPARENT).map(String::as_str))
    }
}
