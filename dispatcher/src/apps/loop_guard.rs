//! The `loop-guard` app: stops a connection that answers our answers for ever, such as an operator's robot.
//!
//! Pure but for its memory, which is of this process alone and bounded: each message is judged by when it was accepted, so
//! a backlog is no flood, and a message that is tried again is not counted again.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    mem,
    sync::{Mutex, PoisonError},
};

use shared::{
    clock::UnixMillis,
    config::apps::loop_guard::LoopGuard as Settings,
    message::{BackendName, Identity, IncomingMessage, MessageId},
};

use super::{App, Context, Filter, Step};

/// How many connections are remembered at most, those that were silent for longest forgotten first.
const MAX_CONNECTIONS: usize = 10_000;

pub(super) struct LoopGuard {
    settings: Settings,
    /// Texts are kept as hashes: smaller, and nobody's words.
    hasher: RandomState,
    memory: Mutex<Memory>,
}

type Connection = (BackendName, Identity);

/// The connections in two halves. What is in neither half is forgotten; what is used comes into the recent one.
#[derive(Default)]
struct Memory {
    recent: HashMap<Connection, Passed>,
    before: HashMap<Connection, Passed>,
}

/// The messages of a connection that were let through, in the order in which they were.
type Passed = VecDeque<Seen>;

struct Seen {
    id: MessageId,
    accepted_at: UnixMillis,
    text: u64,
}

impl LoopGuard {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, hasher: RandomState::new(), memory: Mutex::default() }
    }

    fn judge(&self, message: &IncomingMessage) -> Filter {
        let Settings { window, max_messages, max_repeats } = self.settings;
        let seen = Seen {
            id: message.id,
            accepted_at: message.accepted_at,
            text: self.hasher.hash_one(&message.text),
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = memory.of((message.backend.clone(), message.identity.clone()));
        if passed.iter().any(|other| other.id == seen.id) {
            return Filter::Pass;
        }
        passed.retain(|other| seen.accepted_at.since(other.accepted_at) < window);
        // A message from the ladder or the dead letters may be much older than those before it, which then do not count.
        let near = |other: &&Seen| other.accepted_at.since(seen.accepted_at) < window;
        let messages = passed.iter().filter(near).count();
        let repeats = passed.iter().filter(near).filter(|other| other.text == seen.text).count();
        if messages >= max_messages || repeats >= max_repeats {
            return Filter::Stop;
        }
        passed.push_back(seen);
        if passed.len() > max_messages {
            passed.pop_front();
        }
        Filter::Pass
    }
}

impl Memory {
    fn of(&mut self, connection: Connection) -> &mut Passed {
        if !self.recent.contains_key(&connection) {
            let passed = self.before.remove(&connection).unwrap_or_default();
            if self.recent.len() >= MAX_CONNECTIONS / 2 {
                self.before = mem::take(&mut self.recent);
            }
            self.recent.insert(connection.clone(), passed);
        }
        self.recent.entry(connection).or_default()
    }
}

impl App for LoopGuard {
    fn name(&self) -> &'static str {
        "loop-guard"
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Filter> {
        Step::ready(self.judge(&context.message))
    }
}

#[cfg(test)]
mod tests;
