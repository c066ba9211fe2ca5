//! A whole gateway under test, in each shape it is deployed in, and the check that it left nothing behind.

mod changes;

mod looks;

mod tools;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::{Broker, Queues, Service, broker, client::client, eventually};

/// How long anything that the gateway does may take on a machine that is busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The shapes in which the gateway is deployed; each passes the same end-to-end tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The two services on RabbitMQ, so many of each.
    Pair {
        /// How many ingress processes.
        ingress: usize,
        /// How many dispatcher processes.
        dispatchers: usize,
    },
    /// `gateway` on the embedded queue.
    Standalone,
    /// `gateway` on RabbitMQ.
    StandaloneOnRabbitMq,
}

/// A running gateway. [`Stack::finish`] or [`Stack::stop`] must end it: a test that forgets to look at what is left fails.
pub struct Stack {
    client: reqwest::Client,
    ingress: Vec<Service>,
    dispatchers: Vec<Service>,
    queues: Option<Queues>,
    shape: Shape,
    url: String,
    prefix: String,
    folder: TempDir,
    next: AtomicUsize,
    finished: bool,
}

/// A message that was left in a queue when the gateway had stopped.
#[derive(Debug)]
pub struct Left {
    /// Its routing key.
    pub route: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

/// What was left, by queue.
pub type Leftovers = BTreeMap<String, Vec<Left>>;

impl Stack {
    /// Starts the gateway with `config`, which says nothing of queues and listeners, and waits until all of it is ready.
    ///
    /// `backends` are the names in it. Every message of the queue is under a prefix of this test alone.
    pub async fn start(shape: Shape, config: &str, backends: &[&str]) -> Result<Self> {
        let broker = if shape == Shape::Standalone { None } else { Some(broker::shared_url()?) };
        Self::launch(shape, config, backends, broker).await
    }

    /// As [`Stack::start`], the pair on a broker of the test's own, which it may stop and kill.
    pub async fn start_on(broker: &Broker, config: &str, backends: &[&str]) -> Result<Self> {
        Self::launch(Shape::Pair { ingress: 1, dispatchers: 1 }, config, backends, Some(broker.url())).await
    }

    async fn launch(shape: Shape, config: &str, backends: &[&str], broker: Option<String>) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let prefix = format!("t{}", uuid::Uuid::new_v4().simple());
        let queues = match &broker {
            Some(url) => Some(Queues::connect(url, &prefix, backends, &["200ms"]).await?),
            None => None,
        };
        let url = broker.unwrap_or_else(|| "embedded:gateway.db".to_owned());
        let mut stack = Self {
            client: client()?,
            ingress: Vec::new(),
            dispatchers: Vec::new(),
            queues,
            shape,
            url,
            prefix,
            folder,
            next: AtomicUsize::new(0),
            finished: false,
        };
        stack.configure(config)?;
        stack.start_services().await?;
        Ok(stack)
    }

    fn configure(&self, config: &str) -> Result<()> {
        Ok(std::fs::write(self.config(), whole(config, &self.url, &self.prefix))?)
    }

    async fn start_services(&mut self) -> Result<()> {
        let file = self.config();
        match self.shape {
            Shape::Pair { ingress, dispatchers } => {
                for _ in 0..ingress {
                    self.ingress.push(Service::start("ingress", &[], &file, &[]).await?);
                }
                for _ in 0..dispatchers {
                    self.dispatchers.push(Service::start("dispatcher", &[], &file, &[]).await?);
                }
            }
            Shape::Standalone | Shape::StandaloneOnRabbitMq => {
                let url = self.embedded_url();
                self.ingress.push(Service::start("gateway", &[], &file, &env(url.as_deref())).await?);
            }
        }
        self.wait_ready().await
    }

    /// The URL of the embedded queue, which the file does not have: it is in the folder of the test.
    fn embedded_url(&self) -> Option<String> {
        let is_embedded = self.shape == Shape::Standalone;
        is_embedded.then(|| format!("embedded:{}", self.database().display()))
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("gateway.db")
    }

    /// All processes; the standalone is one of them.
    fn services(&self) -> impl Iterator<Item = &Service> {
        self.ingress.iter().chain(&self.dispatchers)
    }

    /// The processes that have engines in them.
    fn senders(&self) -> &[Service] {
        if self.dispatchers.is_empty() { &self.ingress } else { &self.dispatchers }
    }

    /// Waits until every process says that it is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        for service in self.services() {
            let url = service.admin_url("/health/ready");
            eventually("the process is ready", DEADLINE, async || {
                let answer = self.client.get(&url).send().await?;
                let status = answer.status();
                let text = answer.text().await?;
                if status.is_success() { Ok(()) } else { Err(anyhow!("{status}: {text}")) }
            })
            .await?;
        }
        Ok(())
    }

    /// The URL of `path` at one of the ingress processes, each in turn.
    pub fn url(&self, path: &str) -> Result<String> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.ingress.len();
        self.ingress[turn].ingress_url(path)
    }

    /// The URL of `path` at the private listener of one of the ingress processes, each in turn.
    #[must_use]
    pub fn private_url(&self, path: &str) -> String {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.ingress.len();
        self.ingress[turn].admin_url(path)
    }

    /// The URL of `path` at the private listener of each process that sends.
    #[must_use]
    pub fn admin_urls(&self, path: &str) -> Vec<String> {
        self.senders().iter().map(|service| service.admin_url(path)).collect()
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Posts a form and gives status and body.
    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Result<(u16, String)> {
        let answer = self.client.post(self.url(path)?).form(form).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Posts a message to the `httptester` endpoint that must be taken.
    pub async fn accept(&self, path: &str, identity: &str, text: &str) -> Result<()> {
        let answer = self.post(path, &[("identity", identity), ("text", text)]).await?;
        ensure!(answer == (200, "OK".to_owned()), "not accepted: {answer:?}");
        Ok(())
    }

    /// Freezes every process that sends.
    pub fn pause_senders(&mut self) -> Result<()> {
        self.dispatchers.iter_mut().try_for_each(Service::pause)
    }

    /// Lets the frozen processes go on.
    pub fn resume_senders(&mut self) -> Result<()> {
        self.dispatchers.iter_mut().try_for_each(Service::resume)
    }

    /// Kills every process that sends, as a crash would.
    pub fn kill_senders(&mut self) -> Result<()> {
        self.dispatchers.drain(..).try_for_each(|mut dispatcher| dispatcher.kill())
    }

    /// Starts one more dispatcher.
    pub async fn start_sender(&mut self) -> Result<()> {
        self.start_sender_of("dispatcher").await
    }

    /// Starts another program as a dispatcher.
    pub async fn start_sender_of(&mut self, program: &str) -> Result<()> {
        let dispatcher = self.start_program(program).await?;
        self.adopt_sender(dispatcher);
        self.wait_ready().await
    }

    /// Takes over what [`Stack::start_program`] has started.
    pub fn adopt_sender(&mut self, dispatcher: Service) {
        self.dispatchers.push(dispatcher);
    }

    /// Starts another program with the configuration of this gateway, which is the test's to stop.
    pub async fn start_program(&self, program: &str) -> Result<Service> {
        Service::start(program, &[], &self.config(), &[]).await
    }

    /// Connects anew to a broker that was restarted.
    pub async fn reconnect(&mut self, broker: &Broker, backends: &[&str]) -> Result<()> {
        let prefix = self.queues()?.prefix().to_owned();
        self.queues = Some(Queues::connect(&broker.url(), &prefix, backends, &["200ms"]).await?);
        Ok(())
    }

    /// What lies in the broker, for tests that have one.
    pub fn queues(&self) -> Result<&Queues> {
        self.queues.as_ref().context("this shape has no broker")
    }

    /// Stops every process as an operator would; each must end well within its drain deadline.
    pub async fn stop(mut self) -> Result<Leftovers> {
        let codes = self.terminate().await?;
        ensure!(codes.iter().all(|code| *code == 0), "the processes ended with {codes:?} instead of 0");
        self.leftovers().await
    }

    /// Stops every process while a message of `queue` cannot be finished: its process gives up at the drain deadline.
    pub async fn stop_unfinished(mut self, queue: &str) -> Result<Leftovers> {
        let codes = self.terminate().await?;
        ensure!(codes.iter().filter(|code| **code == 75).count() == 1, "the processes ended with {codes:?}");
        if let Some(queues) = &self.queues {
            // The broker takes it back when it sees that the connection is gone.
            queues.wait_depth(queue, 1, DEADLINE).await?;
        }
        self.leftovers().await
    }

    /// In the order of a rolling restart: what takes messages in first.
    async fn terminate(&mut self) -> Result<Vec<i32>> {
        self.finished = true;
        let mut codes = Vec::new();
        for service in self.ingress.iter_mut().chain(&mut self.dispatchers) {
            service.terminate()?;
        }
        for service in self.ingress.iter_mut().chain(&mut self.dispatchers) {
            codes.push(service.wait_exit(DEADLINE).await?);
        }
        Ok(codes)
    }

    async fn leftovers(&self) -> Result<Leftovers> {
        let Some(queues) = &self.queues else { return left_in_database(&self.database()) };
        let mut left = Leftovers::new();
        for (queue, _) in queues.depths().await?.into_iter().filter(|(_, depth)| *depth > 0) {
            let taken = queues.take_all(&queue).await?.into_iter();
            let taken = taken.map(|taken| Left {
                route: taken.routing_key,
                headers: taken.headers,
                body: taken.body,
            });
            left.insert(queue, taken.collect());
        }
        queues.delete_everything().await?;
        Ok(left)
    }

    /// Waits until `count` messages are dead-lettered.
    pub async fn wait_dead(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} messages are dead-lettered"), DEADLINE, async || {
            let dead = match &self.queues {
                Some(queues) => queues.depth("dead").await?.unwrap_or(0) as usize,
                None => left_in_database(&self.database())?.get("dead").map_or(0, Vec::len),
            };
            if dead == count { Ok(()) } else { Err(anyhow!("dead letters: {dead}")) }
        })
        .await
    }

    /// Waits until `count` messages are dead-lettered, then stops every process.
    pub async fn wait_dead_and_stop(self, count: usize) -> Result<Leftovers> {
        self.wait_dead(count).await?;
        self.stop().await
    }

    /// Stops every process; fails when a message is left in any queue.
    pub async fn finish(self) -> Result<()> {
        let left = self.stop().await?;
        ensure!(left.is_empty(), "messages that no test claimed were left: {left:?}");
        Ok(())
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        assert!(
            self.finished || std::thread::panicking(),
            "the test ended without Stack::finish or Stack::stop (or with the error above)"
        );
    }
}

/// What a process is told beside its file.
fn env(queue_url: Option<&str>) -> Vec<(&str, &str)> {
    queue_url.into_iter().map(|url| ("GATEWAY__QUEUE__URL", url)).collect()
}

/// `config` with its queue and its listeners.
fn whole(config: &str, url: &str, prefix: &str) -> String {
    let mut text = String::from(config);
    // Tables come after the keys and tables of the test, so a test may start with keys of the root.
    write!(text, "\n[queue]\nurl = {url:?}\nprefix = {prefix:?}\nretry = [\"200ms\"]\nmax_attempts = 3\n")
        .ok();
    for (table, keys) in [
        ("[ingress]", "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\""),
        ("[dispatcher]", "admin_listen = \"127.0.0.1:0\""),
        ("[logging]", "show_messages = true"),
    ] {
        if !config.contains(table) {
            writeln!(text, "{table}\n{keys}").ok();
        }
    }
    text
}

pub(crate) fn left_in_database(file: &Path) -> Result<Leftovers> {
    let database = rusqlite::Connection::open(file)?;
    let mut rows = database.prepare("SELECT queue, route, headers, body FROM messages ORDER BY seq")?;
    let mut left = Leftovers::new();
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let headers: String = row.get(2)?;
        let message =
            Left { route: row.get(1)?, headers: serde_json::from_str(&headers)?, body: row.get(3)? };
        left.entry(row.get(0)?).or_default().push(message);
    }
    Ok(left)
}
