//! Requests that are answered 200, with nobody who consumes: a closed loop.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::time::sleep;

use crate::client::client;

use super::case::{Case, Group, Measure, Subject, Values};
use super::load::{Load, Pace};
use super::meter::float;
use super::site::{Running, Site, WARM};

/// How many connections post at a time.
const CONNECTIONS: [usize; 3] = [32, 256, 1024];

pub(super) static GROUP: Group =
    Group { name: "accepts", axis: "connections", plot: &[&[Measure::PerSecond], &[Measure::P99Ms]] };

pub(super) fn cases() -> Vec<Case> {
    use Subject::{Confirms, Form, Pair, Prototype, Standalone};
    let subjects = [Form, Confirms, Prototype, Pair, Standalone];
    CONNECTIONS.iter().flat_map(|connections| subjects.map(|subject| at(*connections, subject))).collect()
}

/// The case of so many connections.
pub(super) fn at(connections: usize, subject: Subject) -> Case {
    let key = GROUP.key(connections as u64, subject);
    Case::new(key, move |bench| {
        async move {
            // What publishes by itself has a task where others have a connection.
            let site = Site { concurrency: u16::try_from(connections)?, ..Site::intake(subject) };
            let running = Running::start(&site, &bench.broker).await?;
            let values = if subject == Subject::Confirms {
                confirms(&running, bench.options.time()).await?
            } else {
                post(&running, &running.load(connections)?, CLOSED, bench.options.time()).await?
            };
            running.clear().await?;
            Ok(vec![(key, values)])
        }
        .boxed_local()
    })
}

/// As fast as it is answered.
pub(super) const CLOSED: Pace = Pace::Most(u64::MAX);

/// What it costs to accept what is posted for `time`.
pub(super) async fn post(running: &Running, load: &Load, pace: Pace, time: Duration) -> Result<Values> {
    load.post(pace, WARM).await?;
    let meter = running.meter()?;
    let posted = load.post(pace, time).await?;
    let mut values = posted.values();
    values.extend(meter.costs(posted.accepted)?);
    Ok(values)
}

/// What the floor tells of the time since it was last asked.
#[derive(Deserialize)]
struct Confirmed {
    count: u64,
    p50: u32,
    p99: u32,
}

/// The same of a process that publishes by itself.
async fn confirms(running: &Running, time: Duration) -> Result<Values> {
    let (client, url) = (client()?, running.admin_url("/confirmed"));
    let ask = async || -> Result<Confirmed> {
        let answer = client.get(&url).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    };
    sleep(WARM).await;
    ask().await?;
    let (meter, begun) = (running.meter()?, Instant::now());
    sleep(time).await;
    let Confirmed { count, p50, p99 } = ask().await?;
    let rate = float(count) / begun.elapsed().as_secs_f64();
    let mut values = meter.costs(count)?;
    let ms = |micros: u32| f64::from(micros) / 1000.0;
    values.extend([(Measure::PerSecond, rate), (Measure::P50Ms, ms(p50)), (Measure::P99Ms, ms(p99))]);
    Ok(values)
}
