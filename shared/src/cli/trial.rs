//! `try`: the message of a dry run, as the command line has it. What would become of it is told by who routes and sends.

use std::io;

use clap::Args;
use futures_util::future::BoxFuture;

use super::out::Out;
use crate::{
    config::{Config, Logging},
    lifecycle::{Exit, Failure},
    message::{BackendName, strip},
    telemetry,
};

/// A message to be tried.
#[derive(Args)]
pub struct Trial {
    /// The backend that it comes in through.
    #[arg(long, value_name = "NAME")]
    pub backend: BackendName,
    /// Who sends it.
    #[arg(long, value_name = "NUMBER", value_parser = number)]
    pub from: String,
    /// What the provider sent beside it, as `external_id=SM1`; may be given more than once.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// Show the requests with their passwords and tokens.
    #[arg(long)]
    pub show_secrets: bool,
    /// Really call the apps `webhook` and `forward`, which are given the message.
    #[arg(long)]
    pub call_apps: bool,
    /// What it says; `-` takes it from standard input.
    pub text: String,
}

/// Tells what would become of a message.
pub type Try = Box<dyn FnOnce(Config, Trial) -> BoxFuture<'static, Result<String, Failure>>>;

// All are stripped as a form strips them.

fn number(written: &str) -> Result<String, &'static str> {
    let number = strip(written);
    if number.is_empty() {
        Err("it is blank, and no form takes a blank number")
    } else {
        Ok(number.to_owned())
    }
}

fn field(written: &str) -> Result<(String, String), &'static str> {
    let (name, value) = written.split_once('=').unwrap_or_default();
    let (name, value) = (strip(name), strip(value));
    let is_one = !name.is_empty() && !value.is_empty();
    if is_one {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err("NAME=VALUE is wanted, such as external_id=SM1")
    }
}

/// Tells it to standard output. Errors of apps that go on are told to standard error.
pub(super) async fn run(tell: Try, config: Config, mut trial: Trial) -> Result<(), Failure> {
    telemetry::start_logs(&Logging { level: "warn".to_owned(), ..config.logging.clone() });
    if trial.text == "-" {
        trial.text = io::read_to_string(io::stdin())
            .map_err(|error| Failure::new(Exit::Usage, format!("standard input is no text: {error}")))?;
    }
    trial.text = strip(&trial.text).to_owned();
    let mut out = Out::default();
    out.line(tell(config, trial).await?.trim_end());
    out.print()
}
