//! A private RabbitMQ: own folder, own ports, own name server, gone when it is dropped.

use std::env;
use std::fs::{self, File};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::owned::OwnedChild;
use crate::{Proxy, eventually, ports};

/// Where the Debian package has the server itself. The command in `/usr/sbin` only wraps it and changes the user.
const DEBIAN_SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// The node's name; with a name server of its own every broker can have the same.
const NODE: &str = "test@localhost";

/// A first start takes about 6 s on two idle cores.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The file that says which plugins are started.
const PLUGINS: &str = "plugins";

/// The list of queues is saved after half a second without a change.
const SAVE_DEADLINE: Duration = Duration::from_secs(10);

/// How long the server may take to answer one connection.
const HELLO_DEADLINE: Duration = Duration::from_secs(3);

/// An orderly stop takes about a second; a broker that does not end is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// The variable in which `with-broker` gives its broker's URL to the tests.
pub const URL_VARIABLE: &str = "GATEWAY_TEST_BROKER";

/// The URL of the broker that all tests of a run share, each under a prefix of its own.
pub fn shared_url() -> Result<String> {
    let url = env::var_os(URL_VARIABLE).with_context(|| {
        format!("{URL_VARIABLE} is not set: run `tests/run`, or `with-broker cargo test --workspace`")
    })?;
    url.into_string().ok().with_context(|| format!("{URL_VARIABLE} is not UTF-8"))
}

/// A network that one test has to the broker that all share.
pub fn proxy_to_shared() -> Result<Proxy> {
    let url = shared_url()?;
    let address = url.split(['@', '/']).nth(3).context("no address in the URL of the broker")?;
    Proxy::start(address.parse()?)
}

/// The URL of a broker that is reached through `proxy`.
#[must_use]
pub fn url_through(proxy: &Proxy) -> String {
    url_at(proxy.address())
}

fn url_at(address: SocketAddr) -> String {
    format!("amqp://guest:guest@{address}/%2f")
}

/// A running RabbitMQ of this process alone, for tests that stop or kill it, or read its metrics.
pub struct Broker {
    server: OwnedChild,
    epmd: OwnedChild,
    site: Site,
}

impl Broker {
    /// Starts a broker on free ports and waits until it accepts AMQP connections.
    ///
    /// It is the `rabbitmq-server` named by the environment variable `RABBITMQ_SERVER`, else Debian's, else
    /// the first one on the `PATH`.
    pub async fn start() -> Result<Self> {
        Self::start_at(Site::prepare()?).await
    }

    /// The same, with its page of metrics.
    pub async fn start_with_metrics() -> Result<Self> {
        let site = Site { metrics_port: Some(ports::free()?), ..Site::prepare()? };
        fs::write(site.plugins(), "[rabbitmq_prometheus].\n")?;
        Self::start_at(site).await
    }

    async fn start_at(site: Site) -> Result<Self> {
        let epmd = site.spawn_epmd().await?;
        let server = site.spawn_server()?;
        let mut broker = Self { server, epmd, site };
        broker.wait_ready().await?;
        Ok(broker)
    }

    /// The AMQP URL, the same before and after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        url_at(self.address())
    }

    /// Where it listens, the same before and after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.site.amqp_port).into()
    }

    /// The URL of `path` on its page of metrics.
    pub fn metrics_url(&self, path: &str) -> Result<String> {
        let port = self.site.metrics_port.context("it was started without metrics")?;
        Ok(format!("http://{}:{port}{path}", Ipv4Addr::LOCALHOST))
    }

    /// The ids of the processes that make up this broker.
    #[must_use]
    pub fn process_ids(&self) -> [u32; 2] {
        [self.server.id(), self.epmd.id()]
    }

    /// Kills the server as a power failure would, messages half written and all.
    ///
    /// One thing is waited for: RabbitMQ saves its list of quorum queues up to half a second after a declaration,
    /// and a queue that is not on the saved list is broken for ever. A test of ours could only fail by it.
    pub async fn kill(&mut self) -> Result<()> {
        eventually("RabbitMQ has saved its list of queues", SAVE_DEADLINE, async || self.site.queues_saved())
            .await?;
        self.server.kill()
    }

    /// Stops the server in good order, and kills it when that takes too long.
    pub async fn stop(&mut self) -> Result<()> {
        self.server.signal(Signal::TERM)?;
        if self.server.wait(STOP_DEADLINE).await.is_err() {
            self.server.kill()?;
        }
        Ok(())
    }

    /// Freezes the server: its connections stay open and nothing is answered.
    pub fn pause(&mut self) -> Result<()> {
        self.server.signal(Signal::STOP)
    }

    /// Lets a frozen server go on.
    pub fn resume(&mut self) -> Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// Starts the server again with the data and the ports that it had; one that still runs is killed first.
    pub async fn restart(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server = self.site.spawn_server()?;
        self.wait_ready().await
    }

    /// Runs `rabbitmqctl` with `args` and gives what it printed, for what AMQP cannot do (alarms, policies).
    pub fn control(&self, args: &[&str]) -> Result<String> {
        let output =
            self.site.command(&self.site.program.with_file_name("rabbitmqctl")).args(args).output()?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!(
                "rabbitmqctl {args:?}: {}\n{printed}{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(printed)
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let url = self.url();
        let ready = eventually("RabbitMQ accepts AMQP connections", START_DEADLINE, async || {
            // An outer Ok ends the wait: a server that has ended will never be ready.
            if let Some(status) = self.server.exit_status()? {
                return Ok(Err(anyhow::anyhow!("RabbitMQ ended with {status}")));
            }
            // A server that accepts while it still boots may never answer that connection.
            let hello = async {
                let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
                connection.close(200, "ready".into()).await
            };
            timeout(HELLO_DEADLINE, hello).await??;
            anyhow::Ok(Ok(()))
        });
        ready.await.and_then(|outcome| outcome).with_context(|| self.site.log_tail())
    }
}

/// What stays the same over restarts: the folder with data and log, the ports, the program.
struct Site {
    folder: TempDir,
    program: PathBuf,
    amqp_port: u16,
    distribution_port: u16,
    epmd_port: u16,
    /// Of the plugin that is not started without.
    metrics_port: Option<u16>,
}

impl Site {
    fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gateway-broker-").tempdir()?;
        fs::write(folder.path().join(PLUGINS), "[].\n")?;
        Ok(Self {
            folder,
            metrics_port: None,
            program: server_program()?,
            amqp_port: ports::free()?,
            distribution_port: ports::free()?,
            epmd_port: ports::free()?,
        })
    }

    /// Erlang's name server, of our own: the one that Erlang starts by itself is shared and stays for ever.
    async fn spawn_epmd(&self) -> Result<OwnedChild> {
        let mut command = self.command(Path::new("epmd"));
        command
            .args(["-address", "127.0.0.1", "-port", &self.epmd_port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let epmd = OwnedChild::spawn(&mut command)?;
        eventually("epmd accepts connections", START_DEADLINE, async || {
            tokio::net::TcpStream::connect(("127.0.0.1", self.epmd_port)).await
        })
        .await?;
        Ok(epmd)
    }

    /// Starts the server. With input allowed its script becomes the Erlang machine instead of starting it
    /// beside itself, so that the child's process id is the one to kill; `-noinput` takes the input away again.
    fn spawn_server(&self) -> Result<OwnedChild> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let metrics = self
            .metrics_port
            .map(|port| format!(" -rabbitmq_prometheus tcp_config [{{ip,\"127.0.0.1\"}},{{port,{port}}}]"));
        let arguments = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}".to_owned();
        let mut command = self.command(&self.program);
        command
            .env("RABBITMQ_ALLOW_INPUT", "1")
            .env("RABBITMQ_SERVER_START_ARGS", "-noinput")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", arguments + &metrics.unwrap_or_default())
            .stdout(log.try_clone()?)
            .stderr(log);
        OwnedChild::spawn(&mut command)
    }

    /// A command that knows this broker and nothing of a system-wide one.
    fn command(&self, program: &Path) -> Command {
        let place = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.folder.path())
            .env("LANG", "C.UTF-8")
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_NODENAME", NODE)
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp_port.to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", place("none"))
            .env("RABBITMQ_CONFIG_FILE", place("rabbitmq"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", place("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", self.plugins())
            .env("RABBITMQ_FEATURE_FLAGS_FILE", place("feature_flags"))
            .env("RABBITMQ_MNESIA_BASE", place("data"))
            .env("RABBITMQ_MNESIA_DIR", place("data/node"))
            .env("RABBITMQ_PID_FILE", place("pid"))
            .env("RABBITMQ_LOG_BASE", place("logs"))
            .env("RABBITMQ_LOGS", "-")
            .stdin(Stdio::null());
        command
    }

    /// Looks into the head of the list's file (Erlang's dets): the third word is 1 when nothing is unsaved.
    fn queues_saved(&self) -> Result<(), &'static str> {
        let list = self.folder.path().join("data/node/quorum").join(NODE).join("names.dets");
        match fs::read(list) {
            Ok(bytes) if bytes.get(8..12) != Some(&1_u32.to_be_bytes()) => Err("it has changes"),
            _saved_or_absent => Ok(()),
        }
    }

    fn plugins(&self) -> PathBuf {
        self.folder.path().join(PLUGINS)
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!("{} did not start; the end of its log:\n{tail}\n", self.program.display())
    }
}

fn server_program() -> Result<PathBuf> {
    let candidates: Vec<PathBuf> = if let Some(chosen) = env::var_os("RABBITMQ_SERVER") {
        vec![chosen.into()]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|folder| folder.join("rabbitmq-server"));
        iter::once(DEBIAN_SERVER.into()).chain(on_path).collect()
    };
    let first = candidates.into_iter().find(|program| program.is_file());
    first.context(
        "no rabbitmq-server: run `apt-get install rabbitmq-server`, or set RABBITMQ_SERVER to its path",
    )
}
