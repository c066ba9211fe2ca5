//! The operator's tools, run on the queue of a gateway: `dispatcher dead-letters list`, and so on.

use std::{fs::File, path::Path, time::Duration};

use anyhow::{Context, Result};

use super::{DEADLINE, Shape, Stack, env};
use crate::processes::{Finished, Tool, run_and_kill, run_into, run_to_end};

impl Stack {
    /// Runs one of the operator's tools, `dispatcher ARGS..` or `gateway ARGS..`, to its end.
    pub async fn tool(&self, args: &[&str]) -> Result<Finished> {
        let (url, file) = (self.embedded_url(), self.config());
        let args = with_config(args, &file)?;
        run_to_end(self.tool_program(), &args, &env(url.as_deref()), self.folder.path(), DEADLINE).await
    }

    /// The same, killed after `lifetime`. True when it was not done by then.
    pub async fn kill_tool(&self, args: &[&str], lifetime: Duration) -> Result<bool> {
        let (url, file) = (self.embedded_url(), self.config());
        run_and_kill(self.tool_program(), &with_config(args, &file)?, &env(url.as_deref()), lifetime).await
    }

    /// The same, with its standard output to a file; gives the exit code.
    pub fn tool_into(&self, args: &[&str], stdout: File) -> Result<i32> {
        let (url, file) = (self.embedded_url(), self.config());
        run_into(self.tool_program(), &with_config(args, &file)?, &env(url.as_deref()), stdout)
    }

    /// The same, running beside the test.
    pub fn start_tool(&self, args: &[&str]) -> Result<Tool> {
        let (url, file) = (self.embedded_url(), self.config());
        Tool::start(self.tool_program(), &with_config(args, &file)?, &env(url.as_deref()))
    }

    fn tool_program(&self) -> &'static str {
        if matches!(self.shape, Shape::Pair { .. }) { "dispatcher" } else { "gateway" }
    }
}

fn with_config<'a>(args: &[&'a str], file: &'a Path) -> Result<Vec<&'a str>> {
    Ok(args.iter().copied().chain(["--config", file.to_str().context("the folder's name")?]).collect())
}
