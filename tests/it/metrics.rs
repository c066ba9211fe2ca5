//! What is watched: every metric is served as it is described, and each name in the dashboard and the alerts is one that
//! somebody serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::{
    Broker, Provider, eventually,
    provider::Answer,
    stack::{DEADLINE, Stack},
};
use regex::Regex;
use serde_json::{Value, json};
use shared::metric::{self, Kind, Metric};

/// A file of the repository.
fn file(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What a page of metrics has: the lines about each name, and the labels of its series.
#[derive(Debug, Default)]
struct Page {
    help: BTreeMap<String, String>,
    kinds: BTreeMap<String, String>,
    series: BTreeMap<String, BTreeSet<String>>,
}

impl Page {
    fn read(text: &str) -> Result<Self> {
        let (series, label) = (Regex::new(r"^(\w+)(?:\{(.*)\})? \S+$")?, Regex::new(r#"(\w+)=""#)?);
        let mut page = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                page.help.insert(name.to_owned(), help.to_owned());
            } else if let Some((name, kind)) =
                line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
            {
                page.kinds.insert(name.to_owned(), kind.to_owned());
            } else {
                let parts = series.captures(line).with_context(|| line.to_owned())?;
                let labels = label.captures_iter(parts.get(2).map_or("", |labels| labels.as_str()));
                let labels = labels.map(|label| label[1].to_owned()).filter(|label| label != "le");
                page.series.entry(parts[1].to_owned()).or_default().extend(labels);
            }
        }
        Ok(page)
    }

    fn add(&mut self, other: Self) {
        self.help.extend(other.help);
        self.kinds.extend(other.kinds);
        for (name, labels) in other.series {
            self.series.entry(name).or_default().extend(labels);
        }
    }

    /// The labels of a metric; nothing when it has no series.
    fn labels(&self, name: &str, kind: Kind) -> Option<&BTreeSet<String>> {
        let suffix = if kind == Kind::Histogram { "_bucket" } else { "" };
        self.series.get(&format!("{name}{suffix}"))
    }
}

async fn read_pages(stack: &Stack, urls: &[String]) -> Result<Page> {
    let mut all = Page::default();
    for url in urls {
        let text = stack.client().get(url).send().await?.error_for_status()?.text().await?;
        all.add(Page::read(&text)?);
    }
    Ok(all)
}

/// The names of metrics in the expressions of the dashboard and of the alerts.
fn shown() -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let name = Regex::new(r"\b(?:gateway|rabbitmq)_[a-z_]+")?;
    let names = |texts: &str| name.find_iter(texts).map(|name| name.as_str().to_owned()).collect();
    let dashboard: Value = serde_json::from_str(&file("deploy/monitoring/dashboard.json")?)?;
    let panels = dashboard["panels"].as_array().context("no panels")?.iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions: Vec<&str> = targets.filter_map(|target| target["expr"].as_str()).collect();
    Ok((names(&expressions.join("\n")), names(&file("deploy/monitoring/alerts.yml")?)))
}

/// The page of RabbitMQ's queues, as Prometheus asks for it.
fn detailed() -> Result<String> {
    let asked = file("deploy/monitoring/prometheus.yml")?;
    let page = Regex::new(r"metrics_path: (\S+)\s+params: \{ family: \[(.*)\] \}")?;
    let page = page.captures(&asked).context("RabbitMQ is not asked for its queues")?;
    let families = page[2].split(", ").map(|family| format!("family={family}"));
    Ok(format!("{}?{}", &page[1], families.collect::<Vec<_>>().join("&")))
}

/// A pair with everything that counts something, after a message for each of it.
async fn busy(broker: &Broker, provider: &Provider) -> Result<Stack> {
    let config = format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\n\
         json = {{ to = '{{identity}}', msg = '{{text}}', ref = '{{reference}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n\
         [[reports]]\nbackend = 'p'\nparams = {{ reference = 'ref', state = 'status' }}\nstates = {{ ok = 'delivered' }}\n\
         [[apps]]\napp = 'webhook'\nurl = 'http://127.0.0.1:1/'\non_error = 'ignore'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send"),
    );
    provider.behave_once(Answer::new(500, ""));
    provider.behave_once(Answer::new(400, ""));
    let stack = Stack::start_on(broker, &config, &["p"]).await?;
    for text in ["echo one", "echo two"] {
        stack.accept("/backends/p/", "1", text).await?;
    }
    let refused = stack.post("/backends/p/", &[("identity", "1")]).await?;
    ensure!(refused.0 == 400, "{refused:?}");
    let submission = json!({ "backend": "p", "to": ["2"], "text": "three" });
    let submitted = stack.client().post(stack.private_url("/api/v1/messages")).json(&submission).send();
    submitted.await?.error_for_status()?;
    let sent = provider.wait_for(4, DEADLINE).await?.remove(3).json()?;
    let reference = sent["ref"].as_str().context("no reference")?;
    let reported = stack.post("/backends/p/report/", &[("ref", reference), ("status", "ok")]).await?;
    ensure!(reported.0 == 200, "{reported:?}");
    stack.wait_dead(1).await?;
    Ok(stack)
}

/// The page of all processes together, once each metric has a series.
async fn served(stack: &Stack) -> Result<Page> {
    let mut urls = stack.admin_urls("/metrics");
    urls.push(stack.private_url("/metrics"));
    eventually("every metric has a series", DEADLINE, async || {
        let page = read_pages(stack, &urls).await?;
        let absent = metric::ALL.iter().filter(|metric| page.labels(metric.name, metric.kind).is_none());
        let absent: Vec<&str> = absent.map(|metric| metric.name).collect();
        if absent.is_empty() { Ok(page) } else { Err(anyhow!("missing: {absent:?}")) }
    })
    .await
}

/// The cells of a metric's row in the documentation: its name, kind, labels, and what it says.
fn documented<'d>(documentation: &'d str, name: &str) -> Result<Vec<&'d str>> {
    let row = documentation.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
    let row = row.with_context(|| format!("docs/metrics.md has no row for {name}"))?;
    Ok(row.trim_matches('|').split('|').map(str::trim).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_is_served_documented_and_shown_and_no_other_is_asked_for() -> Result<()> {
    let (broker, provider) = (Broker::start_with_metrics().await?, Provider::start()?);
    let stack = busy(&broker, &provider).await?;
    let (served, documentation) = (served(&stack).await?, file("docs/metrics.md")?);
    let (dashboard, alerts) = shown()?;
    for Metric { name, kind, help } in metric::ALL {
        let kind_name = format!("{kind:?}").to_lowercase();
        assert_eq!((&*served.help[*name], &*served.kinds[*name]), (*help, &*kind_name), "{name}");
        let cells = documented(&documentation, name)?;
        assert_eq!((cells[1], cells[3]), (&*kind_name, *help), "{name}");
        let labels = cells[2].split(", ").map(|cell| cell.trim_matches('`').to_owned());
        let labels = labels.filter(|label| !label.is_empty()).collect();
        assert_eq!(served.labels(name, *kind), Some(&labels), "{name}");
        let series = if *kind == Kind::Histogram { format!("{name}_bucket") } else { (*name).to_owned() };
        assert!(dashboard.contains(&series), "{name} is not in the dashboard");
    }
    let is_known = |name: &&String| metric::ALL.iter().any(|metric| metric.name == **name);
    let undescribed: Vec<&String> = served.kinds.keys().filter(|name| !is_known(name)).collect();
    assert!(undescribed.is_empty(), "served and not described: {undescribed:?}");

    let of_rabbitmq = [broker.metrics_url("/metrics")?, broker.metrics_url(&detailed()?)?];
    // It counts what is in its queues every five seconds.
    eventually("whatever is asked for is served", DEADLINE, async || {
        let others = read_pages(&stack, &of_rabbitmq).await?;
        let is_served =
            |name: &&String| [&served, &others].iter().any(|page| page.series.contains_key(*name));
        let unknown: Vec<&String> = dashboard.union(&alerts).filter(|name| !is_served(name)).collect();
        if unknown.is_empty() { Ok(()) } else { Err(anyhow!("asked for and not served: {unknown:?}")) }
    })
    .await?;
    stack.stop().await?;
    Ok(())
}

#[test]
fn every_alert_has_its_page_in_the_runbook() -> Result<()> {
    let (alerts, runbook) = (file("deploy/monitoring/alerts.yml")?, file("docs/runbook.md")?);
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(names.len(), 5);
    for name in &names {
        assert!(runbook.contains(&format!("\n## {name}\n")), "no page for {name}");
        assert!(alerts.contains(&format!("runbook: docs/runbook.md#{}\n", name.to_lowercase())), "{name}");
    }
    let summaries = alerts.lines().filter(|line| line.trim_start().starts_with("summary: "));
    assert_eq!(summaries.count(), names.len());
    Ok(())
}
