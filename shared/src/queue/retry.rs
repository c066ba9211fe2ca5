//! What becomes of a message that was not done with: the rung of the ladder, or the dead letters. Pure.

use std::time::Duration;

use serde_json::json;

use super::{Destination, Disposition, Headers, Message, header};
use crate::{clock::UnixMillis, config};

/// How much of a reason is kept, in characters. All headers of a message must fit into one frame of 128 KiB.
const MAX_REASON: usize = 500;

/// How many of the last attempts are kept.
const MAX_HISTORY: usize = 20;

/// The class of [`Disposition::Expire`].
pub(super) const EXPIRED: &str = "expired";

/// The retry ladder: `queue.retry`, `queue.max_attempts` and `queue.expire_after`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The delays; the last repeats. Never empty.
    pub ladder: Vec<Duration>,
    /// How often a message is tried in all.
    pub max_attempts: u32,
    /// How old a message may be that is tried.
    pub expire_after: Duration,
}

/// What the queue has to do.
pub(super) enum Settlement {
    /// Take the message away.
    Done,
    /// Nothing.
    Leave,
    /// Put it there, as it is here, and then take the delivered one away.
    Move(Message, Destination),
}

impl RetryPolicy {
    /// The policy of `settings`.
    #[must_use]
    pub fn new(settings: &config::Queue) -> Self {
        let config::Queue { retry, max_attempts, expire_after, .. } = settings;
        Self { ladder: retry.clone(), max_attempts: *max_attempts, expire_after: *expire_after }
    }

    /// Whether `message`, accepted then, is too old to be tried. One that a person had tried again has its time anew, but for
    /// the time that its sender set.
    #[must_use]
    pub fn is_expired(&self, message: &Message, accepted_at: UnixMillis, now: UnixMillis) -> bool {
        if is_late(message, now) {
            return true;
        }
        let begun = message.replayed_at().map_or(accepted_at, |replayed| replayed.max(accepted_at));
        now.since(begun) > self.expire_after
    }

    /// What becomes of `message`.
    pub(super) fn apply(&self, message: Message, disposition: Disposition, now: UnixMillis) -> Settlement {
        match disposition {
            Disposition::Done => Settlement::Done,
            Disposition::Leave => Settlement::Leave,
            Disposition::Continue { headers } => {
                let mut message = message;
                message.headers.extend(headers);
                Settlement::Move(message, Destination::Back)
            }
            Disposition::Retry { class, reason, headers } => {
                let message = tried(message, class, &reason, headers, now);
                let attempts = message.attempts();
                if attempts < self.max_attempts {
                    return Settlement::Move(message, Destination::Retry(self.delay(attempts)));
                }
                let reason = format!("given up after {attempts} attempts: {reason}");
                Settlement::Move(dead(message, class, &reason), Destination::Dead)
            }
            Disposition::Expire => {
                let limit = humantime::format_duration(self.expire_after);
                let reason = if is_late(&message, now) {
                    "the time that its sender set, expires_at, has passed: not tried any more".to_owned()
                } else {
                    format!("older than queue.expire_after, {limit}: not tried any more")
                };
                Settlement::Move(dead(message, EXPIRED, &reason), Destination::Dead)
            }
            Disposition::DeadLetter { class, reason, headers } => {
                let message = tried(message, class, &reason, headers, now);
                Settlement::Move(dead(message, class, &reason), Destination::Dead)
            }
        }
    }

    /// The delay after the `attempt`th attempt, counted from 1.
    fn delay(&self, attempt: u32) -> Duration {
        let rung = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        self.ladder.get(rung).or(self.ladder.last()).copied().unwrap_or(Duration::from_secs(30))
    }
}

/// Whether the time that the sender set has passed.
fn is_late(message: &Message, now: UnixMillis) -> bool {
    message.expires_at().is_some_and(|expires_at| now >= expires_at)
}

/// Notes an attempt in the headers.
fn tried(mut message: Message, class: &str, reason: &str, headers: Headers, now: UnixMillis) -> Message {
    let attempts = message.attempts().saturating_add(1);
    let history = message.headers.get(header::HISTORY).and_then(|text| serde_json::from_str(text).ok());
    let mut history: Vec<serde_json::Value> = history.unwrap_or_default();
    history.push(json!({ "at": now, "class": class, "reason": cut(reason) }));
    history.drain(..history.len().saturating_sub(MAX_HISTORY));
    // What belongs to the attempt ends with it.
    message.headers.remove(header::TRIED);
    message.headers.remove(header::REFUSED);
    message.headers.extend(headers);
    message.headers.insert(header::ATTEMPTS.to_owned(), attempts.to_string());
    message.headers.insert(header::HISTORY.to_owned(), serde_json::Value::from(history).to_string());
    message
}

fn dead(mut message: Message, class: &str, reason: &str) -> Message {
    message.headers.insert(header::CLASS.to_owned(), class.to_owned());
    message.headers.insert(header::REASON.to_owned(), cut(reason).to_owned());
    message
}

/// The beginning of a reason: one app's or one provider's long answer must not make a message that cannot be moved.
fn cut(reason: &str) -> &str {
    reason.char_indices().nth(MAX_REASON).map_or(reason, |(at, _)| &reason[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        let ladder = [5, 30].map(Duration::from_secs).to_vec();
        RetryPolicy { ladder, max_attempts: 4, expire_after: Duration::from_secs(60) }
    }

    fn message() -> Message {
        Message {
            id: "1".to_owned(),
            kind: "outgoing.v1".into(),
            route: "outgoing.b".to_owned(),
            body: "{}".into(),
            published_at: UnixMillis(0),
            headers: Headers::new(),
        }
    }

    fn retry() -> Disposition {
        Disposition::Retry { class: "not_sent", reason: "500".to_owned(), headers: Headers::new() }
    }

    fn moved(
        policy: &RetryPolicy,
        message: Message,
        disposition: Disposition,
        now: UnixMillis,
    ) -> (Message, Destination) {
        let Settlement::Move(message, destination) = policy.apply(message, disposition, now) else {
            panic!()
        };
        (message, destination)
    }

    #[test]
    fn what_is_gone_on_with_counts_no_attempt_and_its_notes_end_with_the_attempt() {
        let headers =
            ["sent", header::TRIED, header::REFUSED].map(|name| (name.to_owned(), "[0]".to_owned()));
        let headers = Headers::from(headers);
        let (message, destination) =
            moved(&policy(), message(), Disposition::Continue { headers }, UnixMillis(0));
        assert_eq!((message.attempts(), destination), (0, Destination::Back));
        assert_eq!((message.headers["sent"].as_str(), message.headers.len()), ("[0]", 3));
        let (message, _) = moved(&policy(), message, retry(), UnixMillis(0));
        assert_eq!(message.headers.keys().collect::<Vec<_>>(), ["attempts", "history", "sent"]);
    }

    #[test]
    fn headers_stay_far_below_a_frame_whatever_is_said_and_however_often() {
        let policy = RetryPolicy { max_attempts: 10_000, ..policy() };
        let mut message = message();
        for _ in 0..100 {
            let reason = "\u{1200}".repeat(100_000);
            let disposition = Disposition::Retry { class: "not_sent", reason, headers: Headers::new() };
            message = moved(&policy, message, disposition, UnixMillis(u64::MAX)).0;
        }
        let size: usize = message.headers.values().map(String::len).sum();
        assert!(size < 64 * 1024, "{size}");
        assert_eq!(message.attempts(), 100);
    }

    #[test]
    fn the_ladder_is_climbed_its_last_rung_repeats_and_it_ends_dead() {
        let mut message = message();
        let mut way = Vec::new();
        loop {
            let (moved, destination) = moved(&policy(), message, retry(), UnixMillis(7));
            way.push(destination);
            message = moved;
            if destination == Destination::Dead {
                break;
            }
        }
        let rung = |seconds| Destination::Retry(Duration::from_secs(seconds));
        assert_eq!(way, [rung(5), rung(30), rung(30), Destination::Dead]);
        assert_eq!(message.headers[header::REASON], "given up after 4 attempts: 500");
        assert_eq!(message.headers[header::CLASS], "not_sent");
        let history: Vec<serde_json::Value> =
            serde_json::from_str(&message.headers[header::HISTORY]).unwrap();
        assert_eq!(history, vec![json!({"at": 7, "class": "not_sent", "reason": "500"}); 4]);
        assert_eq!((message.body, message.route.as_str()), ("{}".into(), "outgoing.b"));
    }

    #[test]
    fn done_moves_nothing_and_a_dead_letter_is_dead_at_once() {
        assert!(matches!(policy().apply(message(), Disposition::Done, UnixMillis(0)), Settlement::Done));
        assert!(matches!(policy().apply(message(), Disposition::Leave, UnixMillis(0)), Settlement::Leave));
        let disposition =
            Disposition::DeadLetter { class: "rejected", reason: "400".to_owned(), headers: Headers::new() };
        let (moved, destination) = moved(&policy(), message(), disposition, UnixMillis(0));
        assert_eq!(destination, Destination::Dead);
        assert_eq!(moved.headers[header::REASON], "400");
        assert_eq!(moved.attempts(), 1);
    }

    #[test]
    fn a_message_expires_by_its_age_and_one_that_is_replayed_has_its_time_anew() {
        let expired =
            |message: &Message, now| policy().is_expired(message, UnixMillis(1_000), UnixMillis(now));
        let mut message = message();
        assert!(!expired(&message, 61_000) && expired(&message, 61_001));
        // A clock that was set back makes nothing old.
        assert!(!expired(&message, 0));
        message.headers.insert(header::REPLAYED_AT.to_owned(), "61001".to_owned());
        assert!(!expired(&message, 121_001) && expired(&message, 121_002));

        let (moved, destination) = moved(&policy(), message, Disposition::Expire, UnixMillis(0));
        assert_eq!((destination, moved.attempts()), (Destination::Dead, 0));
        assert_eq!(moved.headers[header::CLASS], "expired");
        assert_eq!(moved.headers[header::REASON], "older than queue.expire_after, 1m: not tried any more");
    }

    #[test]
    fn the_time_that_the_sender_set_holds_for_a_replay_too() {
        let mut message = message();
        message.headers.insert(header::EXPIRES_AT.to_owned(), "5000".to_owned());
        let expired =
            |message: &Message, now| policy().is_expired(message, UnixMillis(1_000), UnixMillis(now));
        assert!(!expired(&message, 4_999) && expired(&message, 5_000));
        message.headers.insert(header::REPLAYED_AT.to_owned(), "5000".to_owned());
        assert!(expired(&message, 5_000));

        let (moved, destination) = moved(&policy(), message, Disposition::Expire, UnixMillis(5_000));
        assert_eq!((destination, moved.headers[header::CLASS].as_str()), (Destination::Dead, "expired"));
        assert!(moved.headers[header::REASON].starts_with("the time that its sender set, expires_at"));
    }

    #[test]
    fn a_damaged_history_is_begun_anew() {
        let mut damaged = message();
        damaged.headers.insert(header::HISTORY.to_owned(), "{".to_owned());
        let (moved, _) = moved(&policy(), damaged, retry(), UnixMillis(0));
        assert!(moved.headers[header::HISTORY].starts_with("[{"));
    }
}
