//! `queues`: what an operator is told of a migration.

use super::{arguments::Queues, print_line};
use crate::{
    config::{Config, QueueUrl},
    lifecycle::Failure,
    queue::rabbitmq::{Migrated, migrate},
};

/// Does what is asked for.
pub(super) async fn run(config: &Config, command: Queues) -> Result<(), Failure> {
    let Queues::Migrate { queue } = command;
    if let QueueUrl::Embedded(_) = &config.queue.url {
        print_line("nothing to migrate: the embedded queue is brought up to date by its gateway at start");
        return Ok(());
    }
    print_line(&told(&queue, migrate(config, &queue).await?));
    Ok(())
}

fn told(queue: &str, migrated: Migrated) -> String {
    let Migrated { changed, messages } = migrated;
    match (changed, messages) {
        (false, 0) => format!("nothing to migrate: {queue} is as it is wanted"),
        (false, _) => format!("finished an earlier migration of {queue}; messages brought back: {messages}"),
        (true, _) => format!("migrated {queue}; messages brought back: {messages}"),
    }
}
