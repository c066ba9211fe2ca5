//! The end of a torture: where every accepted message is, and the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::stack::left_in_database;
use crate::{Queues, eventually};

use super::load::{Told, backend_of};
use super::script::{Calls, lock};
use super::site::Site;
use super::{BACKENDS, METERED, RESENDING, RUNGS};

/// How long the gateway may take to work off what is left. It ends as soon as all is quiet.
const QUIET: Duration = Duration::from_secs(180);

/// How many lost messages are shown with what the logs say of them.
const SHOWN: usize = 10;

/// How many messages may be taken for poison because they were given back too often.
const MOST_CRASHED: usize = 20;

/// How many of the last lines of a lost message are shown.
const LINES: usize = 14;

/// Where the messages are that nobody has delivered.
#[derive(Default)]
pub(super) struct Found {
    /// The dead letters: the number and the class of each.
    dead: BTreeMap<u64, String>,
    /// What lies in any other queue: its name and the numbers.
    waiting: BTreeMap<String, Vec<u64>>,
}

impl Found {
    /// Waits until every one of `accepted` is delivered or dead and nothing else lies anywhere; else an error that says what
    /// is left.
    pub(super) async fn wait_quiet(&mut self, site: &Site, accepted: &BTreeSet<u64>) -> Result<()> {
        let queues = site.queues().await?;
        eventually("every accepted message is delivered or dead", QUIET, async || {
            self.look(site, queues.as_ref()).await?;
            let open = self.open(site, accepted);
            if open.is_empty() && self.waiting.is_empty() {
                return Ok(());
            }
            let waiting: Vec<_> = self.waiting.iter().map(|(name, left)| (name, left.len())).collect();
            Err(anyhow!("{} are open, and there wait {waiting:?}", open.len()))
        })
        .await
    }

    /// Those of `accepted` that are neither delivered nor dead.
    fn open(&self, site: &Site, accepted: &BTreeSet<u64>) -> Vec<u64> {
        let calls = lock(&site.calls);
        let delivered = |number: &u64| calls.get(number).is_some_and(|calls| calls.delivered > 0);
        accepted
            .iter()
            .filter(|number| !delivered(number) && !self.dead.contains_key(number))
            .copied()
            .collect()
    }

    /// Looks where everything is. The dead letters are taken out of a broker: nobody else wants them.
    async fn look(&mut self, site: &Site, queues: Option<&Queues>) -> Result<()> {
        self.waiting.clear();
        let Some(queues) = queues else { return self.look_into(&site.database()) };
        for taken in queues.take_all("dead").await? {
            let class = taken.headers.get("class").cloned();
            let class = class.unwrap_or_else(|| {
                let limit =
                    taken.headers.get("x-death").is_some_and(|death| death.contains("delivery_limit"));
                if limit { "crashed" } else { "without a class" }.to_owned()
            });
            self.bury(&taken.routing_key, class, &taken.body)?;
        }
        for name in names() {
            let depth = queues.depth(&name).await?.with_context(|| format!("there is no queue {name}"))?;
            if depth > 0 {
                self.waiting.insert(name, vec![0; depth as usize]);
            }
        }
        Ok(())
    }

    fn look_into(&mut self, database: &Path) -> Result<()> {
        for (queue, left) in left_in_database(database)? {
            for message in left {
                if queue == "dead" {
                    let class = message.headers.get("class").cloned();
                    self.bury(
                        &message.route,
                        class.unwrap_or_else(|| "without a class".to_owned()),
                        &message.body,
                    )?;
                } else {
                    self.waiting.entry(queue.clone()).or_default().push(number(&message.body)?);
                }
            }
        }
        Ok(())
    }

    /// When everything is stopped: takes what is left out of the queues, to see what it is.
    pub(super) async fn take_the_rest(&mut self, site: &Site) -> Result<()> {
        let queues = site.queues().await?;
        self.look(site, queues.as_ref()).await?;
        let Some(queues) = queues else { return Ok(()) };
        self.waiting.clear();
        for name in names() {
            let left: Result<Vec<u64>> =
                queues.take_all(&name).await?.iter().map(|taken| number(&taken.body)).collect();
            let left = left?;
            if !left.is_empty() {
                self.waiting.insert(name, left);
            }
        }
        Ok(())
    }

    fn bury(&mut self, route: &str, class: String, body: &[u8]) -> Result<()> {
        let class = if route.starts_with("outgoing.") { class } else { format!("incoming: {class}") };
        self.dead.insert(number(body)?, class);
        Ok(())
    }
}

/// Every queue but the dead letters.
fn names() -> impl Iterator<Item = String> {
    let fixed = ["incoming", "reports", "unrouted"].map(str::to_owned);
    let single = |backend| if backend == METERED { ".single" } else { "" };
    let outgoing = BACKENDS.map(|backend| format!("outgoing.{backend}{}", single(backend)));
    fixed.into_iter().chain(outgoing).chain(RUNGS.map(|rung| format!("retry.{rung}")))
}

/// The number of a message: its text is `echo N` on the way in and `N` on the way out.
fn number(body: &[u8]) -> Result<u64> {
    let message: serde_json::Value = serde_json::from_slice(body)?;
    let text = message["text"].as_str().context("a message without a text")?;
    text.trim_start_matches("echo ").parse().with_context(|| format!("the text {text:?}"))
}

/// What the torture has shown.
pub struct Report {
    /// The seed and the mode.
    pub(super) title: String,
    pub(super) told: Told,
    pub(super) found: Found,
    pub(super) calls: BTreeMap<u64, Calls>,
    /// How often each action was done.
    pub(super) actions: BTreeMap<&'static str, u32>,
    /// Everything else that was not as promised.
    pub(super) problems: Vec<String>,
    /// What the logs say of the lost ones.
    pub(super) traces: Vec<String>,
}

impl Report {
    /// Every accepted message that is nowhere: neither delivered, nor dead, nor in any queue.
    #[must_use]
    pub fn lost(&self) -> Vec<u64> {
        let waiting: BTreeSet<u64> = self.found.waiting.values().flatten().copied().collect();
        let seen = |number: &u64| {
            self.is_delivered(*number) || self.found.dead.contains_key(number) || waiting.contains(number)
        };
        self.told.accepted.iter().filter(|number| !seen(number)).copied().collect()
    }

    /// Whether every promise was kept.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.lost().is_empty() && self.problems.is_empty()
    }

    /// How many messages were accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.told.accepted.len()
    }

    fn is_delivered(&self, number: u64) -> bool {
        self.calls.get(&number).is_some_and(|calls| calls.delivered > 0)
    }

    /// Notes every message that a provider has taken twice, unless its backend is to send again what it may have taken.
    pub(super) fn expect_nothing_doubled(&mut self) {
        let cautious = |number: u64| backend_of(number) != RESENDING;
        let doubled = self.calls.iter().filter(|(number, calls)| calls.delivered > 1 && cautious(**number));
        self.problems
            .extend(doubled.map(|(number, calls)| format!("{number} was sent {} times", calls.delivered)));
    }

    /// Looks into what was collected for all that must not be.
    pub(super) fn examine(&mut self, slowest: Duration, logs: &Path) -> Result<()> {
        let mut problems = Vec::new();
        for (queue, left) in &self.found.waiting {
            problems.push(format!("{} messages are left in {queue}: {:?}", left.len(), first(left)));
        }
        // Nothing in the script is a reason for any other class; and `crashed` has one for a message here and there.
        let dead = || self.found.dead.iter().map(|(number, class)| (*number, class.as_str()));
        let is_expected = |number, class: &str| {
            class.ends_with("crashed") || class == "unknown" && backend_of(number) != RESENDING
        };
        for (number, class) in dead().filter(|(number, class)| !is_expected(*number, class)).take(SHOWN) {
            problems.push(format!("{number} is dead-lettered as {class}"));
        }
        if dead().filter(|(_, class)| class.ends_with("crashed")).count() > MOST_CRASHED {
            problems.push(format!("more than {MOST_CRASHED} are dead-lettered as crashed"));
        }
        for (number, calls) in self.calls.iter().filter(|(_, calls)| calls.keys.len() > 1) {
            problems.push(format!("{number} was sent under different keys: {:?}", calls.keys));
        }
        for (number, astray) in
            self.calls.iter().filter_map(|(number, calls)| Some((number, calls.astray.as_ref()?)))
        {
            problems.push(format!("{number} was sent {astray}"));
        }
        for (status, count) in &self.told.others {
            problems.push(format!("{count} requests were answered with {status}"));
        }
        if self.told.slowest > slowest {
            problems.push(format!("an answer took {:?}, more than {slowest:?}", self.told.slowest));
        }
        self.problems.append(&mut problems);
        for number in first(&self.lost()) {
            let last = self.calls.get(number).map_or("never called", |calls| calls.last);
            self.traces.push(format!("{number} (provider: {last})\n{}", trace(*number, logs)?));
        }
        Ok(())
    }
}

fn first(numbers: &[u64]) -> &[u64] {
    &numbers[..numbers.len().min(SHOWN)]
}

/// The last lines that any process has logged of a message.
fn trace(number: u64, logs: &Path) -> Result<String> {
    let mut lines = Vec::new();
    for entry in fs::read_dir(logs)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "log") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            lines.extend(text.lines().map(|line| (line.to_owned(), name.clone())));
        }
    }
    let texts = [format!("text=\"echo {number}\""), format!("text=\"{number}\"")];
    let named = lines.iter().filter(|(line, _)| texts.iter().any(|text| line.contains(text)));
    let ids: BTreeSet<&str> =
        named.filter_map(|(line, _)| line.split("message_id=").nth(1)?.split(' ').next()).collect();
    let mut about: Vec<String> = lines
        .iter()
        .filter(|(line, _)| ids.iter().any(|id| line.contains(id)))
        .map(|(line, name)| format!("    {line} [{name}]\n"))
        .collect();
    // Every line begins with its time.
    about.sort();
    Ok(about.split_off(about.len().saturating_sub(LINES)).concat())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, value: &dyn fmt::Display| writeln!(f, "{name:<24} {value}");
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        for class in self.found.dead.values() {
            *classes.entry(class).or_default() += 1;
        }
        let delivered = self.told.accepted.iter().filter(|number| self.is_delivered(**number)).count();
        let (accepted, dead) = (self.told.accepted.len(), self.found.dead.len());
        let twice = self.calls.values().map(|calls| calls.delivered.saturating_sub(1)).sum::<u32>();
        row("torture", &self.title)?;
        row("accepted", &accepted)?;
        row("delivered", &delivered)?;
        row("dead-lettered", &dead)?;
        for (class, count) in &classes {
            row(&format!("  {class}"), count)?;
        }
        row("duplicates", &twice)?;
        row("lost", &self.lost().len())?;
        row("slowest answer", &format_args!("{} ms", self.told.slowest.as_millis()))?;
        row("refused (503)", &self.told.refused)?;
        row("unanswered", &self.told.unanswered)?;
        for (name, count) in &self.actions {
            row(name, count)?;
        }
        for problem in &self.problems {
            row("PROBLEM", problem)?;
        }
        let lost = self.lost();
        if !lost.is_empty() {
            row("LOST", &format_args!("{lost:?}"))?;
        }
        self.traces.iter().try_for_each(|trace| row("last seen", trace))
    }
}
