//! Where a Kannel of the tests lives: its folder, its ports, and the configurations of `docs/backends/kannel.md` with them.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::ports;
use crate::processes::Process;

const PAGE: &str = include_str!("../../../docs/backends/kannel.md");

/// Where Debian has what is not on the `PATH` of everybody.
const DEBIAN_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/lib/kannel/test"];

/// The password of the user that may send.
pub const PASSWORD: &str = "se cret&";

/// No way leads to numbers that start like this.
pub const UNROUTABLE: &str = "999";

/// Where Kannel's documented configuration has the gateway.
pub const GATEWAY: &str = "127.0.0.1:8000";

/// The folder with the configuration, and the ports.
pub(super) struct Site {
    folder: TempDir,
    /// `kannel.conf`, as it is written.
    config: String,
    pub(super) admin: u16,
    pub(super) boxes: u16,
    pub(super) smsc: u16,
    pub(super) sendsms: u16,
}

impl Site {
    /// The documented configuration on free ports, with `changes`: what is written there, and what instead.
    pub(super) fn prepare(changes: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("gateway-kannel-").tempdir()?;
        let [admin, boxes, smsc, sendsms] = [ports::free()?, ports::free()?, ports::free()?, ports::free()?];
        let mut site = Self { folder, config: example("ini")?, admin, boxes, smsc, sendsms };
        let store = site.folder.path().display().to_string();
        site.change(&[
            ("13000", &admin.to_string()),
            ("13001", &boxes.to_string()),
            ("port = 10000", &format!("port = {smsc}\ndenied-prefix = {UNROUTABLE}")),
            ("13013", &sendsms.to_string()),
            ("/var/lib/kannel", &store),
            ("password = PASSWORD", &format!("password = {PASSWORD}")),
            ("http-queue-delay = 10", "http-queue-delay = 1"),
        ])?;
        site.change(changes)?;
        Ok(site)
    }

    /// Changes the configuration for whatever is started from now on.
    pub(super) fn change(&mut self, changes: &[(&str, &str)]) -> Result<()> {
        for (from, to) in changes {
            ensure!(self.config.contains(from), "no {from:?} in\n{}", self.config);
            self.config = self.config.replace(from, to);
        }
        Ok(fs::write(self.file(), &self.config)?)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("kannel.conf")
    }

    /// Starts bearerbox or smsbox.
    pub(super) fn spawn_box(&self, program: &str) -> Result<Process> {
        Process::spawn(program, self.command(program)?.args(["-v", "0"]).arg(self.file()))
    }

    /// One of Kannel's programs, in the folder.
    pub(super) fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(find(program)?);
        command.current_dir(self.folder.path());
        Ok(command)
    }

    /// The gateway's documented configuration, which sends through this Kannel.
    pub(super) fn gateway(&self) -> Result<String> {
        let config = example("toml")?.replace("13013", &self.sendsms.to_string());
        let config = config.replace("${KANNEL_PASSWORD}", PASSWORD);
        Ok(config.replace("${KANNEL_INBOUND_PASSWORD}", "INBOUND-PASSWORD"))
    }
}

/// The example of the page that is written in `language`.
fn example(language: &str) -> Result<String> {
    let fence = format!("```{language}\n");
    let example = PAGE.split_once(&fence).and_then(|(_, rest)| rest.split_once("```"));
    example.map(|(example, _)| example.to_owned()).with_context(|| format!("the page has no {language}"))
}

fn find(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = DEBIAN_FOLDERS.iter().map(PathBuf::from).chain(env::split_paths(&path));
    let found = folders.map(|folder| folder.join(program)).find(|program| program.is_file());
    found.with_context(|| format!("no {program}: run `apt-get install kannel kannel-extras`"))
}
