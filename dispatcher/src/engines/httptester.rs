//! The `httptester` engine: keeps each connection's last messages, for trying without a phone.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use serde::Serialize;
use shared::{
    clock::{self, UnixMillis},
    message::{Identity, MessageId, OutgoingMessage},
};

use super::{Engine, Part, SendError, SendReceipt};

/// The most connections kept. Then the one that was written to first is forgotten.
const MAX_CONNECTIONS: usize = 1000;

/// The engine of one backend.
pub struct HttpTester {
    keep: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_identity: HashMap<Identity, VecDeque<Sent>>,
    oldest_first: VecDeque<Identity>,
    count: u64,
}

/// A message that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// `out`: sent by the gateway.
    pub direction: &'static str,
    /// To whom.
    pub identity: Identity,
    /// What it says.
    pub text: String,
    /// The message's id.
    pub id: MessageId,
    /// When, in milliseconds since 1970.
    pub at: UnixMillis,
    #[serde(skip)]
    order: u64,
}

impl HttpTester {
    /// Keeps the last `keep` messages of each connection.
    #[must_use]
    pub fn new(keep: usize) -> Self {
        Self { keep, kept: Mutex::default() }
    }

    /// What was sent to `identity`, or to everybody; oldest first.
    pub fn sent(&self, identity: Option<&Identity>) -> Vec<Sent> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sent: Vec<Sent> = match identity {
            Some(identity) => kept.by_identity.get(identity).into_iter().flatten().cloned().collect(),
            None => kept.by_identity.values().flatten().cloned().collect(),
        };
        sent.sort_by_key(|sent| sent.order);
        sent
    }

    fn keep(&self, part: &Part<'_>, now: UnixMillis) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        for identity in part.identities() {
            kept.count += 1;
            let order = kept.count;
            let sent = Sent {
                direction: "out",
                identity: identity.clone(),
                text: part.text.to_string(),
                id: part.message.id,
                at: now,
                order,
            };
            if !kept.by_identity.contains_key(identity) {
                kept.make_room();
                kept.oldest_first.push_back(identity.clone());
            }
            let messages = kept.by_identity.entry(identity.clone()).or_default();
            messages.push_back(sent);
            if messages.len() > self.keep {
                messages.pop_front();
            }
        }
    }
}

impl Kept {
    fn make_room(&mut self) {
        if self.oldest_first.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_identity.remove(&oldest);
        }
    }
}

impl Engine for HttpTester {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::for_each_identity(message)
    }

    fn send<'a>(&'a self, part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        self.keep(part, clock::now());
        Box::pin(std::future::ready(Ok(SendReceipt::default())))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::part::tests::message, *};

    fn send(tester: &HttpTester, identity: &str, text: &str) {
        let message = message(&[identity], text);
        tester.keep(&Part::for_each_identity(&message)[0], UnixMillis(1));
    }

    fn texts(tester: &HttpTester, identity: Option<&str>) -> Vec<String> {
        tester.sent(identity.map(Identity::from).as_ref()).into_iter().map(|sent| sent.text).collect()
    }

    #[test]
    fn the_last_messages_of_each_connection_are_kept_oldest_first() {
        let tester = HttpTester::new(2);
        for (identity, text) in [("1", "a"), ("2", "x"), ("1", "b"), ("1", "c")] {
            send(&tester, identity, text);
        }
        assert_eq!(texts(&tester, Some("1")), ["b", "c"]);
        assert_eq!(texts(&tester, None), ["x", "b", "c"]);
        assert!(texts(&tester, Some("3")).is_empty());
    }

    #[test]
    fn memory_is_bounded_in_connections_too() {
        let tester = HttpTester::new(1);
        for number in 0..=MAX_CONNECTIONS {
            send(&tester, &number.to_string(), "x");
        }
        assert!(texts(&tester, Some("0")).is_empty());
        assert_eq!(texts(&tester, None).len(), MAX_CONNECTIONS);
    }
}
