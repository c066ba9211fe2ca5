//! A private Kannel: bearerbox, smsbox and a network of phones, configured as `docs/backends/kannel.md` says.

mod network;

mod site;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::net::TcpStream;

use crate::processes::Process;
use crate::{client::client, eventually};

use self::network::Network;
use self::site::Site;

pub use self::network::OnAir;
pub use self::site::{GATEWAY, PASSWORD, UNROUTABLE};

/// Each of the three is there within a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The backend of the documented configuration.
pub const BACKEND: &str = "kannel-fake-smsc";

/// A running Kannel; dropping it ends its processes.
pub struct Kannel {
    // In the order in which they end.
    network: Network,
    smsbox: Process,
    bearerbox: Process,
    site: Site,
}

impl Kannel {
    /// Starts all three on free ports, and waits until a message could go all the way.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// As [`Kannel::start`], with `changes` of the documented configuration: what is written there, and what instead.
    pub async fn start_with(changes: &[(&str, &str)]) -> Result<Self> {
        let site = Site::prepare(changes)?;
        let bearerbox = site.spawn_box("bearerbox")?;
        site.wait_listening().await?;
        let smsbox = site.spawn_box("smsbox")?;
        let network = Network::start(&site)?;
        let kannel = Self { network, smsbox, bearerbox, site };
        kannel.wait_ready().await?;
        Ok(kannel)
    }

    /// The gateway's documented configuration, which sends through this Kannel.
    pub fn gateway_config(&self) -> Result<String> {
        self.site.gateway()
    }

    /// Tells smsbox where the gateway is: at `url`. It is started anew with that.
    pub async fn connect(&mut self, url: &str) -> Result<()> {
        let address = url.strip_prefix("http://").and_then(|url| url.split('/').next());
        self.end_smsbox().await?;
        self.site.change(&[(GATEWAY, address.context("no address")?)])?;
        self.start_smsbox().await
    }

    /// Ends smsbox, as a crash would, and waits until bearerbox knows.
    pub async fn end_smsbox(&mut self) -> Result<()> {
        self.smsbox.kill()?;
        self.wait_status("no smsbox", |status| !status.contains("(on-line")).await
    }

    async fn start_smsbox(&mut self) -> Result<()> {
        self.smsbox = self.site.spawn_box("smsbox")?;
        self.wait_ready().await
    }

    /// Starts all anew after a crash of bearerbox, without which nothing works.
    pub async fn crash(&mut self) -> Result<()> {
        self.bearerbox.kill()?;
        self.bearerbox = self.site.spawn_box("bearerbox")?;
        self.site.wait_listening().await?;
        self.network = Network::start(&self.site)?;
        self.start_smsbox().await
    }

    /// Where smsbox takes messages.
    #[must_use]
    pub fn sendsms_url(&self) -> String {
        format!("http://127.0.0.1:{}/cgi-bin/sendsms", self.site.sendsms)
    }

    /// Sends a message from a phone.
    pub async fn inject(&mut self, message: &OnAir) -> Result<()> {
        self.network.send(&message.written()?).await
    }

    /// Sends what is written as `fakesmsc` takes it, for what [`OnAir`] has no word.
    pub async fn inject_line(&mut self, line: &str) -> Result<()> {
        self.network.send(line).await
    }

    /// What has reached the phones so far, in its order.
    pub fn on_air(&self) -> Result<Vec<OnAir>> {
        self.network.on_air()
    }

    /// Waits until so many messages have reached the phones.
    pub async fn wait_on_air(&self, count: usize, deadline: Duration) -> Result<Vec<OnAir>> {
        eventually(&format!("{count} messages have reached the phones"), deadline, async || {
            let on_air = self.on_air()?;
            ensure!(on_air.len() >= count, "{on_air:?}");
            Ok(on_air)
        })
        .await
    }

    /// Waits until bearerbox holds so many messages in its store.
    pub async fn wait_stored(&self, count: usize) -> Result<()> {
        let size = format!("store size {count}\n");
        self.wait_status(&size, |status| status.contains(&size)).await
    }

    /// Waits until smsbox has logged `text`.
    pub async fn wait_logged(&self, text: &str) -> Result<()> {
        eventually(&format!("smsbox has logged {text:?}"), START_DEADLINE, async || {
            let mut lines = self.smsbox.stderr().into_iter().chain(self.smsbox.stdout());
            if lines.any(|line| line.contains(text)) { Ok(()) } else { Err("it has not") }
        })
        .await
    }

    async fn wait_ready(&self) -> Result<()> {
        let is_connected = |status: &str| status.contains("(on-line") && status.contains("(online");
        self.wait_status("connected to its network", is_connected).await?;
        eventually("smsbox listens", START_DEADLINE, async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.site.sendsms)).await
        })
        .await
        .map(drop)
    }

    async fn wait_status(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
        let (client, url) =
            (client()?, format!("http://127.0.0.1:{}/status.txt?password=ADMIN-PASSWORD", self.site.admin));
        eventually(&format!("the status of Kannel is: {what}"), START_DEADLINE, async || {
            let status = client.get(&url).send().await?.text().await?;
            ensure!(is_so(&status), "{status}");
            anyhow::Ok(())
        })
        .await
    }
}

impl Site {
    /// Waits until bearerbox listens to both sides.
    async fn wait_listening(&self) -> Result<()> {
        for port in [self.boxes, self.smsc] {
            eventually("bearerbox listens", START_DEADLINE, async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
            })
            .await?;
        }
        Ok(())
    }
}
