//! What can be seen of a gateway from outside: what it has sent, logged, counted, and what it says of its health.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use shared::metric;

use super::{DEADLINE, Stack};
use crate::{Service, eventually};

impl Stack {
    /// What a `httptester` backend has sent to `identity`, over all processes, oldest first.
    pub async fn sent(&self, backend: &str, identity: &str) -> Result<Vec<String>> {
        let mut all: Vec<(u64, String)> = Vec::new();
        for url in self.admin_urls(&format!("/httptester/{backend}")) {
            let page: Value =
                self.client.get(url).query(&[("identity", identity)]).send().await?.json().await?;
            for message in page["messages"].as_array().context("no messages in the page")? {
                let text = message["text"].as_str().context("no text")?;
                all.push((message["at"].as_u64().context("no time")?, text.to_owned()));
            }
        }
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, text)| text).collect())
    }

    /// Waits until `httptester` backend has sent exactly `texts` to `identity`.
    pub async fn expect_sent(&self, backend: &str, identity: &str, texts: &[&str]) -> Result<()> {
        eventually(&format!("{texts:?} is sent to {identity}"), DEADLINE, async || {
            let sent = self.sent(backend, identity).await?;
            if sent == texts { Ok(()) } else { Err(anyhow!("sent: {sent:?}")) }
        })
        .await
    }

    /// Waits until a process that sends has logged `text`.
    pub async fn expect_logged(&self, text: &str) -> Result<()> {
        eventually(&format!("{text:?} is logged"), DEADLINE, async || {
            let mut lines = self.senders().iter().flat_map(Service::stderr);
            if lines.any(|line| line.contains(text)) { Ok(()) } else { Err(anyhow!("it is not")) }
        })
        .await
    }

    /// Waits until every process has logged `text`.
    pub async fn expect_all_log(&self, text: &str) -> Result<()> {
        eventually(&format!("everybody logs {text:?}"), DEADLINE, async || {
            let has = |service: &Service| service.stderr().iter().any(|line| line.contains(text));
            let silent: Vec<u32> = self.services().filter(|service| !has(service)).map(Service::id).collect();
            if silent.is_empty() { Ok(()) } else { Err(anyhow!("not yet: {silent:?}")) }
        })
        .await
    }

    /// What the health page of a process that sends says, and with which status.
    pub async fn ready_page(&self) -> Result<(u16, Value)> {
        let [url, ..] = &self.admin_urls("/health/ready")[..] else { bail!("nobody sends") };
        let answer = self.client.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Waits until the health page at `url` says that the process is not ready because of `check`.
    pub async fn wait_unready(&self, url: &str, check: &str) -> Result<()> {
        eventually(&format!("{url} says that {check:?} is not well"), DEADLINE, async || {
            let answer = self.client.get(url).send().await?;
            let (status, page) = (answer.status().as_u16(), answer.json::<Value>().await?);
            let mut checks = page["checks"].as_array().into_iter().flatten();
            let is_told = checks.any(|told| told["name"] == check && told["ok"] == false);
            if status == 503 && is_told { Ok(()) } else { Err(anyhow!("{status}: {page}")) }
        })
        .await
    }

    /// The sum of a metric over all processes that send; each must have it. `labels` is a part of its line.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let mut sum = 0.0;
        for url in self.admin_urls("/metrics") {
            let text = self.client.get(url).send().await?.text().await?;
            let mut lines = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
            let line = lines.next().with_context(|| format!("no metric {name} {labels}"))?;
            sum += line.rsplit(' ').next().context("no value")?.parse::<f64>()?;
        }
        Ok(sum)
    }

    /// Waits until nothing is in a queue of the broker, and no process holds a message of it.
    pub async fn wait_settled(&self, queue: &str) -> Result<()> {
        eventually(&format!("all of {queue} is settled"), DEADLINE, async || {
            // First: what is handed out between the two looks is held at the second.
            let waiting = self.queues()?.depth(queue).await?;
            let held = self.metric(metric::IN_FLIGHT, &format!("queue=\"{queue}\"")).await?;
            if waiting == Some(0) && held < 0.1 {
                Ok(())
            } else {
                Err(anyhow!("{waiting:?} wait, {held} held"))
            }
        })
        .await
    }

    /// How much memory of the machine the processes that send occupy, in KiB.
    pub fn senders_kib(&self) -> Result<u64> {
        self.senders().iter().map(Service::resident_kib).sum()
    }

    /// The sum of a counter over all processes that take requests; one that has counted nothing does not have it. `series` is
    /// its name with all its labels.
    pub async fn counted(&self, series: &str) -> Result<u64> {
        let mut sum = 0;
        for service in &self.ingress {
            let text = self.client.get(service.admin_url("/metrics")).send().await?.text().await?;
            let values =
                text.lines().filter_map(|line| line.strip_prefix(series)?.trim().parse::<u64>().ok());
            sum += values.sum::<u64>();
        }
        Ok(sum)
    }

    /// Everything that was logged so far.
    #[must_use]
    pub fn logged(&self) -> String {
        self.services().flat_map(Service::stderr).collect::<Vec<_>>().join("\n")
    }
}
