//! The example project in Python, as its README starts it; and scripts that run to their end.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{client::client, eventually, ports, processes::Process, stack::DEADLINE};

/// The running handlers; dropping them kills them.
pub struct Handlers {
    secret: &'static str,
    address: SocketAddr,
    process: Option<Process>,
}

impl Handlers {
    /// Starts them on a free loopback port, with the secret that they share with the gateway.
    pub async fn start(secret: &'static str) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut handlers = Self { secret, address, process: None };
        handlers.restart().await?;
        Ok(handlers)
    }

    /// The folder of the project.
    #[must_use]
    pub fn folder() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/webhook-python")
    }

    /// Where they are asked, the same before and after a restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Kills them, as a crash would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts them anew, and waits until they answer.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut command = Command::new("python3");
        command
            .arg("handlers.py")
            .current_dir(Self::folder())
            .env("WEBHOOK_SECRET", self.secret)
            .env("PORT", self.address.port().to_string())
            .env("PYTHONDONTWRITEBYTECODE", "1");
        self.process = Some(Process::spawn("handlers.py", &mut command)?);
        let (client, url) = (client()?, self.url());
        // They take no GET, and say so.
        eventually("the handlers answer", DEADLINE, async || client.get(&url).send().await).await?;
        Ok(())
    }
}

/// Runs `script` in `folder`, from where it can import, and gives what it prints.
pub fn run(folder: &Path, script: &str, env: &[(&str, &str)]) -> Result<String> {
    let mut command = Command::new("python3");
    command.args(["-c", script]).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.envs(env.iter().copied()).output()?;
    ensure!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
