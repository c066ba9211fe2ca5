//! The same requests at fixed rates, whatever the answers do: an open loop, its latency counted from when each request was due.

use futures_util::FutureExt;

use super::accepts::post;
use super::case::{Case, Group, Measure, Subject};
use super::load::Pace;
use super::site::{Running, Site};

/// How many are due a second; the last is more than two cores can take.
const RATES: [u32; 5] = [1000, 2500, 5000, 10_000, 30_000];

const CONNECTIONS: usize = 256;

static GROUP: Group = Group {
    name: "open loop",
    axis: "due a second",
    plot: &[&[Measure::P50Ms, Measure::P99Ms], &[Measure::PerSecond]],
};

pub(super) fn cases() -> Vec<Case> {
    let subjects = [Subject::Prototype, Subject::Pair];
    RATES.iter().flat_map(|rate| subjects.map(|subject| at(*rate, subject))).collect()
}

fn at(rate: u32, subject: Subject) -> Case {
    let key = GROUP.key(rate.into(), subject);
    Case::new(key, move |bench| {
        async move {
            let running = Running::start(&Site::intake(subject), &bench.broker).await?;
            let load = running.load(CONNECTIONS)?;
            let values = post(&running, &load, Pace::PerSecond(rate), bench.options.time()).await?;
            running.clear().await?;
            Ok(vec![(key, values)])
        }
        .boxed_local()
    })
}
