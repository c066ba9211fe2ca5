//! How the providers behave to each call, and what they have seen: the ledger of what was delivered.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::provider::{Answer, Behaviour, Provider, Request};

use super::load::{backend_of, identity_of};
use super::plan::Refusal;

/// What a provider does at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Some calls fail, each in its own way.
    Moody,
    /// All calls are refused.
    Refusing(Refusal),
    /// All calls succeed.
    Well,
}

/// What became of the calls for one number.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// How many calls there were.
    pub(super) count: u32,
    /// How many of them were answered with 200.
    pub(super) delivered: u32,
    /// The `Idempotency-Key` of each, without repeats.
    pub(super) keys: Vec<String>,
    /// What the last call was told.
    pub(super) last: &'static str,
    /// Of a call that came to another provider, or was for another person.
    pub(super) astray: Option<String>,
}

/// One provider's mood, and the ledger that it shares with the others.
#[derive(Clone)]
pub(super) struct Script {
    seed: u64,
    backend: &'static str,
    mood: Arc<Mutex<Mood>>,
    ledger: Arc<Mutex<HashMap<u64, Calls>>>,
}

impl Script {
    /// A script with a mood of its own.
    pub(super) fn new(seed: u64, backend: &'static str, ledger: &Arc<Mutex<HashMap<u64, Calls>>>) -> Self {
        Self { seed, backend, mood: Arc::new(Mutex::new(Mood::Moody)), ledger: Arc::clone(ledger) }
    }

    /// Makes `provider` behave by this script.
    pub(super) fn direct(&self, provider: &Provider) {
        let script = self.clone();
        provider.decide(move |request| script.decide(request));
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    fn decide(&self, request: &Request) -> Behaviour {
        let number = request.field("msg").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
        let key = request.header("idempotency-key").unwrap_or("none").to_owned();
        let mood = *lock(&self.mood);
        let mut ledger = lock(&self.ledger);
        let calls = ledger.entry(number).or_default();
        let (told, behaviour) = behaviour(self.seed, number, calls.count, mood);
        calls.count += 1;
        calls.delivered += u32::from(told == DELIVERED);
        calls.last = told;
        let identity = request.field("to").unwrap_or_default();
        if self.backend != backend_of(number) || identity != identity_of(number) {
            calls.astray = Some(format!("by {} to {identity}", self.backend));
        }
        if !calls.keys.contains(&key) {
            calls.keys.push(key);
        }
        behaviour
    }
}

/// What a call is told that counts as delivered.
const DELIVERED: &str = "200";

/// The behaviour to the call for `number` after so many `earlier` ones. Pure.
fn behaviour(seed: u64, number: u64, earlier: u32, mood: Mood) -> (&'static str, Behaviour) {
    let mut hasher = DefaultHasher::new();
    (seed, number, earlier).hash(&mut hasher);
    let luck = hasher.finish() % 1_000;
    let delivered = |delay| (DELIVERED, Answer::new(200, "").after(Duration::from_millis(delay)).into());
    match (mood, luck) {
        (Mood::Refusing(Refusal::TooMany), _) | (Mood::Moody, 0..3) => {
            ("429", Answer::new(429, "").header("retry-after", "1").into())
        }
        (Mood::Refusing(Refusal::Away), _) | (Mood::Moody, 3..6) => ("503", Answer::new(503, "").into()),
        (Mood::Moody, 6..60) => ("500", Answer::new(500, "").into()),
        (Mood::Moody, 60..80) => ("silence", Behaviour::Hang),
        (Mood::Moody, 80..100) => ("hung up", Behaviour::Close),
        // Slow enough for a process to be killed between the call and its settlement.
        (Mood::Moody, 100..300) => delivered(luck - 50),
        (Mood::Moody | Mood::Well, _) => delivered(0),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_the_same_again_under_the_same_seed_and_every_answer_comes_up() {
        let told =
            |seed| (0..2_000).map(|number| behaviour(seed, number, 0, Mood::Moody).0).collect::<Vec<_>>();
        assert_eq!(told(1), told(1));
        assert_ne!(told(1), told(2));
        for expected in ["200", "429", "503", "500", "silence", "hung up"] {
            assert!(told(1).contains(&expected), "{expected}");
        }
        assert!((0..2_000).all(|number| behaviour(1, number, 0, Mood::Well).0 == DELIVERED));
    }
}
