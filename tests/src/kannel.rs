//! A private Kannel: bearerbox, smsbox and fakesmsc, a network of its own that writes down what it is given.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use percent_encoding::percent_decode_str;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::processes::Process;
use crate::{client::client, eventually, ports};

/// Where Debian has what is not on the `PATH` of everybody.
const DEBIAN_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/lib/kannel/test"];

/// Each of the three is there within a second on an idle machine.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The user that may send.
pub const USER: &str = "tester";

/// The user's password.
pub const PASSWORD: &str = "se cret&";

/// No way leads to numbers that start like this.
pub const UNROUTABLE: &str = "999";

/// A running Kannel; dropping it ends its processes.
pub struct Kannel {
    // In the order in which they end.
    smsc: Process,
    _smsbox: Process,
    _bearerbox: Process,
    site: Site,
}

/// A message that has reached the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnAir {
    /// Who sent it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// `text` of the 7-bit alphabet, or `ucs-2`.
    pub kind: String,
    /// What it says.
    pub text: String,
}

impl Kannel {
    /// Starts all three on free ports, and waits until a message could go all the way.
    pub async fn start() -> Result<Self> {
        let site = Site::prepare()?;
        let bearerbox = site.spawn("bearerbox", &["-v", "0", &site.config()])?;
        for port in [site.boxes, site.smsc] {
            eventually("bearerbox listens", START_DEADLINE, async || {
                TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
            })
            .await?;
        }
        let smsbox = site.spawn("smsbox", &["-v", "0", &site.config()])?;
        let smsc = site.spawn_smsc()?;
        let kannel = Self { smsc, _smsbox: smsbox, _bearerbox: bearerbox, site };
        kannel.wait_ready().await?;
        Ok(kannel)
    }

    /// Where smsbox takes messages.
    #[must_use]
    pub fn sendsms_url(&self) -> String {
        format!("http://127.0.0.1:{}/cgi-bin/sendsms", self.site.sendsms)
    }

    /// What has reached the network so far, in its order.
    pub fn on_air(&self) -> Result<Vec<OnAir>> {
        let lines = self.smsc.stderr().into_iter().chain(self.smsc.stdout());
        let lines: Vec<String> = lines.filter(|line| line.contains("Got message ")).collect();
        lines.iter().map(|line| OnAir::parse(line)).collect()
    }

    /// Waits until so many messages have reached the network.
    pub async fn wait_on_air(&self, count: usize, deadline: Duration) -> Result<Vec<OnAir>> {
        eventually(&format!("{count} messages have reached the network"), deadline, async || {
            let on_air = self.on_air()?;
            ensure!(on_air.len() >= count, "{on_air:?}");
            Ok(on_air)
        })
        .await
    }

    async fn wait_ready(&self) -> Result<()> {
        let (client, url) =
            (client()?, format!("http://127.0.0.1:{}/status.txt?password=admin", self.site.admin));
        eventually("Kannel is connected to its network", START_DEADLINE, async || {
            let status = client.get(&url).send().await?.text().await?;
            ensure!(status.contains("(on-line") && status.contains("(online"), "{status}");
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.site.sendsms)).await?;
            anyhow::Ok(())
        })
        .await
    }
}

impl OnAir {
    /// Reads a line of fakesmsc: `... Got message 1: <FROM TO KIND CONTENT>`.
    fn parse(line: &str) -> Result<Self> {
        let (_, message) = line.split_once('<').context("no message")?;
        let message = message.trim_end().strip_suffix('>').context("no end")?;
        let [from, to, kind, content] = message.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            bail!("not understood: {line}");
        };
        let text = match kind {
            "text" => content.to_owned(),
            "ucs-2" => {
                let bytes: Vec<u8> = percent_decode_str(&content.replace('+', " ")).collect();
                let units = bytes.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[unit.len() - 1]]));
                String::from_utf16(&units.collect::<Vec<_>>())?
            }
            _ => bail!("not understood: {line}"),
        };
        Ok(Self { from: from.to_owned(), to: to.to_owned(), kind: kind.to_owned(), text })
    }
}

/// The folder with the configuration, and the ports.
struct Site {
    folder: TempDir,
    admin: u16,
    boxes: u16,
    smsc: u16,
    sendsms: u16,
}

impl Site {
    fn prepare() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gateway-kannel-").tempdir()?;
        let [admin, boxes, smsc, sendsms] = [ports::free()?, ports::free()?, ports::free()?, ports::free()?];
        let site = Self { folder, admin, boxes, smsc, sendsms };
        fs::write(site.config(), site.written()?)?;
        Ok(site)
    }

    fn config(&self) -> String {
        self.folder.path().join("kannel.conf").display().to_string()
    }

    fn written(&self) -> Result<String> {
        let Self { admin, boxes, smsc, sendsms, .. } = self;
        let (boxes, smsc) = (boxes.to_string(), smsc.to_string());
        let (admin, sendsms) = (admin.to_string(), sendsms.to_string());
        let groups: [&[(&str, &str)]; 4] = [
            &[
                ("group", "core"),
                ("admin-port", &admin),
                ("admin-interface", "127.0.0.1"),
                ("admin-password", "admin"),
                ("smsbox-port", &boxes),
                ("smsbox-interface", "127.0.0.1"),
            ],
            &[
                ("group", "smsc"),
                ("smsc", "fake"),
                ("smsc-id", "FAKE"),
                ("port", &smsc),
                ("connect-allow-ip", "127.0.0.1"),
                ("denied-prefix", UNROUTABLE),
            ],
            &[
                ("group", "smsbox"),
                ("bearerbox-host", "127.0.0.1"),
                ("bearerbox-port", &boxes),
                ("sendsms-port", &sendsms),
                ("sendsms-interface", "127.0.0.1"),
                ("sendsms-chars", "\"0123456789 +-\""),
            ],
            &[("group", "sendsms-user"), ("username", USER), ("password", PASSWORD)],
        ];
        let mut text = String::new();
        for group in groups {
            for (key, value) in group {
                writeln!(text, "{key} = {value}")?;
            }
            // An empty line ends a group.
            writeln!(text)?;
        }
        Ok(text)
    }

    fn spawn(&self, program: &str, args: &[&str]) -> Result<Process> {
        Process::spawn(program, Command::new(find(program)?).args(args).current_dir(self.folder.path()))
    }

    /// A network that sends nothing of its own: it is told to send none of the one message that it must have.
    fn spawn_smsc(&self) -> Result<Process> {
        self.spawn("fakesmsc", &["-H", "127.0.0.1", "-r", &self.smsc.to_string(), "-m", "0", "1 2 text none"])
    }
}

fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = DEBIAN_FOLDERS.iter().map(PathBuf::from).chain(env::split_paths(&path));
    let found = folders.map(|folder| folder.join(program)).find(|program| program.is_file());
    found.with_context(|| format!("no {program}: run `apt-get install kannel kannel-extras`"))
}
