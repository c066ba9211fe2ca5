//! `[[apps]]`: the apps of the router, in order. One variant an app; its keys are read here, by both services.

pub mod hook;

pub mod loop_guard;

use std::{fmt, time::Duration};

use regex::{Captures, Regex, RegexBuilder};

use self::{hook::Hook, loop_guard::LoopGuard};
use super::{
    problem::Origin,
    reader::{Entry, Read, Section, explain_regex, one_of},
};
use crate::{keyword::Keyword, template::Template};

/// The help text of `echo`, and the reply of `ping` and `default`, are RapidSMS's own.
pub const ECHO_HELP: &str = "To echo some text, send: ECHO <ANYTHING>";

/// The reply of the `default` app when none is configured.
const DEFAULT_REPLY: &str = "Sorry, {project_name} could not understand your message.";

/// The names that every reply may use.
const COMMON_NAMES: [&str; 4] = ["text", "identity", "backend", "project_name"];

/// One app and its settings.
#[derive(Clone, Debug)]
pub enum App {
    /// Replies with what follows the keyword `echo`.
    Echo(Keyword),
    /// Replies `pong` to exactly `ping`.
    Ping,
    /// Replies to texts that start with a keyword.
    Keyword {
        /// What the text must start with.
        keyword: Keyword,
        /// The reply when nothing follows the keyword; without it, `reply` serves.
        help: Option<Template>,
        /// The reply; `{text}` is what follows the keyword.
        reply: Template,
    },
    /// Replies to texts that match a pattern.
    Pattern {
        /// What the text must match.
        pattern: Pattern,
        /// The reply; `{1}` or `{name}` is a group of the pattern.
        reply: Template,
    },
    /// Replies to what no other app claimed.
    Default {
        /// The reply.
        reply: Template,
    },
    /// Asks a URL what to do.
    Webhook(Box<Hook>),
    /// Copies every message to a URL.
    Forward(Box<Hook>),
    /// Does not answer a connection that answers our answers for ever.
    LoopGuard(LoopGuard),
}

/// The phases of the router: five of an incoming message, one of each reply, and one of what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// May stop the message.
    Filter,
    /// May add to it.
    Parse,
    /// May claim it.
    Handle,
    /// May claim what nobody handled.
    Default,
    /// Runs for every message that was not filtered.
    Cleanup,
    /// May change or cancel a reply.
    Outgoing,
    /// Is told what a provider reports.
    Report,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Filter, Self::Parse, Self::Handle, Self::Default, Self::Cleanup, Self::Outgoing, Self::Report];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Parse => "parse",
            Self::Handle => "handle",
            Self::Default => "default",
            Self::Cleanup => "cleanup",
            Self::Outgoing => "outgoing",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Read for Phase {
    fn read(entry: Entry<'_>) -> Option<Self> {
        one_of(&entry, &Self::ALL.map(|phase| (phase.name(), phase)))
    }
}

/// A pattern, ready to match. As RapidSMS's `re.match(pattern, text, IGNORECASE)`: anchored at the start only.
#[derive(Clone, Debug)]
pub struct Pattern {
    written: String,
    rule: Regex,
}

impl Pattern {
    fn new(written: &str) -> Result<Self, regex::Error> {
        // Compiled alone first, so that an error speaks of what was written and no parenthesis can close our group.
        Regex::new(written)?;
        let rule = RegexBuilder::new(&format!(r"\A(?:{written})")).case_insensitive(true).build()?;
        Ok(Self { written: written.to_owned(), rule })
    }

    /// The groups of `text`, or nothing when it does not match.
    #[must_use]
    pub fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.rule.captures(text)
    }

    /// What a reply may name: the numbers of the groups, then their names.
    fn groups(&self) -> Vec<String> {
        let numbers = (0..self.rule.captures_len()).map(|number| number.to_string());
        numbers.chain(self.rule.capture_names().flatten().map(str::to_owned)).collect()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Read for Pattern {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let written = String::read(entry.clone())?;
        Self::new(&written).map_err(|error| entry.note(explain_regex(&error))).ok()
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Ping,
    Keyword,
    Pattern,
    Default,
    Webhook,
    Forward,
    LoopGuard,
}

/// What `forward` can copy.
const COPIED: [Phase; 3] = [Phase::Parse, Phase::Outgoing, Phase::Report];

const KINDS: [(&str, Kind); 8] = [
    ("echo", Kind::Echo),
    ("ping", Kind::Ping),
    ("keyword", Kind::Keyword),
    ("pattern", Kind::Pattern),
    ("default", Kind::Default),
    ("webhook", Kind::Webhook),
    ("forward", Kind::Forward),
    ("loop-guard", Kind::LoopGuard),
];

/// What the apps before claim, and where they stand; whom they call, and what they may need of the time that all have.
struct Earlier {
    keywords: Vec<(Keyword, Origin)>,
    default: Option<Origin>,
    peers: Vec<String>,
    calls: Duration,
    reply_calls: Duration,
    app_timeout: Duration,
}

/// Reads all apps and notes those that an earlier app leaves nothing to.
pub(super) fn read(sections: Vec<Section<'_>>, app_timeout: Duration) -> Vec<App> {
    let mut earlier = Earlier {
        keywords: Vec::new(),
        default: None,
        peers: Vec::new(),
        calls: Duration::ZERO,
        reply_calls: Duration::ZERO,
        app_timeout,
    };
    sections.into_iter().filter_map(|section| read_one(section, &mut earlier)).collect()
}

fn read_one(mut section: Section<'_>, earlier: &mut Earlier) -> Option<App> {
    // The other keys cannot be judged without knowing the app.
    let (kind, name) = section.required_with("app", |entry| Some((one_of(&entry, &KINDS)?, entry)))?;
    let app = match kind {
        Kind::Echo => Keyword::new("echo").ok().map(|keyword| {
            note_keyword(&name, section.origin(), &keyword, earlier);
            App::Echo(keyword)
        }),
        Kind::Ping => Some(App::Ping),
        Kind::Keyword => read_keyword(&mut section, earlier),
        Kind::Pattern => read_pattern(&mut section),
        Kind::Default => {
            if let Some(place) = earlier.default.replace(section.origin().clone()) {
                name.note(format!("can never be reached: the `default` app at {place} claims every message"));
            }
            let reply = read_reply(&mut section, "reply", &[]);
            reply.or_else(|| Template::parse(DEFAULT_REPLY).ok()).map(|reply| App::Default { reply })
        }
        Kind::Webhook => {
            let hook = hook::read(&mut section, Phase::Handle, &Phase::ALL, earlier);
            hook.map(Box::new).map(App::Webhook)
        }
        Kind::Forward => {
            let hook = hook::read(&mut section, Phase::Parse, &COPIED, earlier);
            hook.map(Box::new).map(App::Forward)
        }
        Kind::LoopGuard => Some(App::LoopGuard(loop_guard::read(&mut section))),
    };
    section.finish();
    app
}

fn read_keyword(section: &mut Section<'_>, earlier: &mut Earlier) -> Option<App> {
    let app = section.origin().clone();
    let keyword = section.required_with("keyword", |entry| {
        let keyword = compile_keyword(&entry)?;
        note_keyword(&entry, &app, &keyword, earlier);
        Some(keyword)
    });
    let help = read_reply(section, "help", &[]);
    section.wants("reply");
    let reply = read_reply(section, "reply", &[]);
    Some(App::Keyword { keyword: keyword?, help, reply: reply? })
}

fn compile_keyword(entry: &Entry<'_>) -> Option<Keyword> {
    let written = String::read(entry.clone())?;
    let keyword = match Keyword::new(&written) {
        Ok(keyword) => keyword,
        Err(error) => return entry.problem(explain_regex(&error)),
    };
    for word in keyword.words() {
        if word.is_empty() {
            entry.note("a keyword, or one of its alternatives, is empty and would match every message");
        } else if word.trim() != word || keyword.rest(word).is_none() {
            let shown = entry.shown(word);
            entry.problem::<()>(format!("{shown} can never match: a message's text has no space around it"));
        }
    }
    Some(keyword)
}

/// Notes each word of the keyword at `entry` that an earlier app claims, alone and followed by anything.
fn note_keyword(entry: &Entry<'_>, app: &Origin, keyword: &Keyword, earlier: &mut Earlier) {
    for word in keyword.words().into_iter().filter(|word| !word.is_empty()) {
        let claims =
            |other: &Keyword| other.rest(word).is_some() && other.rest(&format!("{word} x")).is_some();
        if let Some((_, place)) = earlier.keywords.iter().find(|(other, _)| claims(other)) {
            let shown = entry.shown(word);
            entry.note(format!("{shown} can never match: the app at {place} claims it before"));
        }
    }
    earlier.keywords.push((keyword.clone(), app.clone()));
}

fn read_pattern(section: &mut Section<'_>) -> Option<App> {
    let pattern: Option<Pattern> = section.required("pattern");
    let groups: Vec<String> = pattern.iter().flat_map(Pattern::groups).collect();
    section.wants("reply");
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let reply = read_reply(section, "reply", &groups);
    Some(App::Pattern { pattern: pattern?, reply: reply? })
}

/// Reads a reply; every name in it must be a common one or one of `names`.
fn read_reply(section: &mut Section<'_>, key: &'static str, names: &[&str]) -> Option<Template> {
    let origin = section.origin_of(key);
    let reply: Template = section.optional(key)?;
    let known: Vec<&str> = COMMON_NAMES.iter().copied().chain(names.iter().copied()).collect();
    section.check_names(&origin, key, &reply, &known);
    Some(reply)
}
