//! The program `dispatcher`.

use std::{process::ExitCode, sync::Arc};

use dispatcher::Dispatcher;
use shared::{
    admin,
    cli::{self, Program},
    config::Config,
    lifecycle::{Failure, Lifecycle},
    queue,
};

const PROGRAM: Program =
    Program { name: "dispatcher", admin: |config| config.dispatcher.admin_listen, standalone: false };

fn main() -> ExitCode {
    cli::main(PROGRAM, serve)
}

async fn serve(config: Config, lifecycle: Lifecycle) -> Result<(), Failure> {
    let listener = admin::bind(config.dispatcher.admin_listen, "dispatcher.admin_listen").await?;
    let dispatcher = Dispatcher::build(&config)?;
    let queue = queue::open(&config, &lifecycle)?;
    let address = listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    cli::print_line(&format!("listening admin={address}"));
    let pages = admin::routes(Arc::clone(&queue), lifecycle.clone()).merge(dispatcher.pages());
    lifecycle.spawn("private listener", admin::serve(listener, pages, lifecycle.clone()));
    dispatcher.run(&queue, &lifecycle).await;
    queue.close().await;
    Ok(())
}
