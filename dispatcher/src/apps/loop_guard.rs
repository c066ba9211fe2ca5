//! The `loop-guard` app: does not answer a connection that answers our answers for ever, such as an operator's robot.
//! Without an answer of ours there is no loop. What it says reaches the apps all the same: it may be somebody who reports
//! a lot.
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
    config::apps::{Phase, loop_guard::LoopGuard as Settings},
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
    recent: HashMap<Connection, Answered>,
    before: HashMap<Connection, Answered>,
}

/// What was answered to a connection lately.
#[derive(Default)]
struct Answered {
    /// Its messages, in the order in which they came.
    messages: VecDeque<Seen>,
    /// When the log was last told that there are too many, by the time of that message.
    told_at: Option<UnixMillis>,
}

struct Seen {
    id: MessageId,
    accepted_at: UnixMillis,
    text: u64,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may be answered.
    Answer,
    /// It is more than a person sends, and the first such in its window.
    FirstOfTooMany,
    /// It is another.
    TooMany,
}

impl LoopGuard {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, hasher: RandomState::new(), memory: Mutex::default() }
    }

    fn judge(&self, message: &IncomingMessage) -> Verdict {
        let Settings { window, max_messages, max_repeats } = self.settings;
        let seen = Seen {
            id: message.id,
            accepted_at: message.accepted_at,
            text: self.hasher.hash_one(&message.text),
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Answered { messages, told_at } = memory.of((message.backend.clone(), message.identity.clone()));
        if messages.iter().any(|other| other.id == seen.id) {
            return Verdict::Answer;
        }
        messages.retain(|other| seen.accepted_at.since(other.accepted_at) < window);
        // A message from the ladder or the dead letters may be much older than those before it, which then do not count.
        let near = |other: &&Seen| other.accepted_at.since(seen.accepted_at) < window;
        let count = messages.iter().filter(near).count();
        let repeats = messages.iter().filter(near).filter(|other| other.text == seen.text).count();
        if count >= max_messages || repeats >= max_repeats {
            let is_told = told_at.is_some_and(|told_at| seen.accepted_at.since(told_at) < window);
            if is_told {
                return Verdict::TooMany;
            }
            *told_at = Some(seen.accepted_at);
            return Verdict::FirstOfTooMany;
        }
        messages.push_back(seen);
        if messages.len() > max_messages {
            messages.pop_front();
        }
        Verdict::Answer
    }
}

impl Memory {
    fn of(&mut self, connection: Connection) -> &mut Answered {
        if !self.recent.contains_key(&connection) {
            let answered = self.before.remove(&connection).unwrap_or_default();
            if self.recent.len() >= MAX_CONNECTIONS / 2 {
                self.before = mem::take(&mut self.recent);
            }
            self.recent.insert(connection.clone(), answered);
        }
        self.recent.entry(connection).or_default()
    }
}

impl App for LoopGuard {
    fn name(&self) -> &'static str {
        "loop-guard"
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == Phase::Filter
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Filter> {
        let message = &mut context.message;
        let verdict = self.judge(message);
        if verdict == Verdict::FirstOfTooMany {
            tracing::warn!(message_id = %message.id, backend = %message.backend, "more than a person sends: not answered for now");
        }
        if verdict != Verdict::Answer {
            message.no_reply = true;
        }
        Step::ready(Filter::Pass)
    }
}

#[cfg(test)]
mod tests;
