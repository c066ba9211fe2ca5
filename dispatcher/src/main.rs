//! The program `dispatcher`.

use std::process::ExitCode;

use shared::cli;

fn main() -> ExitCode {
    cli::main(dispatcher::PROGRAM, |config, lifecycle| async {
        let apps = dispatcher::apps::build(&config)?;
        dispatcher::serve(config, apps, lifecycle).await
    })
}
