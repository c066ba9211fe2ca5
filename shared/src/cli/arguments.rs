//! The command line: what every program understands, and the operator's tools of those that route and send.

use std::{collections::HashSet, path::PathBuf};

use clap::{Args, Parser, Subcommand};

use super::trial::{Trial, Try};
use crate::queue::dead_letters::{DeadQueue, Filter, Selection};

/// Takes phone messages from HTTP gateways, routes them through apps, and sends the replies.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments<C: Subcommand> {
    /// The configuration file.
    #[arg(long, global = true, env = "GATEWAY_CONFIG", default_value = "gateway.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<C>,
}

/// What every program understands.
#[derive(Clone, Copy, Subcommand)]
pub(super) enum Service {
    /// Serve until SIGTERM (the default).
    Run,
    /// Check the configuration and do nothing else; exit code 78 when it has problems.
    Check,
    /// Ask the running process whether it is ready; exit code 69 when it is not.
    Health,
}

/// What an operator does beside the services, whether they run or not.
#[derive(Subcommand)]
pub(super) enum Tool {
    /// Look at what could not be processed, replay it, or discard it.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Look after the queues on RabbitMQ.
    #[command(subcommand)]
    Queues(Queues),
    /// Show what would become of a message: who claims it, the replies, and the providers' requests; nothing is sent.
    Try(Trial),
}

/// All that a program with tools understands.
#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Service(Service),
    #[command(flatten)]
    Tool(Tool),
}

/// What is asked for; of a tool with what a trial tells.
pub(super) enum Asked {
    Service(Service),
    Tool(Tool, Try),
}

#[derive(Subcommand)]
pub(super) enum DeadLetters {
    /// One line a letter, without numbers and texts, oldest first.
    List {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_name = "N")]
        limit: usize,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// All of one letter, with the number and the text.
    Show {
        /// The id that `list` prints.
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// Put letters back into their queues, to be tried from the beginning.
    ///
    /// What was sent already is not sent again. A letter that was replayed 5 times must be named with --id.
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many, the oldest ones.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Delete letters for good.
    #[command(group = clap::ArgGroup::new("which").args(["all", "backend", "class", "ids"]).required(true).multiple(true))]
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        /// At most so many, the oldest ones.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Every letter; needed when nothing else says which.
        #[arg(long, conflicts_with_all = ["backend", "class", "ids"])]
        all: bool,
    },
}

#[derive(Subcommand)]
pub(super) enum Queues {
    /// Move a queue to the arguments that this program wants, with all its messages; every dispatcher must be stopped.
    Migrate {
        /// The whole name, as RabbitMQ's refusal prints it: sms.incoming.
        queue: String,
    },
}

/// Which queue.
#[derive(Args)]
pub(super) struct Place {
    /// Work on what no queue was bound for, instead of the dead letters.
    #[arg(long)]
    unrouted: bool,
}

impl Place {
    pub(super) fn dead_queue(&self) -> DeadQueue {
        if self.unrouted { DeadQueue::Unrouted } else { DeadQueue::Dead }
    }
}

/// Which letters.
#[derive(Args)]
pub(super) struct Chosen {
    #[command(flatten)]
    place: Place,
    /// Those of this backend.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Those of this class: rejected, unknown, crashed, ...
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Those with this id; may be given more than once.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<String>,
}

impl Chosen {
    pub(super) fn dead_queue(&self) -> DeadQueue {
        self.place.dead_queue()
    }

    pub(super) fn selection(self, limit: Option<usize>) -> Selection {
        let Self { backend, class, ids, .. } = self;
        Selection { filter: Filter { backend, class, ids: ids.into_iter().collect::<HashSet<_>>() }, limit }
    }
}

/// Reads the command line, which may ask for a tool where there is what a trial tells; ends the process when it cannot be
/// understood, or asks for help.
pub(super) fn parse(tell: Option<Try>) -> (PathBuf, Asked) {
    let Some(tell) = tell else {
        let Arguments { config, command } = Arguments::<Service>::parse();
        return (config, Asked::Service(command.unwrap_or(Service::Run)));
    };
    let Arguments { config, command } = Arguments::<Command>::parse();
    let asked = match command {
        Some(Command::Tool(tool)) => Asked::Tool(tool, tell),
        Some(Command::Service(service)) => Asked::Service(service),
        None => Asked::Service(Service::Run),
    };
    (config, asked)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn refused(line: &str) -> Option<clap::error::ErrorKind> {
        let words = line.split_whitespace();
        Arguments::<Command>::try_parse_from(words).err().map(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::<Command>::command().debug_assert();
        Arguments::<Service>::command().debug_assert();
    }

    #[test]
    fn everything_is_discarded_only_when_that_is_said() {
        use clap::error::ErrorKind;
        assert_eq!(refused("d dead-letters discard"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("d dead-letters discard --limit 5"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("d dead-letters discard --unrouted"), Some(ErrorKind::MissingRequiredArgument));
        assert_eq!(refused("d dead-letters discard --all --id 1"), Some(ErrorKind::ArgumentConflict));
        for line in ["--all", "--all --limit 5", "--id 1 --id 2", "--class c --backend b --limit 1"] {
            assert_eq!(refused(&format!("d dead-letters discard {line}")), None, "{line}");
        }
    }

    #[test]
    fn only_programs_with_tools_know_them() {
        let words = ["i", "dead-letters", "list"];
        assert!(Arguments::<Service>::try_parse_from(words).is_err());
        assert!(Arguments::<Command>::try_parse_from(words).is_ok());
    }
}
