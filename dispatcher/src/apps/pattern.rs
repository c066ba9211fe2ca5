//! The `pattern` app: RapidSMS's `PatternHandler`, its reply from the configuration.

use std::borrow::Cow;

use regex::Captures;
use shared::{
    config::apps::{Pattern, Phase},
    template::Template,
};

use super::{App, Claim, Context, Step};

pub(super) struct Handler {
    name: String,
    pattern: Pattern,
    reply: Template,
}

impl Handler {
    pub(super) fn new(pattern: Pattern, reply: Template) -> Self {
        Self { name: format!("pattern {pattern}"), pattern, reply }
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
        let Some(captures) = self.pattern.captures(&context.message.text) else {
            return Step::ready(Claim::Passed);
        };
        let text = &context.message.text;
        let reply = self.reply.render(|name| group(&captures, name).or_else(|| context.value(name, text)));
        context.respond(reply);
        Step::ready(Claim::Handled)
    }
}

/// The group of that number or name; one that took no part in the match is empty.
fn group<'t>(captures: &Captures<'t>, name: &str) -> Option<Cow<'t, str>> {
    if let Ok(number) = name.parse::<usize>() {
        return Some(captures.get(number).map_or(Cow::Borrowed(""), |group| Cow::Borrowed(group.as_str())));
    }
    captures.name(name).map(|group| Cow::Borrowed(group.as_str()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::config::Config;

    use crate::{apps, engines::calls::Calls};

    #[test]
    fn the_name_has_the_pattern_as_it_was_written() {
        let text =
            "[queue]\nurl = 'embedded:x'\n[[apps]]\napp = 'pattern'\npattern = 'a(b)'\nreply = '{1}'\n";
        let config = Config::parse("test", text, &BTreeMap::new()).unwrap();
        assert_eq!(apps::build(&config, &Calls::Made).unwrap()[0].name(), "pattern a(b)");
    }
}
