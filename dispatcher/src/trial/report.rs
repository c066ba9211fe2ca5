//! What is told of a trial: labelled lines for a person at a terminal. Whatever is told of a text is on one line.

use std::fmt::Write as _;

use shared::{
    cli::one_line,
    config::HIDDEN,
    message::{BackendName, Identity, IncomingMessage, OutgoingMessage},
    telemetry::Chain,
    text::{Alphabet, Count},
};

use crate::{
    engines::{
        Engine, Part, SendError,
        calls::{Call, Header},
    },
    router::{Cancelled, Outcome, RouteError},
};

/// The lines so far.
pub(super) struct Report {
    lines: String,
    shows_secrets: bool,
    has_hidden: bool,
    replies: usize,
}

impl Report {
    pub(super) fn new(shows_secrets: bool) -> Self {
        Self { lines: String::new(), shows_secrets, has_hidden: false, replies: 0 }
    }

    pub(super) fn message(&mut self, message: &IncomingMessage) {
        let from = one_line(message.identity.as_str());
        self.row("message", &format!("from {from} through {}", message.backend));
        self.quoted(&message.text);
        for (name, value) in &message.fields {
            self.row("field", &one_line(&format!("{name}={value}")));
        }
    }

    pub(super) fn no_endpoint(&mut self, backend: &BackendName) {
        self.row("", &format!("no endpoint of the configuration takes messages for {backend}"));
    }

    /// The calls that apps would have made.
    pub(super) fn not_called(&mut self, calls: &[Call]) {
        for call in calls {
            self.space();
            let told = format!("{}, as if it answered nothing; --call-apps calls it", call.caller);
            self.row("not called", &told);
            self.call(call);
        }
        if !calls.is_empty() {
            self.space();
        }
    }

    pub(super) fn failed(&mut self, error: &RouteError) {
        let then =
            if error.is_over_time() { "the message is a dead letter" } else { "it is tried again later" };
        self.row("failed", &one_line(&format!("{}; nothing is sent, and {then}", Chain(error))));
    }

    pub(super) fn outcome(&mut self, outcome: Outcome<'_>, replies: usize) {
        match outcome {
            Outcome::Filtered(app) => self.row("filtered", &one_line(&format!("by {app}"))),
            Outcome::Handled { app, phase } => {
                self.row("claimed", &one_line(&format!("by {app}, in {phase}")));
            }
            Outcome::Unclaimed => self.row("claimed", "by nobody"),
        }
        if replies == 0 {
            self.row("replies", "none");
        }
    }

    pub(super) fn reply(&mut self, reply: &OutgoingMessage) {
        self.replies += 1;
        self.space();
        let to = format!("to {} through {}", list(reply.identities.iter()), reply.backend);
        self.row(&format!("reply {}", self.replies), &to);
        self.quoted(&reply.text);
    }

    pub(super) fn cancelled(&mut self, cancelled: &Cancelled<'_>) {
        let Cancelled { app, draft } = cancelled;
        self.space();
        let to = format!(
            "by {}: to {} through {}",
            one_line(app),
            list(draft.identities().iter()),
            draft.backend()
        );
        self.row("cancelled", &to);
        self.quoted(draft.text());
    }

    pub(super) fn no_backend(&mut self, backend: &BackendName) {
        self.row("calls", &format!("none: the configuration has no backend {backend}"));
    }

    /// What is sent of a reply's text, as it is or otherwise, and what that counts as the engine writes it.
    pub(super) fn texts(&mut self, engine: &dyn Engine, text: &str, parts: &[Part<'_>]) {
        let mut texts: Vec<&Part<'_>> = parts.iter().collect();
        texts.sort_by_key(|part| part.number);
        texts.dedup_by_key(|part| part.number);
        if let [part] = texts[..]
            && *part.text == *text
        {
            return self.row("", &count(engine, text));
        }
        for part in texts {
            self.row(&format!("part {}", part.number), &quote(&part.text));
            self.row("", &count(engine, &part.text));
        }
    }

    /// A call: which part of the text it has, where there are more, and whom it is for.
    pub(super) fn part(&mut self, number: usize, part: &Part<'_>, is_one_of_more: bool) {
        let what = if is_one_of_more { format!("part {} ", part.number) } else { String::new() };
        self.row(&format!("call {number}"), &format!("{what}to {}", list(part.identities())));
    }

    pub(super) fn taken(&mut self) {
        self.row("", "taken by the engine itself, without a request");
    }

    pub(super) fn refused(&mut self, error: &SendError) {
        self.row("refused", &one_line(&error.to_string()));
    }

    pub(super) fn calls(&mut self, calls: &[Call]) {
        for call in calls {
            self.call(call);
        }
    }

    fn call(&mut self, call: &Call) {
        let Call { caller: _, method, url, headers, body } = call;
        let mut lines = vec![format!("{method} {url}")];
        for Header { name, value, is_secret } in headers {
            let value = if *is_secret && !self.shows_secrets { HIDDEN } else { value };
            lines.push(format!("{name}: {value}"));
        }
        if !body.is_empty() {
            lines.push(body.clone());
        }
        for line in lines {
            self.has_hidden |= !self.shows_secrets && line.contains(HIDDEN);
            self.row("", &one_line(&line));
        }
    }

    pub(super) fn finish(mut self) -> String {
        if self.has_hidden {
            self.space();
            self.row("", &format!("{HIDDEN} is a value of the configuration; --show-secrets shows it"));
        }
        self.lines
    }

    fn row(&mut self, label: &str, value: &str) {
        // A `String` takes everything.
        writeln!(self.lines, "{label:<10} {value}").ok();
    }

    fn quoted(&mut self, text: &str) {
        self.row("", &quote(text));
    }

    fn space(&mut self) {
        self.lines.push('\n');
    }
}

/// A text with its ends to be seen.
fn quote(text: &str) -> String {
    format!("\"{}\"", one_line(text))
}

fn list<'i>(identities: impl Iterator<Item = &'i Identity>) -> String {
    identities.map(|identity| one_line(identity.as_str())).collect::<Vec<_>>().join(", ")
}

/// What a text is as short messages.
fn count(engine: &dyn Engine, text: &str) -> String {
    let alphabet = engine.alphabet(text).unwrap_or(Alphabet::of(text));
    let Count { alphabet, units, parts } = Count::of(text, alphabet);
    let (alphabet, unit) = match alphabet {
        Alphabet::Gsm7 => ("GSM-7", "septet"),
        Alphabet::Ucs2 => ("UCS-2", "UTF-16 unit"),
    };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    format!("in {alphabet}, {units} {unit}{}: {parts} short message{}", plural(units), plural(parts))
}
