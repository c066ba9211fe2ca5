//! The `default` app: answers what no other app claimed.

use shared::{config::apps::Phase, template::Template};

use super::{App, Claim, Context, Step};

pub(super) struct Default {
    reply: Template,
}

impl Default {
    pub(super) fn new(reply: Template) -> Self {
        Self { reply }
    }
}

impl App for Default {
    fn name(&self) -> &'static str {
        "default"
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == Phase::Default
    }

    fn default<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let text = context.message.text.clone();
        context.respond_with(&self.reply, &text);
        Step::ready(Claim::Handled)
    }
}
