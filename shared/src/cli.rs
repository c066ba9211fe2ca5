//! What the three programs have in common: `check`, `health`, and the way from start to exit code.

mod arguments;

mod dead_letters;

mod out;

mod queues;

mod trial;

use std::{
    future::Future,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use self::arguments::{Asked, Service, Tool};
pub use self::{
    out::one_line,
    trial::{Trial, Try},
};
use crate::{
    config::{Config, Environment, Origin, Problem, Problems},
    guard, http,
    lifecycle::{Exit, Failure, Lifecycle},
    reload::{self, Reload},
    telemetry,
};

/// How long `health` waits for an answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// What tells one program from another.
#[derive(Clone, Copy)]
pub struct Program {
    /// The program's name.
    pub name: &'static str,
    /// Where its health page is.
    pub admin: fn(&Config) -> SocketAddr,
    /// Whether it has all services in it, so that the embedded queue can serve.
    pub standalone: bool,
}

/// Runs `program`. `serve` builds its services and returns when they are drained; with `tell`, the program has the operator's
/// tools, `try` among them.
pub fn main<S, F>(program: Program, serve: S, tell: Option<Try>) -> ExitCode
where
    S: FnOnce(Config, Lifecycle) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let (file, asked) = arguments::parse(tell);
    let outcome = load(&file, program).and_then(|config| match asked {
        Asked::Service(Service::Run) => {
            let again = Box::new(move || load(&file, program));
            run(config, again, serve)
        }
        Asked::Service(Service::Check) => {
            print_line(&summary(&file, &config));
            Ok(())
        }
        Asked::Service(Service::Health) => health((program.admin)(&config)),
        Asked::Tool(tool, tell) => use_tool(program, config, tool, tell),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_error(&format!("{}: {failure}", program.name));
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// Prints one line to standard output, where scripts read it.
#[expect(clippy::print_stdout, reason = "this line is the program's interface, not a log")]
pub fn print_line(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "told even where logging is off or not yet started")]
fn print_error(line: &str) {
    eprintln!("{line}");
}

/// Both TLS users, lapin and reqwest, take the process's provider. A second call finds it installed.
pub fn install_tls_provider() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

fn load(file: &Path, program: Program) -> Result<Config, Failure> {
    let refused = |message: String| Failure::new(Exit::Config, message);
    let shown = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| {
        refused(format!(
            "cannot read {shown}: {error}; name the configuration with --config FILE or GATEWAY_CONFIG"
        ))
    })?;
    let service = (!program.standalone).then_some(program.name);
    decode(&shown, bytes)
        .and_then(|text| Config::parse_for(service, &shown, &text, &environment()))
        .map_err(|problems| refused(format!("{shown} cannot be used\n{problems}")))
}

fn decode(file: &str, bytes: Vec<u8>) -> Result<String, Problems> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let origin = Origin::File { file: file.into(), line };
        let message = format!("line {line} is not UTF-8; save the file as UTF-8");
        Problems(vec![Problem { origin, key: String::new(), message }])
    })
}

#[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
fn environment() -> Environment {
    // A variable that is no Unicode cannot be referred to from the configuration.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn summary(file: &Path, config: &Config) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (backends, endpoints) =
        (count(config.backends.len(), "backend"), count(config.endpoints.len(), "endpoint"));
    format!("{}: ok, {backends}, {endpoints}, {}", file.display(), count(config.apps.len(), "app"))
}

fn run<S, F>(config: Config, again: reload::Read, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Config, Lifecycle) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let level = telemetry::start_logs(&config.logging);
    let reload = Reload::new(&config, level, again);
    telemetry::metrics();
    install_tls_provider();
    http::raise_open_files();
    let unavailable =
        |error: std::io::Error| Failure::new(Exit::Unavailable, format!("cannot start: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(unavailable)?;
    let outcome = runtime.block_on(async {
        let lifecycle = Lifecycle::default();
        lifecycle.watch_signals().map_err(unavailable)?;
        guard::start(config.dispatcher.stuck_after, &lifecycle);
        lifecycle.on_hangup(move || reload.again()).map_err(unavailable)?;
        serve_until_drained(config, lifecycle, serve).await
    });
    // What the drain deadline left behind is not waited for: it comes back from the queue.
    runtime.shutdown_background();
    outcome
}

/// Uses a tool. A signal ends it at once, which harms nothing: each message is somewhere at every moment.
fn use_tool(program: Program, config: Config, tool: Tool, tell: Try) -> Result<(), Failure> {
    install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unavailable, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        match tool {
            Tool::DeadLetters(command) => dead_letters::run(program.name, &config, command).await,
            Tool::Queues(command) => queues::run(&config, command).await,
            Tool::Try(trial) => trial::run(tell, config, trial).await,
        }
    })
}

async fn serve_until_drained<S, F>(config: Config, lifecycle: Lifecycle, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Config, Lifecycle) -> F,
    F: Future<Output = Result<(), Failure>>,
{
    let deadline = config.drain_timeout;
    let all = async {
        serve(config, lifecycle.clone()).await?;
        lifecycle.finished().await;
        Ok(())
    };
    let mut all = pin!(all);
    let drained = tokio::select! {
        ended = &mut all => ended,
        () = lifecycle.stopping() => tokio::time::timeout(deadline, all).await.unwrap_or_else(|_| {
            let deadline = humantime::format_duration(deadline);
            Err(Failure::new(Exit::Drain, format!("not drained within {deadline}; what was unfinished is redelivered")))
        }),
    };
    lifecycle.failure().map_or(drained, Err)
}

/// Asks the health page of a process on this machine.
fn health(admin: SocketAddr) -> Result<(), Failure> {
    let here = if admin.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { admin.ip() };
    let address = SocketAddr::new(here, admin.port());
    let answer = ask(address).map_err(|error| {
        Failure::new(Exit::Unavailable, format!("no answer from http://{address}/health/ready: {error}"))
    })?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    if answer.starts_with("HTTP/1.1 200") || answer.starts_with("HTTP/1.0 200") {
        print_line(body);
        return Ok(());
    }
    Err(Failure::new(Exit::Unavailable, format!("not ready: {body}")))
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(format!("GET /health/ready HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_utf_8_is_told_with_the_line() {
        let told = decode("g.toml", b"a = 1\n# caf\xe9\n".to_vec()).unwrap_err().to_string();
        assert!(
            told.starts_with("g.toml:2: line 2 is not UTF-8; save the file as UTF-8\n1 problem"),
            "{told}"
        );
        assert_eq!(decode("g.toml", "# café\n".into()).unwrap(), "# café\n");
    }
}
