//! The `echo` app: sends back what follows the word `echo`.

use shared::{
    config::apps::{ECHO_HELP, Phase},
    keyword::Keyword,
};

use super::{App, Claim, Context, Step};

pub(super) struct Echo {
    keyword: Keyword,
}

impl Echo {
    pub(super) fn new(keyword: Keyword) -> Self {
        Self { keyword }
    }
}

impl App for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == Phase::Handle
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let Some(rest) = self.keyword.rest(&context.message.text) else {
            return Step::ready(Claim::Passed);
        };
        let reply = if rest.is_empty() { ECHO_HELP } else { rest }.to_owned();
        context.respond(reply);
        Step::ready(Claim::Handled)
    }
}
