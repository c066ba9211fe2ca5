//! A broker that is dead, blocked or silent: every client is told in time, memory stays flat, and all heals by itself.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::{
    Broker, Provider, Proxy, Service, broker, client::client, eventually, processes::allow_many_connections,
    stack::DEADLINE,
};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::interval};

const CLIENTS: usize = 1_000;

/// How often each client asks in each state of the broker.
const ROUNDS: usize = 3;

const PUBLISH_TIMEOUT: Duration = Duration::from_secs(2);

/// What a debug build and its thousand clients take on a machine of two cores that is busy with other tests.
const TOLERANCE: Duration = Duration::from_secs(2);

/// By how much the memory of ingress may grow.
const GROWTH_KIB: u64 = 20 * 1024;

/// After a silence the connection may have to be built anew: found dead, opened in vain once more, and a pause.
const HEALED: Duration = Duration::from_secs(60);

/// One ingress and one dispatcher that reach their broker through a proxy, and the clients.
struct Scene {
    broker: Broker,
    proxy: Proxy,
    provider: Provider,
    ingress: Service,
    dispatcher: Service,
    client: reqwest::Client,
    /// The memory of ingress when it has served all clients, with their connections open.
    warm_kib: u64,
    _folder: TempDir,
}

/// What one client was told.
struct Told {
    status: u16,
    retry_after: Option<String>,
    took: Duration,
}

fn config(proxy: &Proxy, provider: &Provider) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n\
         [queue]\nurl = '{}'\nprefix = 'pressed'\npublish_timeout = '{}s'\n\
         [ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\nrequest_timeout = '5m'\n\
         [dispatcher]\nadmin_listen = '127.0.0.1:0'\n",
        provider.url("/send"),
        broker::url_through(proxy),
        PUBLISH_TIMEOUT.as_secs()
    )
}

impl Scene {
    async fn start() -> Result<Self> {
        allow_many_connections()?;
        let broker = Broker::start().await?;
        let proxy = Proxy::start(broker.address())?;
        let provider = Provider::start()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("gateway.toml");
        fs::write(&file, config(&proxy, &provider))?;
        let ingress = Service::start("ingress", &[], &file, &[]).await?;
        let dispatcher = Service::start("dispatcher", &[], &file, &[]).await?;
        let client = client()?;
        let mut scene =
            Self { broker, proxy, provider, ingress, dispatcher, client, warm_kib: 0, _folder: folder };
        scene.wait_ready().await?;
        for _ in 0..ROUNDS {
            let told = scene.ask_all().await?;
            ensure!(told.iter().all(|told| told.status == 200), "refused by a broker that is well");
        }
        scene.provider.wait_for(ROUNDS * CLIENTS, DEADLINE).await?;
        scene.warm_kib = scene.ingress.resident_kib()?;
        Ok(scene)
    }

    async fn wait_ready(&self) -> Result<()> {
        for service in [&self.ingress, &self.dispatcher] {
            let url = service.admin_url("/health/ready");
            eventually("the process is ready", HEALED, async || {
                self.client.get(&url).send().await?.error_for_status()
            })
            .await?;
        }
        Ok(())
    }

    /// Every client posts one message, all at once, each on the connection that it had before.
    async fn ask_all(&self) -> Result<Vec<Told>> {
        let url: Arc<str> = self.ingress.ingress_url("/backends/p/")?.into();
        let mut asking = JoinSet::new();
        for number in 0..CLIENTS {
            let (client, url) = (self.client.clone(), Arc::clone(&url));
            asking.spawn(async move {
                let form = [("identity", number.to_string()), ("text", format!("echo {number}"))];
                let begun = Instant::now();
                let answer = client.post(&*url).form(&form).send().await?;
                let status = answer.status().as_u16();
                let header = |value: &reqwest::header::HeaderValue| value.to_str().map(str::to_owned);
                let retry_after = answer.headers().get("retry-after").map(header).transpose()?;
                answer.text().await?;
                anyhow::Ok(Told { status, retry_after, took: begun.elapsed() })
            });
        }
        asking.join_all().await.into_iter().collect()
    }

    /// Lets every client ask again and again while the broker is away, and looks at the memory all the time.
    #[expect(clippy::print_stdout, reason = "the figures of a run, which the test runner shows on request")]
    async fn press(&self, broker: &str) -> Result<()> {
        let (mut slowest, mut peak_kib) = (Duration::ZERO, 0);
        let asking = async {
            for _ in 0..ROUNDS {
                for told in self.ask_all().await? {
                    slowest = slowest.max(told.took);
                    let expected = (503, Some("5"));
                    ensure!(
                        (told.status, told.retry_after.as_deref()) == expected,
                        "with a {broker} broker the answer was {} {:?}",
                        told.status,
                        told.retry_after
                    );
                }
            }
            Ok(())
        };
        let looking = async {
            let mut look = interval(Duration::from_millis(20));
            loop {
                look.tick().await;
                match self.ingress.resident_kib() {
                    Ok(kib) => peak_kib = peak_kib.max(kib),
                    Err(error) => break error,
                }
            }
        };
        tokio::select! {
            asked = asking => asked?,
            error = looking => return Err(error),
        }
        let grown = peak_kib.saturating_sub(self.warm_kib);
        println!("{broker}: slowest answer {slowest:?}, memory {} KiB + {grown} KiB", self.warm_kib);
        ensure!(slowest < PUBLISH_TIMEOUT + TOLERANCE, "{broker}: an answer took {slowest:?}");
        ensure!(grown < GROWTH_KIB, "{broker}: ingress grew from {} by {grown} KiB", self.warm_kib);
        Ok(())
    }

    /// Waits until a message is taken and sent again, by processes that are all ready.
    async fn heals(&self, text: &str) -> Result<()> {
        self.wait_ready().await?;
        let form = [("identity", "after"), ("text", &format!("echo {text}"))];
        eventually("a message is accepted", HEALED, async || {
            let url = self.ingress.ingress_url("/backends/p/")?;
            let status = self.client.post(url).form(&form).send().await?.status();
            if status == 200 { Ok(()) } else { Err(anyhow!("{status}")) }
        })
        .await?;
        eventually("it is sent", HEALED, async || {
            self.provider.texts("msg").into_iter().find(|sent| sent == text).context("it is not")
        })
        .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_are_told_in_time_and_in_bounded_memory_whatever_ails_the_broker() -> Result<()> {
    let mut scene = Scene::start().await?;

    scene.broker.kill().await?;
    scene.press("dead").await?;
    scene.broker.restart().await?;
    scene.heals("revived").await?;

    scene.broker.control(&["set_vm_memory_high_watermark", "0.00001"])?;
    scene.press("blocked").await?;
    scene.broker.control(&["set_vm_memory_high_watermark", "0.9"])?;
    scene.heals("unblocked").await?;

    scene.proxy.stall();
    scene.press("silent").await?;
    scene.proxy.resume();
    scene.heals("heard").await?;

    for service in [&mut scene.ingress, &mut scene.dispatcher] {
        service.terminate()?;
        assert_eq!(service.wait_exit(DEADLINE).await?, 0);
    }
    Ok(())
}
