//! One process of the gateway under torture: killed, stopped, frozen, and always started again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use crate::Service;

use super::front::Front;

/// A stop may take the drain deadline of the configuration, and a little.
const STOPPED: Duration = Duration::from_secs(15);

/// The exit codes of a stop that was asked for: everything finished, or the drain deadline passed.
const CLEAN: i32 = 0;
const UNFINISHED: i32 = 75;

/// A process, and all that is needed to start it again.
pub(super) struct Member {
    /// The name in reports, and of its log.
    pub(super) name: String,
    program: &'static str,
    config: PathBuf,
    log: PathBuf,
    front: Option<Arc<Front>>,
    service: Service,
}

impl Member {
    /// Starts `program` as `name`. `front` is told where it listens.
    pub(super) async fn start(
        name: String,
        program: &'static str,
        config: PathBuf,
        front: Option<Arc<Front>>,
    ) -> Result<Self> {
        let log = config.with_file_name(format!("{name}.log"));
        let service = Service::start_logging_to(&log, program, &config).await?;
        let member = Self { name, program, config, log, front, service };
        member.listens()?;
        Ok(member)
    }

    /// The URL of its readiness.
    pub(super) fn ready_url(&self) -> String {
        self.service.admin_url("/health/ready")
    }

    /// Its end, which nobody has asked for; nothing while it runs.
    pub(super) fn ended_by_itself(&mut self) -> Result<Option<String>> {
        let ended = self.service.exit_status()?;
        Ok(ended.map(|status| format!("{} ended by itself: {status}", self.name)))
    }

    /// Kills it with -9, and starts it again after `down`.
    pub(super) async fn kill(&mut self, down: Duration) -> Result<()> {
        self.leave();
        self.excuse();
        self.service.kill()?;
        self.revive(down).await
    }

    /// Asks it to stop, and starts it again after `down`.
    pub(super) async fn terminate(&mut self, down: Duration) -> Result<()> {
        self.leave();
        let code = self.stop().await?;
        ensure!(code == CLEAN || code == UNFINISHED, "{} was asked to stop and ended with {code}", self.name);
        self.excuse();
        self.revive(down).await
    }

    /// Freezes it for `frozen`.
    pub(super) async fn freeze(&mut self, frozen: Duration) -> Result<()> {
        self.excuse();
        self.service.pause()?;
        sleep(frozen).await;
        self.service.resume()?;
        self.expect();
        Ok(())
    }

    /// Asks it to stop for good; everything was quiet, so it must have finished.
    pub(super) async fn finish(&mut self) -> Result<()> {
        self.leave();
        let code = self.stop().await?;
        ensure!(code == CLEAN, "{} had nothing to do, was asked to stop, and ended with {code}", self.name);
        Ok(())
    }

    async fn stop(&mut self) -> Result<i32> {
        self.service.terminate().with_context(|| self.name.clone())?;
        self.service.wait_exit(STOPPED).await
    }

    async fn revive(&mut self, down: Duration) -> Result<()> {
        sleep(down).await;
        self.service = Service::start_logging_to(&self.log, self.program, &self.config).await?;
        self.expect();
        self.listens()
    }

    fn listens(&self) -> Result<()> {
        let Some(front) = &self.front else { return Ok(()) };
        front.listens(Some(self.service.ingress_url("")?));
        Ok(())
    }

    fn leave(&self) {
        self.front.iter().for_each(|front| front.listens(None));
    }

    fn excuse(&self) {
        self.front.iter().for_each(|front| front.excuse());
    }

    fn expect(&self) {
        self.front.iter().for_each(|front| front.expect());
    }
}
