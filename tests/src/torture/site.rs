//! The whole gateway under torture, with its broker, its networks and its providers, and what is done to each.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;
use std::{fs, iter};

use anyhow::Result;
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, try_join_all};
use tempfile::TempDir;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::client::client;
use crate::{Broker, Provider, Proxy, Queues, broker, eventually};

use super::front::Front;
use super::member::Member;
use super::plan::{Action, Network, Plan, Refusal, Target};
use super::script::{Calls, Mood, Script};
use super::{BACKENDS, METERED, PREFIX, RESENDING, RUNGS};

/// How many processes the pair has.
const INGRESS: usize = 2;
const DISPATCHERS: usize = 3;

/// How long it may take until everything is ready again when nothing bad is done any more.
const HEALED: Duration = Duration::from_secs(90);

/// How little memory the broker is told to have, and how much it has.
const SHORT_OF_MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0.00001"];
const ENOUGH_MEMORY: [&str; 2] = ["set_vm_memory_high_watermark", "0.6"];

/// The future in which an action is done and undone.
pub(super) type Doing = LocalBoxFuture<'static, Result<()>>;

/// Everything that takes part. Who does something to a part of it holds its lock until that is undone.
pub(super) struct Site {
    ingress: Vec<Arc<Mutex<Member>>>,
    dispatchers: Vec<Arc<Mutex<Member>>>,
    backbone: Option<Backbone>,
    providers: Vec<Arc<Mutex<Provider>>>,
    scripts: Vec<Script>,
    /// The ingress processes, as the clients see them.
    pub(super) fronts: Vec<Arc<Front>>,
    /// What the providers were called for, by number.
    pub(super) calls: Arc<StdMutex<HashMap<u64, Calls>>>,
    /// Configuration, logs, and the file of the embedded queue.
    pub(super) folder: TempDir,
}

/// What the standalone does not have.
struct Backbone {
    broker: Arc<Mutex<Broker>>,
    url: String,
    to_ingress: Arc<Mutex<Proxy>>,
    to_dispatchers: Arc<Mutex<Proxy>>,
}

impl Site {
    /// Starts everything, the providers by scripts of `seed`, and waits until it is ready.
    pub(super) async fn start(seed: u64, embedded: bool) -> Result<Self> {
        let mut site = Self {
            ingress: Vec::new(),
            dispatchers: Vec::new(),
            backbone: None,
            providers: Vec::new(),
            scripts: Vec::new(),
            fronts: Vec::new(),
            calls: Arc::default(),
            folder: tempfile::Builder::new().prefix("torture-").tempdir()?,
        };
        for backend in BACKENDS {
            let (provider, script) = (Provider::start()?, Script::new(seed, backend, &site.calls));
            script.direct(&provider);
            site.providers.push(Arc::new(Mutex::new(provider)));
            site.scripts.push(script);
        }
        if embedded {
            let url = format!("embedded:{}", site.database().display());
            site.add_ingress("gateway", &url).await?;
        } else {
            let broker = Broker::start().await?;
            let (near, far) = (Proxy::start(broker.address())?, Proxy::start(broker.address())?);
            for _ in 0..INGRESS {
                site.add_ingress("ingress", &broker::url_through(&near)).await?;
            }
            for number in 0..DISPATCHERS {
                let config = site.configure("dispatcher", &broker::url_through(&far)).await?;
                let member =
                    Member::start(format!("dispatcher-{number}"), "dispatcher", config, None).await?;
                site.dispatchers.push(Arc::new(Mutex::new(member)));
            }
            site.backbone = Some(Backbone {
                url: broker.url(),
                broker: Arc::new(Mutex::new(broker)),
                to_ingress: Arc::new(Mutex::new(near)),
                to_dispatchers: Arc::new(Mutex::new(far)),
            });
        }
        site.wait_ready().await?;
        Ok(site)
    }

    async fn add_ingress(&mut self, program: &'static str, url: &str) -> Result<()> {
        let config = self.configure(program, url).await?;
        let (name, front) = (format!("{program}-{}", self.ingress.len()), Arc::new(Front::default()));
        let member = Member::start(name, program, config, Some(Arc::clone(&front))).await?;
        self.ingress.push(Arc::new(Mutex::new(member)));
        self.fronts.push(front);
        Ok(())
    }

    /// Writes the configuration of `program`, which reaches its queue at `url`.
    async fn configure(&self, program: &str, url: &str) -> Result<PathBuf> {
        let mut text = String::from("drain_timeout = '5s'\n");
        for (backend, provider) in iter::zip(BACKENDS, &self.providers) {
            let provider = provider.lock().await.url("/send");
            write!(
                text,
                "[backends.{backend}]\nengine = 'http'\nurl = '{provider}'\ntimeout = '2s'\n\
                 form = {{ to = '{{identity}}', msg = '{{text}}' }}\n"
            )?;
            text.push_str(match backend {
                RESENDING => "on_unknown = 'resend'\n",
                METERED => "rate = 50\n",
                _ => "",
            });
            write!(text, "[[endpoints]]\nbackend = '{backend}'\n")?;
        }
        write!(
            text,
            "[[apps]]\napp = 'echo'\n\
             [queue]\nurl = '{url}'\nprefix = '{PREFIX}'\nretry = {RUNGS:?}\nmax_attempts = 50\n\
             publish_timeout = '{}s'\nconnect_timeout = '1h'\n\
             [ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n\
             [dispatcher]\nadmin_listen = '127.0.0.1:0'\n\
             [logging]\nlevel = 'info,dispatcher=debug'\nshow_messages = true\n",
            super::PUBLISH_TIMEOUT.as_secs()
        )?;
        let file = self.folder.path().join(format!("{program}.toml"));
        fs::write(&file, text)?;
        Ok(file)
    }

    /// The file of the embedded queue.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.path().join("gateway.db")
    }

    /// Where the logs are.
    pub(super) fn logs(&self) -> &Path {
        self.folder.path()
    }

    /// What can be done to it.
    pub(super) fn plan(&self) -> Plan {
        if self.backbone.is_some() { Plan::pair(INGRESS, DISPATCHERS) } else { Plan::standalone() }
    }

    /// What lies in the broker, where there is one.
    pub(super) async fn queues(&self) -> Result<Option<Queues>> {
        let Some(backbone) = &self.backbone else { return Ok(None) };
        Queues::connect(&backbone.url, PREFIX, &BACKENDS, &RUNGS).await.map(Some)
    }

    fn members(&self) -> impl Iterator<Item = &Arc<Mutex<Member>>> {
        self.ingress.iter().chain(&self.dispatchers)
    }

    /// The members that have ended although nobody asked them to.
    pub(super) fn ended_by_themselves(&self) -> Result<Vec<String>> {
        let free = self.members().filter_map(take);
        free.filter_map(|mut member| member.ended_by_itself().transpose()).collect()
    }

    /// Makes every provider well, and waits until every process is ready.
    pub(super) async fn heal(&self) -> Result<()> {
        self.scripts.iter().for_each(|script| script.set_mood(Mood::Well));
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> Result<()> {
        let client = client()?;
        for member in self.members() {
            let member = member.lock().await;
            let what = format!("{} is ready", member.name);
            eventually(&what, HEALED, async || {
                client.get(member.ready_url()).send().await?.error_for_status()
            })
            .await?;
        }
        Ok(())
    }

    /// Stops every process for good, what takes messages in first.
    pub(super) async fn finish(&self) -> Result<()> {
        let finish = async |member: &Arc<Mutex<Member>>| member.lock().await.finish().await;
        try_join_all(self.ingress.iter().map(finish)).await?;
        try_join_all(self.dispatchers.iter().map(finish)).await?;
        Ok(())
    }

    /// Begins `action`, unless something is being done to its object already.
    pub(super) fn begin(&self, action: Action) -> Option<Doing> {
        match action {
            Action::Kill(target, down) => {
                let mut member = take(self.member(target))?;
                Some(async move { member.kill(down).await }.boxed_local())
            }
            Action::Terminate(target, down) => {
                let mut member = take(self.member(target))?;
                Some(async move { member.terminate(down).await }.boxed_local())
            }
            Action::Freeze(target, frozen) => {
                let mut member = take(self.member(target))?;
                Some(async move { member.freeze(frozen).await }.boxed_local())
            }
            Action::KillAllDispatchers(down) => {
                let members: Vec<_> = self.dispatchers.iter().filter_map(take).collect();
                let kill = |mut member: OwnedMutexGuard<Member>| async move { member.kill(down).await };
                Some(try_join_all(members.into_iter().map(kill)).map(|killed| killed.map(drop)).boxed_local())
            }
            Action::Refuse(provider, refusal, during) => self.refuse(provider, refusal, during),
            Action::ClosePort(provider, during) => {
                let mut provider = take(&self.providers[provider])?;
                let close = async move {
                    provider.stop();
                    sleep(during).await;
                    provider.restart()
                };
                Some(close.boxed_local())
            }
            Action::KillBroker(_)
            | Action::StopBroker(_)
            | Action::FreezeBroker(_)
            | Action::Alarm(_)
            | Action::Cut(_)
            | Action::Stall(..) => self.backbone.as_ref()?.begin(action),
        }
    }

    fn refuse(&self, provider: usize, refusal: Refusal, during: Duration) -> Option<Doing> {
        // Held, so that nothing else changes its mood meanwhile.
        let held = take(&self.providers[provider])?;
        let script = self.scripts[provider].clone();
        let refuse = async move {
            script.set_mood(Mood::Refusing(refusal));
            sleep(during).await;
            script.set_mood(Mood::Moody);
            drop(held);
            Ok(())
        };
        Some(refuse.boxed_local())
    }

    fn member(&self, target: Target) -> &Arc<Mutex<Member>> {
        match target {
            Target::Ingress(number) => &self.ingress[number],
            Target::Dispatcher(number) => &self.dispatchers[number],
        }
    }
}

impl Backbone {
    fn begin(&self, action: Action) -> Option<Doing> {
        if let Action::Cut(network) = action {
            take(self.network(network))?.cut();
            return Some(async { Ok(()) }.boxed_local());
        }
        if let Action::Stall(network, during) = action {
            let proxy = take(self.network(network))?;
            let stall = async move {
                proxy.stall();
                sleep(during).await;
                proxy.resume();
                Ok(())
            };
            return Some(stall.boxed_local());
        }
        let broker = take(&self.broker)?;
        Some(harm(broker, action).boxed_local())
    }

    fn network(&self, network: Network) -> &Arc<Mutex<Proxy>> {
        match network {
            Network::Ingress => &self.to_ingress,
            Network::Dispatchers => &self.to_dispatchers,
        }
    }
}

async fn harm(mut broker: OwnedMutexGuard<Broker>, action: Action) -> Result<()> {
    if let Action::KillBroker(down) = action {
        broker.kill().await?;
        sleep(down).await;
        broker.restart().await?;
    }
    if let Action::StopBroker(down) = action {
        broker.stop().await?;
        sleep(down).await;
        broker.restart().await?;
    }
    if let Action::FreezeBroker(frozen) = action {
        broker.pause()?;
        sleep(frozen).await;
        broker.resume()?;
    }
    if let Action::Alarm(during) = action {
        block_in_place(|| broker.control(&SHORT_OF_MEMORY))?;
        sleep(during).await;
        block_in_place(|| broker.control(&ENOUGH_MEMORY))?;
    }
    Ok(())
}

fn take<T>(part: &Arc<Mutex<T>>) -> Option<OwnedMutexGuard<T>> {
    Arc::clone(part).try_lock_owned().ok()
}
