//! The real binaries as child processes, with everything they print.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::eventually;
use crate::owned::OwnedChild;

use self::lines::Lines;

mod lines;

/// A service prints its addresses as soon as it has bound them, before it has reached the broker.
const LISTEN_DEADLINE: Duration = Duration::from_secs(20);

/// Where cargo has put the binary `name`: beside the binary that runs, or above the tests that run.
pub fn binary(name: &str) -> Result<PathBuf> {
    let program = env::current_exe()?;
    let mut places = program.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let binary = places.find(|binary| binary.is_file());
    binary.with_context(|| format!("the binary {name} is missing: run `cargo build --workspace` first"))
}

/// A running ingress, dispatcher or gateway; killed when it is dropped.
///
/// What it printed is printed again at the drop, so that the test runner shows it beside a failed test.
pub struct Service {
    process: Process,
    addresses: Addresses,
}

impl Service {
    /// Starts `program --config CONFIG ARGS...` and waits until it says where it listens.
    ///
    /// Variables of this process that would change the configuration (`GATEWAY...`) are not handed on.
    pub async fn start(program: &str, args: &[&str], config: &Path, env: &[(&str, &str)]) -> Result<Self> {
        let mut command = command(program, env)?;
        command.arg("--config").arg(config).args(args);
        Self::listening(program, Process::spawn(program, &mut command)?).await
    }

    /// As [`Service::start`], with its standard error added to the file `log`, and nothing printed at the drop: for a
    /// service that runs long and is started often.
    pub async fn start_logging_to(log: &Path, program: &str, config: &Path) -> Result<Self> {
        let mut command = command(program, &[])?;
        command.arg("--config").arg(config);
        Self::listening(program, Process::spawn_logging_to(log, program, &mut command)?).await
    }

    /// Starts a binary of ours that has no configuration, and waits until it says where it listens; nothing is printed at the drop.
    pub async fn start_bare(program: &str, args: &[&str]) -> Result<Self> {
        let mut command = command(program, &[])?;
        let mut service = Self::listening(program, Process::spawn(program, command.args(args))?).await?;
        service.process.quiet = true;
        Ok(service)
    }

    async fn listening(program: &str, mut process: Process) -> Result<Self> {
        let what = format!("{program} prints the addresses on which it listens");
        let addresses = eventually(&what, LISTEN_DEADLINE, async || {
            // An outer Ok ends the wait: a service that has ended will not listen any more.
            match (process.stdout().iter().find_map(|line| parse_addresses(line)), process.exit_status()?) {
                (Some(addresses), _) => anyhow::Ok(Ok(addresses)),
                (None, Some(status)) => {
                    Ok(Err(anyhow!("{program} ended with {status} instead of listening")))
                }
                (None, None) => Err(anyhow!("it runs and has not listened yet")),
            }
        });
        let addresses = addresses.await.and_then(|outcome| outcome).with_context(|| process.output())??;
        Ok(Self { process, addresses })
    }

    /// The URL of `path` on the providers' listener; an error for a dispatcher, which has none.
    pub fn ingress_url(&self, path: &str) -> Result<String> {
        let address =
            self.addresses.ingress.with_context(|| format!("{} has no ingress", self.process.name))?;
        Ok(format!("http://{address}{path}"))
    }

    /// Where the providers' listener is; an error for a dispatcher, which has none.
    pub fn ingress_address(&self) -> Result<SocketAddr> {
        self.addresses.ingress.with_context(|| format!("{} has no ingress", self.process.name))
    }

    /// The URL of `path` on the private listener.
    #[must_use]
    pub fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addresses.admin)
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// How much memory of the machine the process occupies, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Asks the service to stop (SIGTERM), without waiting for it.
    pub fn terminate(&mut self) -> Result<()> {
        self.process.child.signal(Signal::TERM)
    }

    /// Asks the service to read its configuration again (SIGHUP), without waiting for it.
    pub fn hangup(&mut self) -> Result<()> {
        self.process.child.signal(Signal::HUP)
    }

    /// Kills the service (SIGKILL), as a crash would, and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.process.child.kill()
    }

    /// Freezes the service, as a machine that swaps would: its connections stay open.
    pub fn pause(&mut self) -> Result<()> {
        self.process.child.signal(Signal::STOP)
    }

    /// Lets a frozen service go on.
    pub fn resume(&mut self) -> Result<()> {
        self.process.child.signal(Signal::CONT)
    }

    /// How the service ended, or `None` while it runs.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exit_status()
    }

    /// Waits until the service has ended by itself, and gives its exit code.
    pub async fn wait_exit(&mut self, deadline: Duration) -> Result<i32> {
        self.process.wait_exit(deadline).await
    }

    /// The lines that it has printed to its standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.process.stdout()
    }

    /// The lines that it has printed to its standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.process.stderr()
    }
}

/// Lets this process, and all that it starts, hold as many connections as the system allows to anybody.
pub fn allow_many_connections() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?)
}

/// What a command that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// The standard output, line ends included.
    pub stdout: String,
    /// The standard error, line ends included.
    pub stderr: String,
}

/// Runs one of our binaries that is expected to end, such as `ingress check`, in the folder `cwd`.
pub async fn run_to_end(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
    cwd: &Path,
    deadline: Duration,
) -> Result<Finished> {
    let mut process = Process::spawn(program, command(program, env)?.args(args).current_dir(cwd))?;
    let code = process.wait_exit(deadline).await?;
    Ok(Finished { code, stdout: joined(&process.stdout()), stderr: joined(&process.stderr()) })
}

/// As [`run_to_end`], but kills the command when it has run for `lifetime`. True when it was killed.
pub async fn run_and_kill(
    program: &str,
    args: &[&str],
    env: &[(&str, &str)],
    lifetime: Duration,
) -> Result<bool> {
    let mut process = Process::spawn(program, command(program, env)?.args(args))?;
    tokio::time::sleep(lifetime).await;
    let runs = process.exit_status()?.is_none();
    process.child.kill()?;
    Ok(runs)
}

/// As [`run_to_end`], with its standard output to a file; gives the exit code.
pub fn run_into(program: &str, args: &[&str], env: &[(&str, &str)], stdout: File) -> Result<i32> {
    let status = command(program, env)?.args(args).stdin(Stdio::null()).stdout(stdout).status()?;
    status.code().with_context(|| format!("{program} was ended by a signal: {status}"))
}

/// A command that runs beside the test; killed when it is dropped.
pub struct Tool(Process);

impl Tool {
    /// Starts one of our binaries that is expected to end.
    pub fn start(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Self> {
        Process::spawn(program, command(program, env)?.args(args)).map(Self)
    }

    /// Freezes it: its connections stay open.
    pub fn pause(&mut self) -> Result<()> {
        self.0.child.signal(Signal::STOP)
    }

    /// Kills it (SIGKILL), frozen or not.
    pub fn kill(&mut self) -> Result<()> {
        self.0.child.kill()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "to keep a developer's own settings from the services under test"
)]
fn command(program: &str, env: &[(&str, &str)]) -> Result<Command> {
    let mut command = Command::new(binary(program)?);
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GATEWAY")) {
        command.env_remove(name);
    }
    command.envs(env.iter().copied());
    Ok(command)
}

/// A child and the two threads that read what it prints.
pub(crate) struct Process {
    name: String,
    child: OwnedChild,
    stdout: Lines,
    stderr: Lines,
    /// What it prints is kept elsewhere.
    quiet: bool,
}

impl Process {
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        Self::spawn_on(Stdio::null(), name, command)
    }

    fn spawn_on(stdin: Stdio, name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = OwnedChild::spawn(command)?;
        let stdout = Lines::read(child.child().stdout.take().context("no pipe for stdout")?);
        let stderr = Lines::read(child.child().stderr.take().context("no pipe for stderr")?);
        Ok(Self { name: name.to_owned(), child, stdout, stderr, quiet: false })
    }

    /// As [`Process::spawn`], with an input to write to.
    pub(crate) fn spawn_reading(name: &str, command: &mut Command) -> Result<(Self, ChildStdin)> {
        let mut process = Self::spawn_on(Stdio::piped(), name, command)?;
        let input = process.child.child().stdin.take().context("no pipe for stdin")?;
        Ok((process, input))
    }

    fn spawn_logging_to(log: &Path, name: &str, command: &mut Command) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = OwnedChild::spawn(command)?;
        let stdout = Lines::read(child.child().stdout.take().context("no pipe for stdout")?);
        Ok(Self { name: name.to_owned(), child, stdout, stderr: Lines::read(io::empty()), quiet: true })
    }

    /// How the process ended, with its output complete, or `None` while it runs.
    fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.exit_status()?;
        if status.is_some() {
            self.stdout.finish();
            self.stderr.finish();
        }
        Ok(status)
    }

    async fn wait_exit(&mut self, deadline: Duration) -> Result<i32> {
        let what = format!("{} ends", self.name);
        let ended = eventually(&what, deadline, async || self.exit_status()?.context("it runs")).await;
        let status = ended.with_context(|| self.output())?;
        status.code().with_context(|| format!("{} was ended by a signal: {status}", self.name))
    }

    /// Kills it (SIGKILL), and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()
    }

    pub(crate) fn stdout(&self) -> Vec<String> {
        self.stdout.seen()
    }

    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.seen()
    }

    fn output(&self) -> String {
        let (name, id) = (&self.name, self.child.id());
        let (stdout, stderr) = (joined(&self.stdout()), joined(&self.stderr()));
        format!(
            "--- {name} ({id}) stdout\n{stdout}--- {name} ({id}) stderr\n{stderr}--- end of {name} ({id})"
        )
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "only the print macros reach the capture of the test runner")]
    fn drop(&mut self) {
        // A drop has nobody to report to.
        drop(self.child.kill());
        self.stdout.finish();
        self.stderr.finish();
        if !self.quiet {
            eprintln!("{}", self.output());
        }
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

struct Addresses {
    ingress: Option<SocketAddr>,
    admin: SocketAddr,
}

/// Reads `listening ingress=ADDR admin=ADDR`, where a dispatcher leaves `ingress` out; `None` for other lines.
fn parse_addresses(line: &str) -> Option<Result<Addresses>> {
    let pairs = line.strip_prefix("listening ")?;
    let address = |key: &str| -> Result<Option<SocketAddr>> {
        let value = pairs.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
        value.map(|value| value.parse().with_context(|| format!("in the line {line:?}"))).transpose()
    };
    Some(address("ingress").and_then(|ingress| {
        let admin = address("admin")?.with_context(|| format!("no admin address in the line {line:?}"))?;
        Ok(Addresses { ingress, admin })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_line_of_every_service() {
        let both = parse_addresses("listening ingress=127.0.0.1:8000 admin=127.0.0.1:8001").unwrap().unwrap();
        assert_eq!(both.ingress, Some("127.0.0.1:8000".parse().unwrap()));
        assert_eq!(both.admin, "127.0.0.1:8001".parse().unwrap());
        let dispatcher = parse_addresses("listening admin=127.0.0.1:8002").unwrap().unwrap();
        assert_eq!(dispatcher.ingress, None);
        assert!(parse_addresses("listening ingress=127.0.0.1:8000").unwrap().is_err());
        assert!(parse_addresses("ready").is_none());
    }
}
