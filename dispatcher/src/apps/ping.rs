//! The `ping` app: answers `pong` to exactly `ping`.

use shared::config::apps::Phase;

use super::{App, Claim, Context, Step};

pub(super) struct Ping;

impl App for Ping {
    fn name(&self) -> &'static str {
        "ping"
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == Phase::Handle
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        if context.message.text != "ping" {
            return Step::ready(Claim::Passed);
        }
        context.respond("pong");
        Step::ready(Claim::Handled)
    }
}
