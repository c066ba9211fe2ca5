//! The `keyword` app: RapidSMS's `KeywordHandler`, its replies from the configuration.

use shared::{config::apps::Phase, keyword::Keyword, template::Template};

use super::{App, Claim, Context, Step};

pub(super) struct Handler {
    name: String,
    keyword: Keyword,
    help: Option<Template>,
    reply: Template,
}

impl Handler {
    pub(super) fn new(keyword: Keyword, help: Option<Template>, reply: Template) -> Self {
        Self { name: format!("keyword {keyword}"), keyword, help, reply }
    }
}

impl App for Handler {
    fn name(&self) -> &str {
        &self.name
    }

    fn takes_part_in(&self, phase: Phase) -> bool {
        phase == Phase::Handle
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let Some(rest) = self.keyword.rest(&context.message.text) else {
            return Step::ready(Claim::Passed);
        };
        let rest = rest.to_owned();
        let template = self.help.as_ref().filter(|_| rest.is_empty()).unwrap_or(&self.reply);
        context.respond_with(template, &rest);
        Step::ready(Claim::Handled)
    }
}
