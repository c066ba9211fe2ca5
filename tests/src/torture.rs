//! Tortures a whole gateway under a steady load, heals it, and looks where every message is.
//!
//! Processes and broker are killed, frozen and stopped, connections cut and stalled, providers misbehave; what is done and
//! when follows from a seed. Then everything must come to rest by itself, and each message that a client was told to be
//! accepted must be delivered or a dead letter.

mod front;
mod judge;
mod load;
mod member;
mod plan;
mod script;
mod site;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use fastrand::Rng;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use self::judge::Found;
pub use self::judge::Report;
use self::plan::Plan;
use self::script::lock;
use self::site::Site;

/// The backends: one leaves to a person what the provider may have taken, one sends it again, and one has a rate.
const BACKENDS: [&str; plan::PROVIDERS] = ["cautious", RESENDING, METERED];
const RESENDING: &str = "resending";
const METERED: &str = "metered";

/// What the names in the broker start with.
const PREFIX: &str = "torture";

/// The retry ladder.
const RUNGS: [&str; 2] = ["200ms", "1s"];

/// How long an ingress waits for the queue.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// What an answer may take beyond that: a debug build, on a machine that starts brokers and services all the time.
const TOLERANCE: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed: the same one does the same again.
    pub seed: u64,
    /// How long bad things are done.
    pub duration: Duration,
    /// Whether the one process on the embedded queue is tortured instead of the pair.
    pub embedded: bool,
    /// Whether nothing is done that may double a message: then nothing is doubled.
    pub gentle: bool,
}

/// Tortures a gateway. The report says what was not as promised; an error means that the torture itself failed.
pub async fn run(options: Options) -> Result<Report> {
    let Options { seed, duration, embedded, gentle } = options;
    let site = Site::start(seed, embedded).await?;
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    clients.spawn(load::post(site.fronts.clone(), stopped));
    let (actions, mut problems) = hurt(&site, options).await;
    stop.send_replace(true);
    let told = clients.join_next().await.context("the clients are gone")???;
    let mut found = Found::default();
    let mut note = |result: Result<()>| problems.extend(result.err().map(told_whole));
    note(site.heal().await);
    note(found.wait_quiet(&site, &told.accepted).await);
    note(site.finish().await);
    found.take_the_rest(&site).await?;
    let calls = lock(&site.calls).drain().collect();
    let mode =
        if embedded { "the gateway on the embedded queue" } else { "2 ingress, 3 dispatchers, RabbitMQ" };
    let mode = format!("{mode}{}", if gentle { ", gently" } else { "" });
    let title = format!("seed {seed}, {}, {mode}", humantime::format_duration(duration));
    let mut report = Report { title, told, found, calls, actions, problems, traces: Vec::new() };
    if gentle {
        report.expect_nothing_doubled();
    }
    report.examine(PUBLISH_TIMEOUT + TOLERANCE, site.logs())?;
    if !report.is_well() {
        report.problems.push(format!("the logs are in {}", site.folder.keep().display()));
    }
    Ok(report)
}

/// Does bad things until the time is over and the last one is undone. Gives how often each was done, and what went wrong.
async fn hurt(site: &Site, options: Options) -> (BTreeMap<&'static str, u32>, Vec<String>) {
    let (mut plan, mut rng) = (site.plan(), Rng::with_seed(options.seed));
    if options.gentle {
        plan = plan.gently();
    }
    let (mut actions, mut problems) = (BTreeMap::new(), Vec::new());
    let (begun, mut doing) = (Instant::now(), FuturesUnordered::new());
    while begun.elapsed() < options.duration && problems.is_empty() {
        let pause = sleep(Plan::pause(&mut rng));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                Some(done) = doing.next() => problems.extend(Result::err(done).map(told_whole)),
            }
        }
        let action = plan.draw(&mut rng);
        let name = match site.begin(action) {
            Some(deed) => {
                doing.push(deed);
                action.name()
            }
            None => "nothing: its object suffered already",
        };
        *actions.entry(name).or_default() += 1;
        match site.ended_by_themselves() {
            Ok(ended) => problems.extend(ended),
            Err(error) => problems.push(told_whole(error)),
        }
    }
    while let Some(done) = doing.next().await {
        problems.extend(done.err().map(told_whole));
    }
    (actions, problems)
}

#[expect(clippy::needless_pass_by_value, reason = "it is mapped over errors")]
fn told_whole(error: Error) -> String {
    format!("{error:#}")
}
