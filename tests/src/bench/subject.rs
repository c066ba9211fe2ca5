//! What is measured, how it is started, and one measurement of it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;

use crate::client::client;
use crate::{Broker, Queues, Service, eventually};

use super::load::{Load, post};
use super::meter::{Costs, Meter, float};
use super::{Measurement, report::Kind};

/// How long a start, or the end of what was posted, may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// How long is posted before it is measured.
const WARM: Duration = Duration::from_millis(1500);

/// How many connections post what is turned round.
const CONNECTIONS: usize = 64;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The floor without a queue.
    Form,
    /// The floor of each service.
    Prototype,
    /// `ingress` and `dispatcher`.
    Pair,
    /// `gateway` on its file.
    Standalone,
}

/// A subject that runs: its processes end with it.
struct Running {
    /// Takes messages, and tells whether it is ready.
    front: Service,
    back: Option<Service>,
    path: &'static str,
    broker: Option<u32>,
    url: String,
    prefix: String,
    _folder: TempDir,
}

impl Running {
    async fn start(subject: Subject, broker: &Broker, sink: Option<&Service>) -> Result<Self> {
        let (url, folder) = (broker.url(), tempfile::Builder::new().prefix("bench-").tempdir()?);
        let prefix = format!("b{}", uuid::Uuid::new_v4().simple());
        let sink_url = sink.map(|sink| sink.ingress_url("/")).transpose()?;
        let file = configure(subject, &folder, &url, &prefix, sink_url.as_deref())?;
        let (log, mut back) = (folder.path().join("log"), None);
        let front = match subject {
            Subject::Form => Service::start_bare("floor", &["form"]).await?,
            Subject::Prototype => {
                if let Some(sink) = &sink_url {
                    back = Some(Service::start_bare("floor", &["pipeline", &url, &prefix, sink]).await?);
                }
                Service::start_bare("floor", &["ingress", &url, &prefix]).await?
            }
            Subject::Pair => {
                if sink.is_some() {
                    back = Some(Service::start_logging_to(&log, "dispatcher", &file).await?);
                }
                Service::start_logging_to(&log, "ingress", &file).await?
            }
            Subject::Standalone => Service::start_logging_to(&log, "gateway", &file).await?,
        };
        let is_ours = matches!(subject, Subject::Pair | Subject::Standalone);
        for service in [Some(&front), back.as_ref()].into_iter().flatten().filter(|_| is_ours) {
            wait_ready(service).await?;
        }
        let has_broker = matches!(subject, Subject::Prototype | Subject::Pair);
        let broker = has_broker.then(|| broker.process_ids()[0]);
        let path = if is_ours { "/backends/p/" } else { "/" };
        Ok(Self { front, back, path, broker, url, prefix, _folder: folder })
    }

    async fn post(&self, connections: usize, time: Duration, most: u64) -> Result<Load> {
        post(self.front.ingress_address()?, self.path, connections, time, most).await
    }

    fn processes(&self) -> Vec<u32> {
        [Some(&self.front), self.back.as_ref()].into_iter().flatten().map(Service::id).collect()
    }

    /// Takes its queues away, with what nobody has consumed.
    async fn clear(self) -> Result<()> {
        let (url, prefix) = (self.url.clone(), self.prefix.clone());
        if self.broker.is_none() {
            return Ok(());
        }
        drop(self);
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        for queue in [prefix.clone(), format!("{prefix}.replies")] {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        connection.close(200, "done".into()).await?;
        Queues::connect(&url, &prefix, &["p"], &["5s", "30s", "5m", "30m"]).await?.delete_everything().await
    }
}

/// The configuration of the gateway, with every promise as it is by default.
fn configure(
    subject: Subject,
    folder: &TempDir,
    url: &str,
    prefix: &str,
    sink: Option<&str>,
) -> Result<PathBuf> {
    let file = folder.path().join("gateway.toml");
    let queue = if subject == Subject::Standalone {
        format!("embedded:{}", folder.path().join("gateway.db").display())
    } else {
        url.to_owned()
    };
    let sink = sink.unwrap_or("http://127.0.0.1:1/");
    let text = format!(
        "[queue]\nurl = '{queue}'\nprefix = '{prefix}'\n[ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n\
         [dispatcher]\nadmin_listen = '127.0.0.1:0'\n[logging]\nlevel = 'warn'\n\
         [backends.p]\nengine = 'http'\nurl = '{sink}'\nform = {{ to = '{{identity}}', text = '{{text}}' }}\n\
         concurrency = 300\n[[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n"
    );
    fs::write(&file, text)?;
    Ok(file)
}

async fn wait_ready(service: &Service) -> Result<()> {
    let (client, url) = (client()?, service.admin_url("/health/ready"));
    eventually("it is ready", DEADLINE, async || client.get(&url).send().await?.error_for_status().map(drop))
        .await
}

/// How many it accepts a second, with nobody who consumes.
pub(super) async fn measure_accepts(
    subject: Subject,
    broker: &Broker,
    connections: usize,
    time: Duration,
) -> Result<Measurement> {
    let running = Running::start(subject, broker, None).await?;
    running.post(connections, WARM, u64::MAX).await?;
    let own = Meter::start(&running.processes())?;
    let brokers = Meter::start(running.broker.as_slice())?;
    let load = running.post(connections, time, u64::MAX).await?;
    let kind = Kind::Accepts { connections };
    let costs =
        Costs { own: own.micros()?, broker: brokers.micros()?, resident_kib: running.front.resident_kib()? };
    let measured = Measurement::new(subject, kind, &load, load.per_second(), &costs);
    running.clear().await?;
    Ok(measured)
}

/// How many it turns round a second: from the first request until the sink has the last reply.
pub(super) async fn measure_round_trips(
    subject: Subject,
    broker: &Broker,
    count: u64,
) -> Result<Measurement> {
    let sink = Service::start_bare("floor", &["sink"]).await?;
    let running = Running::start(subject, broker, Some(&sink)).await?;
    let (client, url) = (client()?, sink.admin_url("/count"));
    let arrived = async |count: u64| {
        eventually("every reply has arrived", DEADLINE, async || {
            let seen: u64 = client.get(&url).send().await?.text().await?.parse()?;
            if seen >= count { Ok(()) } else { Err(anyhow!("{seen} of {count}")) }
        })
        .await
    };
    let warm = running.post(CONNECTIONS, DEADLINE, count / 10).await?;
    arrived(warm.accepted).await?;
    let (own, brokers) = (Meter::start(&running.processes())?, Meter::start(running.broker.as_slice())?);
    let begun = Instant::now();
    let load = running.post(CONNECTIONS, DEADLINE, count).await?;
    arrived(warm.accepted + load.accepted).await?;
    let per_second = float(load.accepted) / begun.elapsed().as_secs_f64();
    let costs = Costs {
        own: own.micros()?,
        broker: brokers.micros()?,
        resident_kib: running.back.as_ref().unwrap_or(&running.front).resident_kib()?,
    };
    let measured = Measurement::new(subject, Kind::RoundTrips, &load, per_second, &costs);
    running.clear().await?;
    Ok(measured)
}
