//! The program `dispatcher`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatcher::main(dispatcher::apps::build)
}
