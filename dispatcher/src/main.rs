//! The program `dispatcher`.

use std::process::ExitCode;

/// Measured: a message costs less CPU with it than with the C library's (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dispatcher::main(dispatcher::apps::build)
}
