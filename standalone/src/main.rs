//! The program `gateway`: both services in one process, on the embedded queue or on a broker.

use std::process::ExitCode;

use dispatcher::{Dispatcher, apps, trial};
use ingress::Ingress;
use shared::{
    cli::{self, Program},
    config::{
        Config,
        auth::{Auth, Credentials},
        endpoints::{Field, Form, HttpMethod},
    },
    lifecycle::{Failure, Lifecycle},
    queue,
};

const PROGRAM: Program =
    Program { name: "gateway", admin: |config| config.ingress.admin_listen, standalone: true };

/// Measured: a message costs less CPU with it than with the C library's (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(PROGRAM, serve, Some(trial::tell(apps::build)))
}

async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), Failure> {
    let ingress = Ingress::bind(&config).await?;
    let dispatcher = Dispatcher::build(&config, apps::build)?;
    let queue = queue::open(&config, &lifecycle)?;
    cli::print_line(&ingress.listening());
    if let Some(line) = line_to_try(&config, &ingress) {
        cli::print_line(&line);
    }
    let pages = dispatcher.pages();
    tokio::join!(ingress.run(&queue, pages, &lifecycle), dispatcher.run(&queue, &lifecycle));
    queue.close().await;
    Ok(())
}

/// A command that sends a first message, when an endpoint takes one without credentials.
fn line_to_try(config: &Config, ingress: &Ingress) -> Option<String> {
    let open = |auth: &Auth| matches!(auth.credentials, Credentials::None) && auth.allow_ips.is_empty();
    let endpoint = config.endpoints.iter().find(|endpoint| {
        let posts =
            matches!(&endpoint.form, Form::Http { methods, .. } if methods.contains(&HttpMethod::Post));
        open(&endpoint.auth)
            && posts
            && !endpoint.fields.iter().any(Field::is_in_json)
            && endpoint.fields.iter().skip(2).all(|f| !f.required)
    })?;
    let [identity, text, ..] = &endpoint.fields[..] else {
        return None;
    };
    let (address, path) = (ingress.public_address()?, endpoint.paths.first()?);
    let (identity, text) = (&identity.parameter, &text.parameter);
    Some(format!("try: curl -d {identity}=1112223333 -d '{text}=echo hello' http://{address}{path}/"))
}
