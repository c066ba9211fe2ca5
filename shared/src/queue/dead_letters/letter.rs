//! What one letter tells, and how it becomes a message again. Pure.

use serde::Deserialize;

use super::DeadQueue;
use crate::{
    clock::UnixMillis,
    queue::{Message, header},
};

/// A message that lies where nobody consumes.
#[derive(Debug)]
pub struct Letter {
    /// The message as it lies there.
    pub message: Message,
    /// Since when, as far as that is known.
    pub since: UnixMillis,
    dead_queue: DeadQueue,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Attempt {
    /// When it failed.
    pub at: UnixMillis,
    /// The class of the failure.
    pub class: String,
    /// Why, for people.
    pub reason: String,
}

impl Letter {
    /// A letter that lies in `dead_queue` since then; where the queue does not know, its own headers may.
    #[must_use]
    pub fn new(dead_queue: DeadQueue, message: Message, since: Option<UnixMillis>) -> Self {
        let last = || history(&message).last().map(|attempt| attempt.at);
        let since = since.or_else(last).unwrap_or(message.published_at);
        Self { message, since, dead_queue }
    }

    /// The class of what went wrong.
    #[must_use]
    pub fn class(&self) -> &str {
        match (self.dead_queue, self.header(header::CLASS)) {
            (DeadQueue::Unrouted, _) => "unrouted",
            (DeadQueue::Dead, Some(class)) => class,
            (DeadQueue::Dead, None) => "other",
        }
    }

    /// What went wrong, for people.
    #[must_use]
    pub fn reason(&self) -> String {
        match (self.dead_queue, self.header(header::REASON)) {
            (DeadQueue::Unrouted, _) => format!("no queue is bound for {}", self.message.route),
            (DeadQueue::Dead, Some(reason)) => reason.to_owned(),
            (DeadQueue::Dead, None) => "none is given: another program has put it here".to_owned(),
        }
    }

    /// The backend of its route.
    #[must_use]
    pub fn backend(&self) -> &str {
        self.message.route.split_once('.').map_or("", |(_, backend)| backend)
    }

    /// How often it was replayed.
    #[must_use]
    pub fn replays(&self) -> u32 {
        replays(&self.message)
    }

    /// How each attempt failed, the last ones of them, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Attempt> {
        history(&self.message)
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.message.headers.get(name).map(String::as_str)
    }
}

fn history(message: &Message) -> Vec<Attempt> {
    let history = message.headers.get(header::HISTORY);
    history.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn replays(message: &Message) -> u32 {
    message.headers.get(header::REPLAYS).and_then(|count| count.parse().ok()).unwrap_or(0)
}

/// The message of a letter that is replayed: tried from the beginning, but what is sent stays sent, and the history stays.
pub(in crate::queue) fn revive(mut message: Message, now: UnixMillis) -> Message {
    let replays = replays(&message).saturating_add(1);
    for verdict in [header::CLASS, header::REASON, header::ATTEMPTS, header::FAILED, header::FAILED_REASON] {
        message.headers.remove(verdict);
    }
    message.headers.insert(header::REPLAYS.to_owned(), replays.to_string());
    message.headers.insert(header::REPLAYED_AT.to_owned(), now.0.to_string());
    message
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::queue::Headers;

    /// A letter with these headers.
    pub(in crate::queue::dead_letters) fn letter(id: &str, route: &str, headers: &[(&str, &str)]) -> Letter {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let message = Message {
            id: id.to_owned(),
            kind: "outgoing.v1".into(),
            route: route.to_owned(),
            body: "{}".into(),
            published_at: UnixMillis(5),
            headers: headers.iter().map(own).collect(),
        };
        Letter::new(DeadQueue::Dead, message, None)
    }

    const HISTORY: &str =
        r#"[{"at":7,"class":"not_sent","reason":"500"},{"at":9,"class":"rejected","reason":"400"}]"#;

    #[test]
    fn a_letter_tells_what_its_headers_say() {
        let headers =
            [("class", "rejected"), ("reason", "status 400"), ("history", HISTORY), ("replays", "2")];
        let letter = letter("1", "outgoing.a", &headers);
        assert_eq!((letter.class(), letter.reason().as_str()), ("rejected", "status 400"));
        assert_eq!((letter.backend(), letter.replays(), letter.since), ("a", 2, UnixMillis(9)));
        assert_eq!(letter.history().len(), 2);
        assert_eq!(Letter::new(DeadQueue::Dead, letter.message, Some(UnixMillis(11))).since, UnixMillis(11));
    }

    #[test]
    fn a_letter_of_which_little_is_known_is_told_all_the_same() {
        let bare = letter("", "", &[("history", "{"), ("replays", "many"), ("replayed-at", "once")]);
        assert_eq!((bare.class(), bare.backend(), bare.since), ("other", "", UnixMillis(5)));
        assert_eq!((bare.replays(), bare.message.replayed_at(), bare.history()), (0, None, vec![]));
        let unrouted = Letter::new(DeadQueue::Unrouted, letter("1", "outgoing.gone", &[]).message, None);
        assert_eq!(
            (unrouted.class(), unrouted.reason().as_str()),
            ("unrouted", "no queue is bound for outgoing.gone")
        );
    }

    #[test]
    fn a_replayed_letter_is_tried_from_the_beginning_and_keeps_what_is_true() {
        let headers = [
            ("class", "rejected"),
            ("reason", "400"),
            ("attempts", "12"),
            ("failed", "{}"),
            ("failed-reason", "400"),
            ("sent", r#"["0/1"]"#),
            ("history", HISTORY),
            ("traceparent", "00-1"),
            ("replays", "1"),
            ("replayed-at", "3"),
        ];
        let letter = letter("1", "outgoing.a", &headers);
        let revived = revive(letter.message.clone(), UnixMillis(42));
        let kept = [
            ("sent", r#"["0/1"]"#),
            ("history", HISTORY),
            ("traceparent", "00-1"),
            ("replays", "2"),
            ("replayed-at", "42"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        assert_eq!(revived.headers, kept.into_iter().map(own).collect::<Headers>());
        assert_eq!(revived.attempts(), 0);
        let before = letter.message;
        assert_eq!((revived.body, revived.route, revived.id), (before.body, before.route, before.id));
        assert_eq!((revived.kind, revived.published_at), (before.kind, before.published_at));
    }
}
