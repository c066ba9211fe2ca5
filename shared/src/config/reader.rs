//! Reads a [`Node`] into typed values and notes every problem on the way: missing, unknown, of the wrong kind.

use std::{collections::BTreeMap, fmt, time::Duration};

use secrecy::SecretString;

use super::{
    problem::{Notes, Origin, suggestion},
    tree::{Node, Table, Value},
};
use crate::template::Template;

/// A table being read. Each key is taken once; [`Section::finish`] notes those that nobody took.
pub(super) struct Section<'n> {
    path: String,
    origin: Origin,
    table: Table,
    known: Vec<&'static str>,
    notes: &'n Notes,
}

/// A value with its place, passed to [`Read`] implementations.
#[derive(Clone)]
pub(super) struct Entry<'n> {
    pub(super) key: String,
    pub(super) node: Node,
    pub(super) notes: &'n Notes,
}

/// What can be read from a value. `None` means that a problem was noted.
pub(super) trait Read: Sized {
    fn read(entry: Entry<'_>) -> Option<Self>;
}

impl<'n> Section<'n> {
    /// The whole configuration.
    pub(super) fn root(node: Node, notes: &'n Notes) -> Option<Self> {
        Self::read(Entry { key: String::new(), node, notes })
    }

    /// Opens a table.
    pub(super) fn read(entry: Entry<'n>) -> Option<Self> {
        let entry = entry.structured();
        let Value::Table(table) = entry.node.value else {
            return entry.wanted_structure("a table", r#"{ key = "value" }"#);
        };
        let (path, origin) = (entry.key, entry.node.origin);
        Some(Self { path, origin, table, known: Vec::new(), notes: entry.notes })
    }

    /// Where the table was written.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path of `key` in the whole configuration.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where `key` was written, or the table when it was not.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        self.table.get(key).map_or(&self.origin, |node| &node.origin).clone()
    }

    /// Where each key was written.
    pub(super) fn origins(&self) -> BTreeMap<String, Origin> {
        self.table.iter().map(|(key, node)| (key.clone(), node.origin.clone())).collect()
    }

    /// Notes a problem with `key`.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        self.notes.add(&self.origin_of(key), self.path_of(key), message);
    }

    /// Notes a problem with the table.
    pub(super) fn problem_here(&self, message: impl Into<String>) {
        self.notes.add(&self.origin, self.path.clone(), message);
    }

    /// True when `key` is there and was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The names of all keys that are left.
    pub(super) fn keys(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    fn entry(&mut self, key: &'static str) -> Option<Entry<'n>> {
        self.known.push(key);
        self.named(key)
    }

    /// Takes a key whose name the user chose.
    pub(super) fn named(&mut self, key: &str) -> Option<Entry<'n>> {
        let node = self.table.shift_remove(key)?;
        Some(Entry { key: self.path_of(key), node, notes: self.notes })
    }

    /// Takes a key that may be missing.
    pub(super) fn optional<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.entry(key).and_then(T::read)
    }

    /// Takes a key, or `default` when it is missing or wrong; wrong is noted.
    pub(super) fn or<T: Read>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// Takes a key that must be there.
    pub(super) fn required<T: Read>(&mut self, key: &'static str) -> Option<T> {
        self.required_with(key, T::read)
    }

    /// Takes a key that must be there, read by `read`.
    pub(super) fn required_with<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Entry<'n>) -> Option<T>,
    ) -> Option<T> {
        self.wants(key);
        self.entry(key).and_then(read)
    }

    /// Takes a key that may be missing, read by `read`.
    pub(super) fn optional_with<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(Entry<'n>) -> Option<T>,
    ) -> Option<T> {
        self.entry(key).and_then(read)
    }

    /// Notes it when `key` is missing, with what may have been written in its place.
    pub(super) fn wants(&self, key: &str) {
        if self.has(key) {
            return;
        }
        let near = self.table.keys().find(|written| strsim::damerau_levenshtein(written, key) <= 2);
        let near = near.map(|written| format!("; `{written}` is written instead")).unwrap_or_default();
        self.problem_here(format!("`{key}` is missing{near}"));
    }

    /// Notes a problem with a `key` that was taken already and stood at `origin`.
    pub(super) fn problem_at(&self, origin: &Origin, key: &str, message: impl Into<String>) {
        self.notes.add(origin, self.path_of(key), message);
    }

    /// Notes each name of `template` that is none of `known`.
    pub(super) fn check_names(&self, origin: &Origin, key: &str, template: &Template, known: &[&str]) {
        for name in template.names().filter(|name| !known.contains(name)) {
            let near = suggestion(name, known.iter().copied());
            let shown = match origin {
                Origin::File { .. } => format!("`{{{name}}}`"),
                Origin::Environment(_) => "a name in this value".to_owned(),
            };
            self.problem_at(origin, key, format!("{shown} is not known here{near}"));
        }
    }

    /// Opens the table at `key`; a missing one is empty, so that its defaults apply.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Section<'n>> {
        let missing = Section {
            path: self.path_of(key),
            origin: self.origin.clone(),
            table: Table::new(),
            known: Vec::new(),
            notes: self.notes,
        };
        self.entry(key).map_or(Some(missing), Section::read)
    }

    /// Opens each table of the array at `key`.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Section<'n>> {
        let path = self.path_of(key);
        let entries = self.entry(key).and_then(|entry| {
            if matches!(entry.node.value, Value::Table(_)) {
                return entry.problem(format!("an array is wanted, not a table; write [[{path}]]"));
            }
            items(entry)
        });
        entries.into_iter().flatten().filter_map(Section::read).collect()
    }

    /// Notes the keys that nobody took.
    pub(super) fn finish(mut self) {
        for (key, node) in std::mem::take(&mut self.table) {
            let near = suggestion(&key, self.known.iter().copied());
            self.notes.add(&node.origin, self.path_of(&key), format!("unknown key{near}"));
        }
    }
}

impl Entry<'_> {
    /// The same, where an array or a table is wanted: in the environment it is written as a text.
    pub(super) fn structured(self) -> Self {
        Self { node: self.node.structured(), ..self }
    }

    /// Notes a problem with this value.
    pub(super) fn note(&self, message: impl Into<String>) {
        self.notes.add(&self.node.origin, self.key.clone(), message);
    }

    /// Notes a problem with this value, which then is none.
    pub(super) fn problem<T>(&self, message: impl Into<String>) -> Option<T> {
        self.note(message);
        None
    }

    /// `part` of this value as a problem may repeat it. What came from the environment or a file may be a secret.
    pub(super) fn shown(&self, part: impl fmt::Display) -> String {
        if self.is_hidden() { "this value".to_owned() } else { format!("`{part}`") }
    }

    /// True when the value, or a part of it, came from the environment or from a file of its own.
    pub(super) fn is_hidden(&self) -> bool {
        !self.node.inserted.is_empty() || matches!(self.node.origin, Origin::Environment(_))
    }

    /// The text of an environment variable, which is all that the environment has.
    pub(super) fn environment_text(&self) -> Option<&str> {
        match (&self.node.value, &self.node.origin) {
            (Value::String(text), Origin::Environment(_)) => Some(text),
            _ => None,
        }
    }

    fn wanted<T>(&self, what: &str) -> Option<T> {
        self.problem(format!("{what} is wanted, not {}", self.node.value.kind()))
    }

    /// Notes that `what` is wanted, which the environment gives as TOML.
    fn wanted_structure<T>(&self, what: &str, example: &str) -> Option<T> {
        match self.environment_text() {
            Some(_) => self.problem(format!("{what} is wanted, written as TOML: {example}")),
            None => self.wanted(what),
        }
    }
}

/// The items of an array.
pub(super) fn items(entry: Entry<'_>) -> Option<Vec<Entry<'_>>> {
    let entry = entry.structured();
    let Value::Array(values) = entry.node.value else {
        return entry.wanted_structure("an array", r#"["5s", "30s"]"#);
    };
    let (path, notes) = (entry.key, entry.notes);
    let item = |(place, node)| Entry { key: format!("{path}[{place}]"), node, notes };
    Some(values.into_iter().enumerate().map(item).collect())
}

impl Read for String {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(text) = entry.node.value else {
            return entry.wanted("a string");
        };
        Some(text)
    }
}

impl Read for SecretString {
    fn read(entry: Entry<'_>) -> Option<Self> {
        if matches!(&entry.node.value, Value::String(text) if text.is_empty()) {
            return entry.problem("the secret is empty");
        }
        String::read(entry).map(Self::from)
    }
}

impl Read for bool {
    fn read(entry: Entry<'_>) -> Option<Self> {
        if let Value::Boolean(boolean) = &entry.node.value {
            return Some(*boolean);
        }
        let written = entry.environment_text().and_then(|text| text.parse().ok());
        written.or_else(|| entry.wanted("true or false"))
    }
}

impl Read for i64 {
    fn read(entry: Entry<'_>) -> Option<Self> {
        if let Value::Integer(integer) = &entry.node.value {
            return Some(*integer);
        }
        let written = entry.environment_text().and_then(|text| text.parse().ok());
        written.or_else(|| entry.wanted("an integer"))
    }
}

macro_rules! read_small_integers {
    ($($integer:ty),*) => {$(
        impl Read for $integer {
            fn read(entry: Entry<'_>) -> Option<Self> {
                let integer = i64::read(entry.clone())?;
                let (low, high, shown) = (Self::MIN, Self::MAX, entry.shown(integer));
                let small = Self::try_from(integer).ok();
                small.or_else(|| entry.problem(format!("{shown} is not between {low} and {high}")))
            }
        }
    )*};
}
read_small_integers!(u16, u32, usize);

impl Read for Duration {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let wanted = r#"a duration is wanted, such as "500ms", "5s", "30m" or "48h""#;
        let Value::String(text) = &entry.node.value else {
            return entry.problem(wanted);
        };
        humantime::parse_duration(text).ok().or_else(|| entry.problem(wanted))
    }
}

impl Read for Template {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(text) = &entry.node.value else { return entry.wanted("a string") };
        // A secret may have braces, which are its own; `written` is what stands around it.
        let (mut template, mut written) = (String::new(), String::new());
        let mut at = 0;
        for range in &entry.node.inserted {
            template.push_str(&text[at..range.start]);
            template.push_str(&text[range.clone()].replace('{', "{{").replace('}', "}}"));
            written.push_str(&text[at..range.start]);
            at = range.end;
        }
        template.push_str(&text[at..]);
        written.push_str(&text[at..]);
        let names = |template: &Self| template.names().map(str::to_owned).collect::<Vec<_>>();
        match (Self::parse(&template), Self::parse(&written)) {
            (Ok(template), Ok(written)) if names(&template) == names(&written) => Some(template),
            (_, Err(error)) if matches!(entry.node.origin, Origin::File { .. }) => {
                entry.problem(error.to_string())
            }
            _ => {
                entry.problem("its braces are no names; write `{{` for a brace, and no `${..}` within a name")
            }
        }
    }
}

impl Read for regex::Regex {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(text) = &entry.node.value else {
            return entry.wanted("a string");
        };
        Self::new(text).map_err(|error| entry.note(explain_regex(&error))).ok()
    }
}

/// A regular expression's error on one line, with what differs from other dialects.
pub(super) fn explain_regex(error: &regex::Error) -> String {
    let text = error.to_string();
    let reason =
        text.lines().rev().find_map(|line| line.strip_prefix("error: ")).unwrap_or("too large").to_owned();
    format!(
        "not a valid pattern: {reason} (the syntax is Rust's `regex`: no look-around, no back-references)"
    )
}

impl<T: Read> Read for Vec<T> {
    fn read(entry: Entry<'_>) -> Option<Self> {
        // All items are read, so that the problems of each are noted.
        let read: Vec<Option<T>> = items(entry)?.into_iter().map(T::read).collect();
        read.into_iter().collect()
    }
}

/// Reads a table whose keys the user chose, in the order in which they were written.
impl<T: Read> Read for Vec<(String, T)> {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let mut section = Section::read(entry)?;
        let keys = section.keys().into_iter();
        let pairs: Vec<Option<(String, T)>> =
            keys.map(|key| section.named(&key).and_then(T::read).map(|value| (key, value))).collect();
        pairs.into_iter().collect()
    }
}

/// Reads one of a list of words.
pub(super) fn one_of<T: Copy>(entry: &Entry<'_>, words: &[(&str, T)]) -> Option<T> {
    let Value::String(word) = &entry.node.value else {
        return entry.wanted("a string");
    };
    if let Some((_, meaning)) = words.iter().find(|(known, _)| known == word) {
        return Some(*meaning);
    }
    let near = suggestion(word, words.iter().map(|(known, _)| *known));
    entry.problem(format!("{} is not known{near}", entry.shown(word)))
}
