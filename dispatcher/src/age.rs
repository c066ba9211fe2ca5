//! How old the messages of a queue are when they are first tried.

use std::time::Duration;

use metrics::Histogram;
use shared::{
    clock::{self, UnixMillis},
    metric,
    queue::{Message, QueueName, header},
};

/// The ages of one queue.
pub(crate) struct Ages(Histogram);

impl Ages {
    pub(crate) fn of(queue: &QueueName) -> Self {
        Self(metrics::histogram!(metric::AGE, "queue" => queue.to_string()))
    }

    /// Notes how old a message is that is about to be tried, if for the first time.
    pub(crate) fn note(&self, message: &Message, accepted_at: UnixMillis) {
        if let Some(age) = age_at_first_attempt(message, accepted_at, clock::now()) {
            self.0.record(age);
        }
    }
}

/// Since its acceptance, or since a person had it tried anew. A later attempt tells nothing: it has waited because it shall.
fn age_at_first_attempt(message: &Message, accepted_at: UnixMillis, now: UnixMillis) -> Option<Duration> {
    let was_tried = message.attempts() > 0
        || [header::TRIED, header::REFUSED].iter().any(|name| message.headers.contains_key(*name));
    let since = message.replayed_at().map_or(accepted_at, |replayed_at| replayed_at.max(accepted_at));
    (!was_tried).then(|| now.since(since))
}

#[cfg(test)]
mod tests {
    use shared::{
        message::{MessageId, OutgoingMessage},
        queue::{Headers, Route},
    };

    use super::*;

    #[test]
    fn the_age_of_a_message_is_that_at_its_first_attempt_or_since_its_replay() {
        let (accepted_at, now) = (UnixMillis(1_000), UnixMillis(61_000));
        let payload = OutgoingMessage {
            id: MessageId::new(),
            accepted_at,
            backend: "b".parse().unwrap(),
            identities: Vec::new(),
            text: String::new(),
            in_response_to: None,
            fields: std::collections::BTreeMap::new(),
        };
        let age = |headers: &[(&str, &str)]| {
            let headers: Headers =
                headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let message = Message::new(&Route::Outgoing("b".parse().unwrap()), &payload, headers);
            age_at_first_attempt(&message, accepted_at, now).map(|age| age.as_secs())
        };
        assert_eq!(age(&[]), Some(60));
        // What was sent before the replay is sent.
        assert_eq!(age(&[(header::REPLAYED_AT, "31000"), (header::SENT, "[]")]), Some(30));
        for tried in [header::ATTEMPTS, header::TRIED, header::REFUSED] {
            assert_eq!(age(&[(tried, "1")]), None, "{tried}");
        }
    }
}
