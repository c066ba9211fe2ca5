//! On what was measured.

use std::fmt;
use std::fs;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;
use shared::clock;

use crate::Broker;

/// The machine, and the versions of what is not ours.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    date: String,
    processor: String,
    cores: usize,
    memory_gib: u64,
    system: String,
    kernel: String,
    rabbitmq: String,
    erlang: String,
    rust: String,
}

/// Looks at the machine, and asks the broker.
pub(super) fn look(broker: &Broker) -> Result<Machine> {
    let kib: u64 = field("/proc/meminfo", "MemTotal:")?.trim_end_matches(" kB").parse()?;
    let rust = Command::new("rustc").arg("--version").output();
    Ok(Machine {
        date: humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(clock::now().0))
            .to_string(),
        processor: field("/proc/cpuinfo", "model name")
            .unwrap_or_default()
            .trim_matches([':', ' '])
            .to_owned(),
        cores: available_parallelism()?.get(),
        memory_gib: kib / 1024 / 1024,
        system: field("/etc/os-release", "PRETTY_NAME=")?.trim_matches('"').to_owned(),
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        rabbitmq: eval(broker, "{ok, Version} = application:get_key(rabbit, vsn), list_to_binary(Version).")?,
        erlang: eval(broker, "list_to_binary(erlang:system_info(otp_release)).")?,
        // A machine that only runs the benchmark has no compiler.
        rust: rust.map_or_else(
            |_| "?".to_owned(),
            |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        ),
    })
}

fn eval(broker: &Broker, expression: &str) -> Result<String> {
    Ok(broker.control(&["eval", expression])?.trim().trim_matches(['<', '>', '"']).to_owned())
}

fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.with_context(|| format!("no {name} in {file}"))?.trim().to_owned())
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { date, processor, cores, memory_gib, system, kernel, rabbitmq, erlang, rust } = self;
        write!(
            f,
            "{date}, {cores} cores ({processor}) with {memory_gib} GiB, {system}, Linux {kernel}, RabbitMQ {rabbitmq} on Erlang {erlang}, {rust}"
        )
    }
}
