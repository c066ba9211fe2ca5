//! The settings of the `loop-guard` app.

use std::time::Duration;

use crate::config::{
    Positive,
    reader::{Entry, Read, Section},
};

/// How much of one connection is taken for a person.
#[derive(Clone, Debug)]
pub struct LoopGuard {
    /// How long a message counts.
    pub window: Duration,
    /// How many messages of a connection are answered in that time.
    pub max_messages: usize,
    /// How many of them with the same text.
    pub max_repeats: usize,
}

pub(super) fn read(section: &mut Section<'_>) -> LoopGuard {
    let window = section.or("window", Positive(Duration::from_secs(10 * 60))).0;
    let max_messages = section.or("max_messages", Limit(30)).0;
    let repeats_origin = section.origin_of("max_repeats");
    let max_repeats: Option<Limit> = section.optional("max_repeats");
    if max_repeats.as_ref().is_some_and(|repeats| repeats.0 > max_messages) {
        let problem = format!("can never be reached: `max_messages` is {max_messages}");
        section.problem_at(&repeats_origin, "max_repeats", problem);
    }
    LoopGuard { window, max_messages, max_repeats: max_repeats.map_or(10, |repeats| repeats.0) }
}

/// How many messages of a connection are remembered: 1 to 1000.
struct Limit(usize);

impl Read for Limit {
    fn read(entry: Entry<'_>) -> Option<Self> {
        match usize::read(entry.clone())? {
            limit @ 1..=1000 => Some(Self(limit)),
            _ => entry.problem("1 to 1000 is wanted"),
        }
    }
}
