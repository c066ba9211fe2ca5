//! How far a message is, over all its attempts: what is sent, what is refused for good, what is to be tried again.
//!
//! It travels in headers. Each identity of a part is named there by its place and the part's number, never by itself: 200
//! long ones would not fit into a frame. An identity is sent one part after the other, and none after one that is not
//! sent: half of a text is better than a text with a hole. So one name an identity tells how far it is, however many
//! parts there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    config::backends::OnUnknown,
    queue::{Disposition, Headers, Message, header},
};

use crate::engines::{Pair, Part, SendError};

/// How far a message is.
#[derive(Default)]
pub(super) struct Progress {
    /// The last part that each identity has.
    sent: BTreeSet<Key>,
    /// The part with which an identity's text ended for good, and its class.
    failed: BTreeMap<Key, String>,
    failed_reason: String,
    /// What failed in this attempt and is to be tried in the next.
    tried: Tried,
    /// In how many parts the text is sent; 0 when nobody has said.
    parts: u16,
    /// Whether anything came of this attempt.
    news: bool,
}

/// A part for one identity. Written `3/1`, it is the first part for the fourth identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Key {
    place: usize,
    number: u16,
}

/// The parts that one attempt has tried in vain. It may take several deliveries to go through all parts.
#[derive(Default, Serialize, Deserialize)]
struct Tried {
    parts: BTreeSet<Key>,
    /// The class and reason of the last.
    class: String,
    reason: String,
}

impl Progress {
    /// Where earlier attempts have left off.
    pub(super) fn of(queued: &Message) -> Self {
        fn read<T: serde::de::DeserializeOwned + Default>(queued: &Message, name: &str) -> T {
            queued.headers.get(name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        }
        Self {
            sent: read(queued, header::SENT),
            failed: read(queued, header::FAILED),
            failed_reason: queued.headers.get(header::FAILED_REASON).cloned().unwrap_or_default(),
            tried: read(queued, header::TRIED),
            parts: read(queued, header::PARTS),
            news: false,
        }
    }

    /// Notes that the text goes out in these parts, unless some of it is sent that was cut otherwise: then nobody can say
    /// what is left.
    pub(super) fn goes_on_with(&mut self, parts: &[Part<'_>]) -> Result<(), SendError> {
        let (then, now) = (self.parts, parts.iter().map(|part| part.number).max().unwrap_or(1));
        if !self.sent.is_empty() && then != 0 && then != now {
            let reason = format!(
                "some of the text was sent when it had {then} parts, and now it has {now}: replay it with \
                 `split`, `max_parts` and `substitute` as they were"
            );
            return Err(SendError::Unknown { reason });
        }
        self.parts = now;
        Ok(())
    }

    /// Those of the part's identities that need it in this attempt: not those that have it, nor those whose text ended before
    /// it or with it.
    pub(super) fn left_of<'m>(&self, part: &Part<'m>) -> Option<Part<'m>> {
        part.divide(|pair| self.has(Key::of(pair))).1
    }

    fn has(&self, key: Key) -> bool {
        let ended = [
            self.sent.range(key..).next(),
            self.failed.range(..=key).next_back().map(|(failed, _)| failed),
            self.tried.parts.range(..=key).next_back(),
        ];
        ended.into_iter().flatten().any(|end| end.place == key.place)
    }

    /// Notes that a part is sent.
    pub(super) fn sent(&mut self, part: &Part<'_>) {
        self.news = true;
        for key in keys(part) {
            self.sent.remove(&Key { number: key.number.saturating_sub(1), ..key });
            self.sent.insert(key);
        }
    }

    /// Notes that a part is not sent.
    pub(super) fn fail(&mut self, part: &Part<'_>, error: &SendError, on_unknown: OnUnknown) {
        self.news = true;
        let again = match error {
            SendError::NotSent { .. } | SendError::Unavailable { .. } => true,
            SendError::Unknown { .. } => on_unknown == OnUnknown::Resend,
            SendError::Rejected { .. } => false,
        };
        let keys = keys(part);
        if again {
            let mut parts = std::mem::take(&mut self.tried.parts);
            parts.extend(keys);
            self.tried = Tried { parts, class: error.class().to_owned(), reason: error.told() };
        } else {
            self.failed.extend(keys.map(|key| (key, error.class().to_owned())));
            self.failed_reason = error.told();
        }
    }

    /// True when this attempt has come to know something about a part.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// How far it is, for whoever goes on with this attempt.
    pub(super) fn headers(&self) -> Headers {
        let mut headers = self.lasting();
        if !self.tried.parts.is_empty() {
            headers.insert(header::TRIED.to_owned(), json!(self.tried).to_string());
        }
        headers
    }

    /// How far it is, for the next attempt.
    fn lasting(&self) -> Headers {
        let mut headers = Headers::new();
        if !self.sent.is_empty() {
            headers.insert(header::SENT.to_owned(), json!(self.sent).to_string());
            headers.insert(header::PARTS.to_owned(), self.parts.to_string());
        }
        if !self.failed.is_empty() {
            headers.insert(header::FAILED.to_owned(), json!(self.failed).to_string());
            headers.insert(header::FAILED_REASON.to_owned(), self.failed_reason.clone());
        }
        headers
    }

    /// What becomes of the message when all parts were gone through.
    pub(super) fn disposition(self) -> Disposition {
        if self.tried.parts.is_empty() && self.failed.is_empty() {
            return Disposition::Done;
        }
        let headers = self.lasting();
        if !self.tried.parts.is_empty() {
            let class = SendError::class_named(&self.tried.class);
            return Disposition::Retry { class, reason: self.tried.reason, headers };
        }
        let unknown = self.failed.values().any(|class| class == "unknown");
        // What may have been sent is what a person has to judge.
        let class = if unknown { "unknown" } else { "rejected" };
        Disposition::DeadLetter { class, reason: self.failed_reason, headers }
    }
}

/// What names a part for each of its identities.
fn keys(part: &Part<'_>) -> impl Iterator<Item = Key> {
    part.pairs().map(|pair| Key::of(&pair))
}

impl Key {
    fn of(pair: &Pair<'_>) -> Self {
        Self { place: pair.place, number: pair.number }
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{}/{}", key.place, key.number)
    }
}

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(written: String) -> Result<Self, Self::Error> {
        let read = |(place, number): (&str, &str)| {
            Some(Self { place: place.parse().ok()?, number: number.parse().ok()? })
        };
        written.split_once('/').and_then(read).ok_or("a place and a number are wanted, such as 3/1")
    }
}
