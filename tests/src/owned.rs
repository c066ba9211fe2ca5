//! Child processes that end with their owner, however the owner ends.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::eventually;

/// A child in a process group of its own, killed with the whole group when this value is dropped.
///
/// A process that is killed, or stopped by Ctrl-C, drops nothing. Therefore a small shell watches a pipe from
/// this process and kills the group when the pipe closes.
pub struct OwnedChild {
    child: Child,
    watch: Child,
    ended: Option<ExitStatus>,
}

impl OwnedChild {
    /// Starts `command`; where its input and output go is the caller's choice.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let mut child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        match watch(&child) {
            Ok(watch) => Ok(Self { child, watch, ended: None }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The process id, which is the id of the group too.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends `signal` to the child alone; an error when it has ended.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        ensure!(self.exit_status()?.is_none(), "process {} has ended already", self.id());
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Sends `signal` to the child and to all that it started in its group; an error when it has ended.
    pub fn signal_group(&mut self, signal: Signal) -> Result<()> {
        ensure!(self.exit_status()?.is_none(), "process {} has ended already", self.id());
        Ok(kill_process_group(Pid::from_child(&self.child), signal)?)
    }

    /// How the child ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            self.sweep(status)?;
        }
        Ok(self.ended)
    }

    /// Waits until the child has ended.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("process {} ends", self.id());
        eventually(&what, deadline, async || self.exit_status()?.context("it runs")).await
    }

    /// Kills the child and its group, and waits until it is gone; nothing happens when it has ended.
    pub fn kill(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            kill_process_group(Pid::from_child(&self.child), Signal::KILL)?;
            let status = self.child.wait()?;
            self.sweep(status)?;
        }
        Ok(())
    }

    /// Ends what the ended child has left in its group, at once: later the id may be somebody else's.
    fn sweep(&mut self, status: ExitStatus) -> Result<()> {
        self.ended = Some(status);
        self.watch.kill()?;
        self.watch.wait()?;
        match kill_process_group(Pid::from_child(&self.child), Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // A drop has nobody to report to; the shell that watches is the second line.
        drop(self.kill());
    }
}

/// Starts the shell that kills the group of `child` when this process is gone.
fn watch(child: &Child) -> Result<Child> {
    Command::new("sh")
        .args(["-c", "read -r _; kill -s KILL -- \"-$1\"", "watch", &child.id().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("cannot start sh")
}
