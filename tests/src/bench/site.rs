//! [`Site`]: what differs between set-ups; [`Running`]: a subject that was started with one, its processes and its load.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::client::client;
use crate::{Broker, Queues, Service, ports};

use super::case::{Measure, Part, Subject, Values};
use super::fill::{fill, fill_prototype};
use super::load::Load;
use super::meter::Meter;
use super::sink::Sink;

/// How long a start, a stop, or the end of what was posted may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// How long is posted or consumed before it is measured.
pub(super) const WARM: Duration = Duration::from_secs(1);

/// How often it is looked whether a process is ready.
const LOOK: Duration = Duration::from_millis(2);

/// A provider that is away: nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1/";

/// How a subject is set up.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) subject: Subject,
    /// The provider of all backends. Without one, messages are only taken in.
    pub(super) sink: Option<&'a Sink>,
    /// How long it takes to answer.
    pub(super) delay: Duration,
    pub(super) backends: usize,
    /// How long the last backend's own provider takes, where it has one, whose messages are not counted.
    pub(super) aside: Option<Duration>,
    /// Of each backend, and as much is prefetched.
    pub(super) concurrency: u16,
    pub(super) dispatchers: usize,
    /// How many messages are waiting when the first process starts.
    pub(super) waiting: u64,
}

impl<'a> Site<'a> {
    /// Takes messages in, and nobody consumes them.
    pub(super) fn intake(subject: Subject) -> Self {
        Site {
            subject,
            sink: None,
            delay: Duration::ZERO,
            backends: 1,
            aside: None,
            concurrency: 300,
            dispatchers: 0,
            waiting: 0,
        }
    }

    /// Takes messages in and sends the replies.
    pub(super) fn whole(subject: Subject, sink: &'a Sink) -> Self {
        Site { sink: Some(sink), dispatchers: 1, ..Site::intake(subject) }
    }

    fn is_ours(&self) -> bool {
        matches!(self.subject, Subject::Pair | Subject::Standalone)
    }

    fn has_broker(&self) -> bool {
        matches!(self.subject, Subject::Confirms | Subject::Prototype | Subject::Pair)
    }

    fn names(&self) -> Vec<String> {
        (0..self.backends).map(|number| format!("b{number}")).collect()
    }

    /// The configuration of the gateway, with every promise as it is by default.
    fn configuration(&self, queue: &str, prefix: &str, ports: Ports) -> Result<String> {
        let mut text = format!(
            "[queue]\nurl = '{queue}'\nprefix = '{prefix}'\n[ingress]\nlisten = '127.0.0.1:0'\n\
             admin_listen = '127.0.0.1:{}'\n[dispatcher]\nadmin_listen = '127.0.0.1:{}'\n[logging]\nlevel = 'warn'\n\
             [[apps]]\napp = 'echo'\n",
            ports.ingress, ports.dispatcher
        );
        for (number, name) in (1..).zip(self.names()) {
            let aside = self.aside.filter(|_| number == self.backends);
            let url = self.sink.map_or_else(
                || NOWHERE.to_owned(),
                |sink| sink.url(aside.is_none(), aside.unwrap_or(self.delay)),
            );
            write!(
                text,
                "[backends.{name}]\nengine = 'http'\nurl = '{url}'\nform = {{ to = '{{identity}}', text = '{{text}}' }}\n\
                 concurrency = {}\n[[endpoints]]\nbackend = '{name}'\n",
                self.concurrency
            )?;
        }
        Ok(text)
    }
}

/// The ports of the private pages, known before a process starts, so that it can be asked from its first moment.
#[derive(Clone, Copy)]
struct Ports {
    ingress: u16,
    dispatcher: u16,
}

/// A subject that runs: its processes end with it.
pub(super) struct Running {
    /// Takes messages.
    front: Service,
    backs: Vec<Service>,
    /// The parts of both, how long each took until it was ready.
    ready: Values,
    subject: Subject,
    names: Vec<String>,
    is_ours: bool,
    broker: Option<u32>,
    url: String,
    prefix: String,
    sink_url: String,
    tasks: u16,
    ports: Ports,
    folder: TempDir,
}

impl Running {
    pub(super) async fn start(site: &Site<'_>, broker: &Broker) -> Result<Self> {
        let (url, folder) = (broker.url(), tempfile::Builder::new().prefix("bench-").tempdir()?);
        let prefix = format!("b{}", uuid::Uuid::new_v4().simple());
        let ports = Ports { ingress: ports::free()?, dispatcher: ports::free()? };
        let queue = if site.subject == Subject::Standalone {
            format!("embedded:{}", folder.path().join("gateway.db").display())
        } else {
            url.clone()
        };
        let text = site.configuration(&queue, &prefix, ports)?;
        fs::write(folder.path().join("gateway.toml"), &text)?;
        if site.subject == Subject::Prototype {
            fill_prototype(&url, &prefix, site.waiting).await?;
        } else {
            fill(&text, site.waiting).await?;
        }
        let sink_url = site.sink.map(|sink| sink.url(true, site.delay)).unwrap_or_default();
        let (subject, tasks) = (site.subject, site.concurrency);
        let start = Start { subject, folder: folder.path(), url: &url, prefix: &prefix, tasks, ports };
        let (front, took) = start.front().await?;
        let mut running = Self {
            front,
            backs: Vec::new(),
            ready: Values::from([(Measure::ReadyMs(front_part(subject)), took)]),
            subject,
            names: site.names(),
            is_ours: site.is_ours(),
            broker: site.has_broker().then(|| broker.process_ids()[0]),
            url,
            prefix,
            sink_url,
            tasks,
            ports,
            folder,
        };
        if site.subject != Subject::Standalone {
            running.dispatch(site.dispatchers).await?;
        }
        Ok(running)
    }

    fn starting(&self) -> Start<'_> {
        let Self { subject, folder, url, prefix, tasks, ports, .. } = self;
        Start { subject: *subject, folder: folder.path(), url, prefix, tasks: *tasks, ports: *ports }
    }

    /// Starts dispatchers beside those that run.
    pub(super) async fn dispatch(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let (back, took) = self.starting().back(&self.sink_url, self.backs.is_empty()).await?;
            self.ready.entry(Measure::ReadyMs(Part::Dispatcher)).or_insert(took);
            self.backs.push(back);
        }
        Ok(())
    }

    /// Stops all, and starts one of each again, on queues that exist.
    pub(super) async fn restart(&mut self) -> Result<Values> {
        self.stop_dispatchers().await?;
        self.front.terminate()?;
        self.front.wait_exit(DEADLINE).await?;
        self.ready.clear();
        let (front, took) = self.starting().front().await?;
        self.front = front;
        self.ready.insert(Measure::ReadyMs(front_part(self.subject)), took);
        self.dispatch(1).await?;
        Ok(self.ready.clone())
    }

    /// Stops the dispatchers, in good order.
    pub(super) async fn stop_dispatchers(&mut self) -> Result<()> {
        for mut back in self.backs.drain(..) {
            if self.is_ours {
                back.terminate()?;
                back.wait_exit(DEADLINE).await?;
            }
        }
        Ok(())
    }

    /// A load over all backends in turn.
    pub(super) fn load(&self, connections: usize) -> Result<Load> {
        let path = |name: &String| {
            if self.is_ours { format!("/backends/{name}/") } else { "/".to_owned() }
        };
        let paths = self.names.iter().map(path).collect();
        Ok(Load { address: self.front.ingress_address()?, paths, connections, characters: 0 })
    }

    /// The URL of a page of the process that takes messages.
    pub(super) fn admin_url(&self, path: &str) -> String {
        self.front.admin_url(path)
    }

    pub(super) fn meter(&self) -> Result<Meter> {
        let backs = self.backs.iter().map(|back| (Part::Dispatcher, back.id()));
        let front = (front_part(self.subject), self.front.id());
        let broker = self.broker.map(|id| (Part::Broker, id));
        Meter::start(&[front].into_iter().chain(backs).chain(broker).collect::<Vec<_>>())
    }

    /// Takes its queues away, with what nobody has consumed.
    pub(super) async fn clear(self) -> Result<()> {
        let (url, prefix, names) = (self.url.clone(), self.prefix.clone(), self.names.clone());
        let (broker, is_ours) = (self.broker, self.is_ours);
        drop(self);
        if broker.is_none() {
            return Ok(());
        }
        if is_ours {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let queues = Queues::connect(&url, &prefix, &names, &["5s", "30s", "5m", "30m"]).await?;
            return queues.delete_everything().await;
        }
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for queue in [prefix.clone(), format!("{prefix}.replies")] {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        Ok(connection.close(200, "done".into()).await?)
    }
}

fn front_part(subject: Subject) -> Part {
    if subject == Subject::Standalone { Part::Gateway } else { Part::Ingress }
}

/// What the start of a process needs.
struct Start<'a> {
    subject: Subject,
    folder: &'a Path,
    url: &'a str,
    prefix: &'a str,
    /// Of what publishes by itself.
    tasks: u16,
    ports: Ports,
}

impl Start<'_> {
    /// The process that takes messages, and how many milliseconds it took until it was ready.
    async fn front(&self) -> Result<(Service, f64)> {
        match self.subject {
            Subject::Form => self.floor(&["form"]).await,
            Subject::Confirms => {
                self.floor(&["confirms", self.url, self.prefix, &self.tasks.to_string()]).await
            }
            Subject::Prototype => self.floor(&["ingress", self.url, self.prefix]).await,
            Subject::Pair => self.ours("ingress", Some(self.ports.ingress)).await,
            Subject::Standalone => self.ours("gateway", Some(self.ports.ingress)).await,
            Subject::Router => bail!("the router is no process"),
        }
    }

    /// One that consumes. Only the first can have the port that is written.
    async fn back(&self, sink_url: &str, is_first: bool) -> Result<(Service, f64)> {
        if self.subject == Subject::Prototype {
            return self.floor(&["pipeline", self.url, self.prefix, sink_url]).await;
        }
        self.ours("dispatcher", is_first.then_some(self.ports.dispatcher)).await
    }

    async fn floor(&self, args: &[&str]) -> Result<(Service, f64)> {
        let begun = Instant::now();
        let service = Service::start_bare("floor", args).await?;
        Ok((service, begun.elapsed().as_secs_f64() * 1000.0))
    }

    async fn ours(&self, program: &str, port: Option<u16>) -> Result<(Service, f64)> {
        let (log, mut file) = (self.folder.join("log"), self.folder.join("gateway.toml"));
        if port.is_none() {
            file = self.copy_with_any_port(&file)?;
        }
        let begun = Instant::now();
        let started = Service::start_logging_to(&log, program, &file);
        let Some(port) = port else {
            let service = started.await?;
            wait_ready(&service.admin_url("/health/ready")).await?;
            return Ok((service, 0.0));
        };
        let url = format!("http://127.0.0.1:{port}/health/ready");
        let ready = async {
            wait_ready(&url).await?;
            anyhow::Ok(begun.elapsed().as_secs_f64() * 1000.0)
        };
        Ok(tokio::try_join!(started, ready)?)
    }

    fn copy_with_any_port(&self, file: &Path) -> Result<PathBuf> {
        let (copy, port) = (self.folder.join("another.toml"), self.ports.dispatcher);
        fs::write(&copy, fs::read_to_string(file)?.replace(&format!(":{port}'"), ":0'"))?;
        Ok(copy)
    }
}

async fn wait_ready(url: &str) -> Result<()> {
    let client = client()?;
    let ready = async {
        while !client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            sleep(LOOK).await;
        }
    };
    Ok(timeout(DEADLINE, ready).await?)
}
