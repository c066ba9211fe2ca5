//! The program `ingress`.

use std::process::ExitCode;

use ingress::Ingress;
use shared::{
    admin::Pages,
    cli::{self, Program},
    config::Config,
    lifecycle::{Failure, Lifecycle},
    queue,
};

const PROGRAM: Program =
    Program { name: "ingress", admin: |config| config.ingress.admin_listen, standalone: false };

/// Measured: a message costs less CPU with it than with the C library's (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main(PROGRAM, serve, None)
}

async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), Failure> {
    let ingress = Ingress::bind(&config).await?;
    let queue = queue::open(&config, &lifecycle)?;
    cli::print_line(&ingress.listening());
    ingress.run(&queue, Pages::default(), &lifecycle).await;
    queue.close().await;
    Ok(())
}
