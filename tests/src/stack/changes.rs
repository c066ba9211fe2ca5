//! What an operator and fate do to a gateway that runs: another configuration, a process that dies.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{DEADLINE, Stack};
use crate::Service;

impl Stack {
    /// Stops every process in good order, to be started again.
    pub async fn halt(&mut self) -> Result<()> {
        let codes = self.terminate().await?;
        self.finished = false;
        self.ingress.clear();
        self.dispatchers.clear();
        ensure!(codes.iter().all(|code| *code == 0), "the processes ended with {codes:?} instead of 0");
        Ok(())
    }

    /// Starts every process that was stopped, with a configuration that `change` has changed.
    pub async fn start_again(&mut self, change: impl Fn(String) -> String) -> Result<()> {
        self.change_config(change)?;
        self.start_services().await
    }

    /// Changes the configuration for whatever is started from now on.
    pub fn change_config(&self, change: impl Fn(String) -> String) -> Result<()> {
        let text = std::fs::read_to_string(self.config())?;
        Ok(std::fs::write(self.config(), change(text))?)
    }

    /// Changes the configuration, and asks every process to read it again.
    pub fn reload(&mut self, change: impl Fn(String) -> String) -> Result<()> {
        self.change_config(change)?;
        self.ingress.iter_mut().chain(&mut self.dispatchers).try_for_each(Service::hangup)
    }

    /// Stops every process, and starts as many with `config` on what they left in the queues.
    pub async fn restart_with(&mut self, config: &str) -> Result<()> {
        self.halt().await?;
        self.configure(config)?;
        self.start_services().await
    }

    /// Replaces the dispatchers by as many with `config`, one after the other.
    pub async fn roll_senders(&mut self, config: &str) -> Result<()> {
        self.configure(config)?;
        for place in 0..self.dispatchers.len() {
            let new = Service::start("dispatcher", &[], &self.config(), &[]).await?;
            let mut old = std::mem::replace(&mut self.dispatchers[place], new);
            self.wait_ready().await?;
            old.terminate()?;
            let code = old.wait_exit(DEADLINE).await?;
            ensure!(code == 0, "the dispatcher ended with {code} instead of 0");
        }
        Ok(())
    }

    /// Stops every dispatcher in good order. What one held is counted by its queue again.
    pub async fn stop_senders(&mut self) -> Result<()> {
        for mut dispatcher in self.dispatchers.drain(..) {
            dispatcher.terminate()?;
            let code = dispatcher.wait_exit(DEADLINE).await?;
            ensure!(code == 0, "the dispatcher ended with {code} instead of 0");
        }
        Ok(())
    }

    /// Kills the dispatcher that has logged `text` most often, as a crash would.
    pub fn kill_sender_by_log(&mut self, text: &str) -> Result<()> {
        let count = |service: &Service| service.stderr().iter().filter(|line| line.contains(text)).count();
        let busiest = (0..self.dispatchers.len()).max_by_key(|place| count(&self.dispatchers[*place]));
        self.dispatchers.remove(busiest.context("no dispatcher runs")?).kill()
    }

    /// Kills the first process that takes messages in, as a crash would; requests to it go on to fail.
    pub fn kill_first(&self) -> Result<()> {
        let id = self.ingress.first().context("no process")?.id();
        let id = i32::try_from(id).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(kill_process(id, Signal::KILL)?)
    }

    /// Starts the processes that take messages in again, after a kill.
    pub async fn replace_killed(&mut self) -> Result<()> {
        self.ingress.clear();
        self.start_services().await
    }
}
