//! Dead letters as a tool: look at them, replay them, discard them. The same on both queues.
//!
//! Each queue has one operation for it, [`visit`]; listing, replaying and discarding are three ways to decide.

mod letter;

mod selection;

pub(super) use self::letter::revive;
use self::selection::{Discard, Replay};
pub use self::{
    letter::{Attempt, Letter},
    selection::{Filter, MAX_REPLAYS, Selection},
};
use super::{QueueName, embedded, rabbitmq, routes::Routes};
use crate::{
    clock::{self, UnixMillis},
    config::{Config, QueueUrl},
    lifecycle::Failure,
    message::BackendName,
};

/// The two queues that nobody works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadQueue {
    /// What could not be processed.
    Dead,
    /// What no queue was bound for.
    Unrouted,
}

impl DeadQueue {
    /// The queue.
    #[must_use]
    pub fn queue(self) -> QueueName {
        match self {
            Self::Dead => QueueName::Dead,
            Self::Unrouted => QueueName::Unrouted,
        }
    }
}

/// What shall become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It stays.
    Keep,
    /// It goes back to the queue that its route leads to.
    Replay,
    /// It is gone for good.
    Discard,
    /// It stays, and so do all after it: they need not be looked at.
    End,
}

/// Decides about one letter after the other, oldest first.
pub type Decide<'a> = dyn FnMut(&Letter) -> Action + Send + 'a;

/// What an implementation has to do.
pub(super) struct Visit<'a> {
    /// Which letters.
    pub(super) dead_queue: DeadQueue,
    /// When it began, which is when the letters count as replayed.
    pub(super) began: UnixMillis,
    /// What shall become of each.
    pub(super) decide: &'a mut Decide<'a>,
}

/// What a visit has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visited {
    /// How many are in their queues again.
    pub replayed: usize,
    /// How many are gone.
    pub discarded: usize,
}

/// What a replay has done, and what it has left and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// How many are in their queues again.
    pub replayed: usize,
    /// How many stay because they were replayed [`MAX_REPLAYS`] times already.
    pub too_often: usize,
    /// How many stay because no queue is bound for their routes.
    pub unrouted: usize,
    /// The ids that were named and not found.
    pub missing: Vec<String>,
}

/// What a discard has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discarded {
    /// How many are gone.
    pub discarded: usize,
    /// The ids that were named and not found.
    pub missing: Vec<String>,
}

/// Looks at every letter that is there when this begins. One that is replayed and comes back meanwhile is not among them.
pub async fn visit(
    config: &Config,
    dead_queue: DeadQueue,
    decide: &mut Decide<'_>,
) -> Result<Visited, Failure> {
    // All that is replayed in one run has the same time in its header.
    let began = clock::now();
    let mut decide = |letter: &Letter| {
        if letter.message.replayed_at() == Some(began) { Action::Keep } else { decide(letter) }
    };
    let visit = Visit { dead_queue, began, decide: &mut decide };
    match &config.queue.url {
        QueueUrl::Amqp(url) => rabbitmq::visit(url, config, visit).await,
        QueueUrl::Embedded(file) => embedded::visit(file, &routes(config), visit),
    }
}

/// Puts the selected letters back into their queues.
pub async fn replay(
    config: &Config,
    dead_queue: DeadQueue,
    selection: Selection,
) -> Result<Replayed, Failure> {
    let mut replay = Replay::new(selection, routes(config));
    let visited = visit(config, dead_queue, &mut |letter| replay.decide(letter)).await?;
    Ok(replay.done(visited))
}

/// Takes the selected letters away for good.
pub async fn discard(
    config: &Config,
    dead_queue: DeadQueue,
    selection: Selection,
) -> Result<Discarded, Failure> {
    let mut discard = Discard::new(selection);
    let visited = visit(config, dead_queue, &mut |letter| discard.decide(letter)).await?;
    Ok(discard.done(visited))
}

fn routes(config: &Config) -> Routes {
    let backends: Vec<BackendName> = config.backends.keys().cloned().collect();
    Routes::new(&backends)
}
