//! A steady load: each message has its own number, and what its client was told is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::client;

use super::front::Front;
use super::script::lock;
use super::{BACKENDS, METERED, RESENDING};

/// A message every so often: 100 a second.
const EVERY: Duration = Duration::from_millis(10);

/// How many people write.
const IDENTITIES: u64 = 500;

/// When a client stops to wait: longer than any ingress is frozen.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the clients were told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// The numbers that were answered with 200.
    pub(super) accepted: BTreeSet<u64>,
    /// How many were answered with 503.
    pub(super) refused: u64,
    /// How many requests ended without an answer.
    pub(super) unanswered: u64,
    /// Every other status, with how often it was seen.
    pub(super) others: BTreeMap<u16, u64>,
    /// The slowest answer of an ingress that was neither frozen nor dead meanwhile.
    pub(super) slowest: Duration,
}

/// Posts until `stopped`, then waits for the last answers.
pub(super) async fn post(fronts: Vec<Arc<Front>>, mut stopped: watch::Receiver<bool>) -> Result<Told> {
    let client = client()?;
    let told = Arc::new(Mutex::new(Told::default()));
    let mut open = JoinSet::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut number: u64 = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Some(_) = open.join_next() => continue,
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
        // Each in turn, and the next one where nobody listens: as a load balancer would.
        let turn = usize::try_from(number)?;
        let mut inorder = (0..fronts.len()).map(|step| &fronts[(turn + step) % fronts.len()]);
        let Some((front, url)) = inorder.find_map(|front| Some((Arc::clone(front), front.url()?))) else {
            continue;
        };
        open.spawn(ask(client.clone(), url, front, number, Arc::clone(&told)));
        number += 1;
    }
    while open.join_next().await.is_some() {}
    let told = lock(&told).clone();
    Ok(told)
}

/// The backend of a message: every third is for the one that sends again, and a few are for the one with a rate.
pub(super) fn backend_of(number: u64) -> &'static str {
    match number % 12 {
        0 | 3 | 6 | 9 => RESENDING,
        1 => METERED,
        _ => BACKENDS[0],
    }
}

/// Who writes it, and gets the reply.
pub(super) fn identity_of(number: u64) -> String {
    format!("+{}", number.wrapping_mul(7_919) % IDENTITIES)
}

async fn ask(client: reqwest::Client, url: String, front: Arc<Front>, number: u64, told: Arc<Mutex<Told>>) {
    let _waiting = front.wait();
    let backend = backend_of(number);
    let form = [("identity", identity_of(number)), ("text", format!("echo {number}"))];
    let begun = Instant::now();
    let asked = client.post(format!("{url}/backends/{backend}/")).form(&form).timeout(PATIENCE).send().await;
    let took = begun.elapsed();
    let mut told = lock(&told);
    let Ok(answer) = asked else {
        told.unanswered += 1;
        return;
    };
    if !front.was_excused(begun) {
        told.slowest = told.slowest.max(took);
    }
    match answer.status().as_u16() {
        200 => drop(told.accepted.insert(number)),
        503 => told.refused += 1,
        other => *told.others.entry(other).or_default() += 1,
    }
}
