//! The gate of one backend: closed while its provider takes nothing from anybody, and probed with one call at a time.
//!
//! A closed gate lets one call through when its pause is over. If the provider takes it, or refuses only it, the gate opens
//! for all; else the next pause is twice as long. Whoever waits does so in line: the one whose call failed goes to its end,
//! so that each probe is another message's.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use shared::clock::{self, UnixMillis};
use tokio::time::Instant;

/// The first pause; each that follows is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Where pauses stop to grow.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest wait that a provider may ask for: one that says "tomorrow" is asked again before.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(10 * 60);

/// A message that is refused as a probe this often, while another's probe opened the gate each time between, is itself
/// what the provider refuses.
const SUSPICIOUS: u32 = 3;

/// A delivery that has failed this often while nobody else waited makes room, after half a minute: others may be behind it
/// in the queue, and it may be this one alone that is refused.
const ALONE: u32 = 5;

/// Lets calls to one provider through, or keeps them waiting.
pub struct Gate {
    state: Mutex<State>,
    /// The line of those who wait; its holder is the next probe. Fair: first come, first served.
    line: tokio::sync::Mutex<()>,
    /// How many stand in it.
    waiting: AtomicUsize,
}

/// A place in the line, left when it is dropped.
struct Place<'g>(&'g AtomicUsize);

impl<'g> Place<'g> {
    fn take(waiting: &'g AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct State {
    closed: Option<Closed>,
    /// When a probe last opened the gate.
    opened_at: Option<UnixMillis>,
}

struct Closed {
    since: Instant,
    /// When the next probe may go.
    until: Instant,
    /// How long the pause was that ends then.
    pause: Duration,
    reason: String,
}

/// The right to make one call. To be given back with what came of it; dropped, it changes nothing.
#[must_use]
pub(crate) struct Pass<'g> {
    gate: &'g Gate,
    /// Held by a probe, so that nobody else goes.
    probe: Option<tokio::sync::MutexGuard<'g, ()>>,
}

/// How one message fared at the gates of all processes, to tell a provider that refuses everybody from one that refuses
/// this message. It travels with the message, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// How often it was refused as a probe after another got through.
    refused: u32,
    /// When it was last refused.
    last: Option<UnixMillis>,
    /// How often it was refused in this delivery while nobody else waited.
    alone: u32,
}

/// What a message does that the provider has not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It waits for the provider.
    Waits,
    /// It lets others be tried before it is tried again.
    MakesRoom,
    /// Others get through and it does not: that is an attempt.
    IsRefused,
}

impl Record {
    /// Reads what [`Record::written`] wrote.
    pub(crate) fn read(text: Option<&String>) -> Self {
        let read = text.and_then(|text| serde_json::from_str::<(u32, UnixMillis)>(text).ok());
        read.map_or_else(Self::default, |(refused, last)| Self { refused, last: Some(last), alone: 0 })
    }

    /// As text, if there is anything to tell.
    pub(crate) fn written(&self) -> Option<String> {
        self.last.map(|last| serde_json::json!([self.refused, last]).to_string())
    }

    /// What it means for the message.
    pub(crate) fn verdict(&self) -> Verdict {
        if self.refused >= SUSPICIOUS {
            Verdict::IsRefused
        } else if self.alone >= ALONE {
            Verdict::MakesRoom
        } else {
            Verdict::Waits
        }
    }

    fn refuse(&mut self, now: UnixMillis, opened_at: Option<UnixMillis>, others_wait: bool) {
        self.alone = if others_wait { 0 } else { self.alone + 1 };
        // Times of day, because it may have been another process that was refused before.
        if self.last.is_none_or(|last| opened_at >= Some(last)) {
            self.refused += 1;
        }
        self.last = Some(now);
    }
}

impl Default for Gate {
    /// An open gate.
    fn default() -> Self {
        Self { state: Mutex::default(), line: tokio::sync::Mutex::new(()), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True while calls have to wait.
    pub fn is_closed(&self) -> bool {
        self.state().closed.is_some()
    }

    /// What an operator is told: nothing while the gate is open.
    pub fn told(&self) -> Option<String> {
        let state = self.state();
        let closed = state.closed.as_ref()?;
        let seconds =
            |duration: Duration| humantime::format_duration(Duration::from_secs(duration.as_secs()));
        let (since, next) = (closed.since.elapsed(), closed.until.saturating_duration_since(Instant::now()));
        Some(format!("paused for {}: {}; next try in {}", seconds(since), closed.reason, seconds(next)))
    }

    /// Waits until a call may be made. To give up waiting, drop the future.
    pub(crate) async fn pass(&self) -> Pass<'_> {
        if !self.is_closed() {
            return Pass { gate: self, probe: None };
        }
        let _place = Place::take(&self.waiting);
        let turn = self.line.lock().await;
        loop {
            let until = self.state().closed.as_ref().map(|closed| closed.until);
            match until {
                None => return Pass { gate: self, probe: None },
                Some(until) if until <= Instant::now() => return Pass { gate: self, probe: Some(turn) },
                // A call that was under way may prolong the pause meanwhile, so this is looked at again.
                Some(until) => tokio::time::sleep_until(until).await,
            }
        }
    }

    fn open(&self) -> Option<Duration> {
        let mut state = self.state();
        let closed = state.closed.take()?;
        state.opened_at = Some(clock::now());
        Some(closed.since.elapsed())
    }

    /// Closes the gate, or keeps it closed for longer. Gives for how long, unless it was closed already by another call.
    fn close(&self, probe: bool, reason: &str, retry_after: Option<Duration>) -> Option<Duration> {
        let now = Instant::now();
        let asked = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
        let mut state = self.state();
        if let Some(closed) = state.closed.as_mut().filter(|_| !probe) {
            // Many calls were under way when the provider went: they are one failure, not many.
            closed.until = closed.until.max(now + asked);
            return None;
        }
        let before = state.closed.take();
        let pause = before.as_ref().map_or(SHORTEST_PAUSE, |closed| LONGEST_PAUSE.min(closed.pause * 2));
        let since = before.map_or(now, |closed| closed.since);
        let wait = pause.max(asked);
        state.closed = Some(Closed { since, until: now + wait, pause, reason: reason.to_owned() });
        Some(wait)
    }
}

impl Pass<'_> {
    /// False when the gate was closed since.
    pub(crate) fn is_good(&self) -> bool {
        self.probe.is_some() || !self.gate.is_closed()
    }

    /// The provider took the call, or refused only this one. Gives how long the gate was closed, if this call opened it.
    pub(crate) fn reached(self) -> Option<Duration> {
        // A call that was under way when the gate closed proves nothing about afterwards.
        if self.probe.is_some() { self.gate.open() } else { None }
    }

    /// The provider takes nothing. Gives how long nobody is let through, if this call is what closed the gate.
    pub(crate) fn refused(
        self,
        reason: &str,
        retry_after: Option<Duration>,
        record: &mut Record,
    ) -> Option<Duration> {
        let probe = self.probe.is_some();
        if probe {
            let others_wait = self.gate.waiting.load(Ordering::Relaxed) > 0;
            record.refuse(clock::now(), self.gate.state().opened_at, others_wait);
        }
        self.gate.close(probe, reason, retry_after)
    }
}

#[cfg(test)]
mod tests;
