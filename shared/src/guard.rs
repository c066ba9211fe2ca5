//! Ends the process when nothing in it runs any more, because starting anew is what helps then.
//!
//! A task beats, which it does not when every thread of the runtime is blocked, and a thread of the system listens. It counts
//! looks and not time, so that a process that was frozen for a while is not taken for one that is stuck.

use std::{
    process,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::time::MissedTickBehavior;

use crate::lifecycle::{Exit, Lifecycle};

/// After how many looks without a beat the process is stuck.
const LOOKS: u32 = 8;

/// Guards this process until a stop is asked for. To be called within the runtime.
pub(crate) fn start(stuck_after: Duration, lifecycle: &Lifecycle) {
    let (beat, stopping, pause) = (Arc::new(AtomicU64::new(0)), lifecycle.clone(), stuck_after / LOOKS);
    let heard = Arc::downgrade(&beat);
    let listener = thread::Builder::new().name("guard".to_owned());
    if let Err(error) = listener.spawn(move || listen(&heard, pause, stuck_after)) {
        tracing::warn!(%error, "no thread for the guard: a process whose threads are all blocked is not noticed");
    }
    lifecycle.spawn("guard", async move {
        let mut beats = tokio::time::interval(pause);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => beat.fetch_add(1, Ordering::Relaxed),
                () = stopping.stopping() => return,
            };
        }
    });
}

fn listen(beat: &Weak<AtomicU64>, pause: Duration, stuck_after: Duration) {
    let mut silence = Silence::default();
    loop {
        thread::park_timeout(pause);
        let Some(beat) = beat.upgrade().map(|beat| beat.load(Ordering::Relaxed)) else { return };
        if silence.is_too_long(beat) {
            let limit = humantime::format_duration(stuck_after);
            tracing::error!(
                "nothing in this process has run for {limit}: every thread of it is blocked, most likely by an app; \
                 ending, to be started anew"
            );
            process::exit(Exit::Task as i32);
        }
    }
}

/// How many looks have seen the same beat.
#[derive(Default)]
struct Silence {
    last: u64,
    looks: u32,
}

impl Silence {
    fn is_too_long(&mut self, beat: u64) -> bool {
        self.looks = if beat == self.last { self.looks + 1 } else { 0 };
        self.last = beat;
        // One more, because the beats and the looks are as far apart.
        self.looks > LOOKS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_beat_in_time_is_enough_and_silence_is_not() {
        let mut silence = Silence::default();
        for beat in 1..5 {
            assert!((0..=LOOKS).all(|_| !silence.is_too_long(beat)), "{beat}");
        }
        assert!(silence.is_too_long(4));
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_with_a_stop() {
        let lifecycle = Lifecycle::default();
        start(Duration::from_secs(120), &lifecycle);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        lifecycle.stop();
        lifecycle.finished().await;
        assert!(lifecycle.failure().is_none());
    }
}
