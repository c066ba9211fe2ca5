//! The configuration as it was written: a tree in which each value knows its origin.
//!
//! Made from the TOML file, then the environment's overrides (`GATEWAY__QUEUE__URL`), then `${NAME}` and `${file:PATH}`
//! replaced in every string.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use indexmap::IndexMap;
use toml::{Spanned, de::DeTable, de::DeValue};

use super::problem::{Notes, Origin, suggestion};

/// The variables of the environment, passed in so that tests need no process of their own.
pub type Environment = BTreeMap<String, String>;

/// What the names of overriding variables start with; `__` separates the keys after it.
const PREFIX: &str = "GATEWAY__";

/// A value and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
    /// Where in a string a reference was replaced: what stands there is never read as anything but itself.
    pub(super) inserted: Vec<Range<usize>>,
    /// What a text of the environment is as TOML, for where an array or a table is wanted.
    pub(super) structure: Option<Box<Node>>,
    /// What the file has where the environment has this.
    pub(super) beneath: Option<Box<Node>>,
}

impl Node {
    fn new(value: Value, origin: Origin) -> Self {
        Self { value, origin, inserted: Vec::new(), structure: None, beneath: None }
    }

    /// The text of an environment variable. Whether it is a text is known only when it is read.
    fn from_environment(text: &str, origin: &Origin) -> Self {
        let structure = parse_structure(text, origin).map(|value| Self::new(value, origin.clone()));
        let node = Self::new(Value::String(text.to_owned()), origin.clone());
        Self { structure: structure.map(Box::new), ..node }
    }

    /// The array or table that a text of the environment is; else the value itself.
    pub(super) fn structured(self) -> Self {
        self.structure.map_or_else(|| Self { structure: None, ..self }, |structure| *structure)
    }
}

/// The kinds of value that a configuration has.
#[derive(Clone, Debug)]
pub(super) enum Value {
    String(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
}

/// A table, in the order in which its keys were written.
pub(super) type Table = IndexMap<String, Node>;

impl Value {
    /// The kind, with its article, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads `text`, applies `environment` and replaces the references. Whatever is wrong is noted.
pub(super) fn read(file: &str, text: &str, environment: &Environment, notes: &Notes) -> Node {
    let mut root = parse(file, text, notes);
    override_from(environment, &mut root, notes);
    resolve(&mut root, "", environment, notes);
    root
}

fn parse(file: &str, text: &str, notes: &Notes) -> Node {
    let lines = Lines::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let origin = lines.origin(error.span().map_or(0, |span| span.start));
        notes.add(&origin, "", format!("not valid TOML: {}", error.message()));
    }
    let (span, table) = (table.span(), table.into_inner());
    let origin = |byte| lines.origin(byte);
    Node::new(Value::Table(convert_table(table, &origin, notes)), origin(span.start))
}

/// The array or inline table that `text` is, if it is one.
fn parse_structure(text: &str, origin: &Origin) -> Option<Value> {
    let value = DeValue::parse(text.trim())
        .ok()
        .filter(|value| value.get_ref().is_array() || value.get_ref().is_table())?;
    let notes = Notes::default();
    let value = convert(value, origin, &|_| origin.clone(), &notes)?;
    notes.into_result().ok().map(|()| value)
}

/// Finds the line of a byte.
struct Lines {
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    fn new(file: &str, text: &str) -> Self {
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { file: file.into(), starts: std::iter::once(0).chain(after_newlines).collect() }
    }

    fn origin(&self, byte: usize) -> Origin {
        Origin::File {
            file: Arc::clone(&self.file),
            line: self.starts.partition_point(|start| *start <= byte),
        }
    }
}

fn convert_table(table: DeTable<'_>, origin_at: &dyn Fn(usize) -> Origin, notes: &Notes) -> Table {
    let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
        // A table's own span is its header; for a value the line of its key is where people look.
        let origin = origin_at(key.span().start);
        let node = Node::new(convert(value, &origin, origin_at, notes)?, origin);
        Some((std::borrow::Cow::into_owned(key.into_inner()), node))
    };
    table.into_iter().filter_map(entry).collect()
}

fn convert(
    value: Spanned<DeValue<'_>>,
    origin: &Origin,
    origin_at: &dyn Fn(usize) -> Origin,
    notes: &Notes,
) -> Option<Value> {
    let span = value.span();
    Some(match value.into_inner() {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(integer) => Value::Integer(integer),
            Err(_) => {
                return refuse(notes, &origin_at(span.start), "the integer does not fit 64 bits");
            }
        },
        DeValue::Float(float) => match float.as_str().parse() {
            Ok(float) => Value::Float(float),
            Err(_) => return refuse(notes, &origin_at(span.start), "not a number"),
        },
        DeValue::Boolean(boolean) => Value::Boolean(boolean),
        DeValue::Datetime(_) => return refuse(notes, origin, "no key takes a date; write a string"),
        DeValue::Array(items) => {
            let item = |item: Spanned<DeValue<'_>>| {
                let origin = origin_at(item.span().start);
                Some(Node::new(convert(item, &origin, origin_at, notes)?, origin))
            };
            Value::Array(items.into_iter().filter_map(item).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(table, origin_at, notes)),
    })
}

fn refuse(notes: &Notes, origin: &Origin, message: &str) -> Option<Value> {
    notes.add(origin, "", message);
    None
}

/// Puts each `GATEWAY__A__B` at `a.b`; `-` in a key is written `_`, and a number is a place in an array.
fn override_from(environment: &Environment, root: &mut Node, notes: &Notes) {
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else {
            continue;
        };
        let origin = Origin::Environment(name.clone());
        let keys: Vec<&str> = path.split("__").collect();
        if keys.iter().any(|key| key.is_empty()) {
            notes.add(&origin, "", "an empty key; write GATEWAY__SECTION__KEY");
            continue;
        }
        if let Err(problem) = put(root, &keys, value, &origin) {
            notes.add(&origin, "", problem);
        }
    }
}

fn put(node: &mut Node, keys: &[&str], value: &str, origin: &Origin) -> Result<(), String> {
    let Some((key, rest)) = keys.split_first() else {
        let value = Node::from_environment(value, origin);
        let before = std::mem::replace(node, value);
        node.beneath = matches!(before.origin, Origin::File { .. }).then(|| Box::new(before));
        return Ok(());
    };
    if let Some(structure) = node.structure.take() {
        *node = *structure;
    }
    let empty = || Node::new(Value::Table(Table::new()), origin.clone());
    let child = match &mut node.value {
        Value::Table(table) => {
            let written_so = |candidate: &&String| candidate.replace('-', "_").eq_ignore_ascii_case(key);
            let found = table.keys().find(written_so).cloned().unwrap_or_else(|| key.to_ascii_lowercase());
            table.entry(found).or_insert_with(empty)
        }
        Value::Array(items) => {
            let count = items.len();
            let place = key.parse::<usize>().ok();
            let item = place.and_then(|place| items.get_mut(place));
            item.ok_or_else(|| format!("`{key}` is no place in an array of {count}; the first is 0"))?
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
            return Err(format!("`{key}` is looked for in a value that is not a table"));
        }
    };
    put(child, rest, value, origin)
}

fn resolve(node: &mut Node, path: &str, environment: &Environment, notes: &Notes) {
    if let Some(structure) = &mut node.structure {
        // What is wrong with its references is noted for the text.
        resolve(structure, path, environment, &Notes::default());
    }
    match &mut node.value {
        Value::String(text) if text.contains("${") => {
            let (resolved, inserted, problems) = replace_references(text, environment);
            *text = resolved;
            node.inserted = inserted;
            for problem in problems {
                notes.add(&node.origin, path, problem);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| resolve(item, path, environment, notes)),
        Value::Table(table) => {
            for (key, child) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                resolve(child, &path, environment, notes);
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {}
    }
}

/// Replaces `${NAME}` and `${file:PATH}`; `$${` stands for `${`. Gives the text, where it was inserted into, and what is
/// wrong. What cannot be replaced is left out, so that it leads to no second problem.
fn replace_references(text: &str, environment: &Environment) -> (String, Vec<Range<usize>>, Vec<String>) {
    let (mut resolved, mut inserted, mut problems) = (String::new(), Vec::new(), Vec::new());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            resolved.push_str(before);
            let start = resolved.len();
            resolved.push_str("${");
            inserted.push(start..resolved.len());
            rest = &rest[at + 2..];
            continue;
        }
        resolved.push_str(&rest[..at]);
        let Some((reference, after)) = rest[at + 2..].split_once('}') else {
            problems.push("`${` is never closed; write `$${` for the characters themselves".to_owned());
            return (resolved, inserted, problems);
        };
        let start = resolved.len();
        match look_up(reference, environment) {
            Ok(value) => resolved.push_str(&value),
            Err(problem) => problems.push(problem),
        }
        inserted.push(start..resolved.len());
        rest = after;
    }
    resolved.push_str(rest);
    (resolved, inserted, problems)
}

fn look_up(reference: &str, environment: &Environment) -> Result<String, String> {
    if let Some(path) = reference.strip_prefix("file:") {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("cannot read the file {path}: {error}"))?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    environment.get(reference).cloned().ok_or_else(|| {
        let near =
            suggestion(reference, environment.keys().map(String::as_str).filter(|name| name.len() > 3));
        let near = if near.starts_with("; did") { near } else { String::new() };
        format!("the environment variable {reference} is not set{near}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn read_ok(text: &str, pairs: &[(&str, &str)]) -> Table {
        let notes = Notes::default();
        let Value::Table(table) = read("f.toml", text, &environment(pairs), &notes).value else { panic!() };
        notes.into_result().unwrap();
        table
    }

    fn problems(text: &str, pairs: &[(&str, &str)]) -> String {
        let notes = Notes::default();
        read("f.toml", text, &environment(pairs), &notes);
        notes.into_result().unwrap_err().to_string()
    }

    #[test]
    fn every_value_knows_its_line() {
        let table = read_ok("a = 1\n\n[b]\nc = 'x'\n", &[]);
        assert_eq!(table["a"].origin.to_string(), "f.toml:1");
        let Value::Table(b) = &table["b"].value else { panic!() };
        assert_eq!(b["c"].origin.to_string(), "f.toml:4");
    }

    #[test]
    fn the_environment_overrides_and_a_dash_is_written_as_underscore() {
        let text = "[backends.kannel-fake]\nrate = 1\n[[apps]]\napp = 'echo'\n";
        let table = read_ok(
            text,
            &[
                ("GATEWAY__BACKENDS__KANNEL_FAKE__RATE", "5"),
                ("GATEWAY__APPS__0__APP", "ping"),
                ("GATEWAY__NEW__KEY", "v"),
            ],
        );
        let shown = format!("{table:?}");
        assert!(shown.contains(r#"String("5")"#) && shown.contains(r#"String("ping")"#), "{shown}");
        assert!(shown.contains(r#"{"key": Node { value: String("v")"#), "{shown}");
        assert!(
            problems(text, &[("GATEWAY__APPS__3__APP", "x")]).contains("`3` is no place in an array of 1")
        );
        assert!(problems("a = 1", &[("GATEWAY__A__B", "x")]).contains("a value that is not a table"));
        assert!(problems("a = 1", &[("GATEWAY____B", "x")]).contains("an empty key"));
    }

    #[test]
    fn references_are_replaced_and_a_missing_one_is_told_with_its_place() {
        let secret = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(secret.path(), "s3cret\n").unwrap();
        let text =
            format!("a = 'x${{NAME}}y'\nb = '${{file:{}}}'\nc = '$${{NAME}}'", secret.path().display());
        let table = read_ok(&text, &[("NAME", "value")]);
        let shown = |key: &str| {
            let Value::String(text) = &table[key].value else { panic!() };
            text.clone()
        };
        assert_eq!(
            (shown("a"), shown("b"), shown("c")),
            ("xvaluey".into(), "s3cret".into(), "${NAME}".into())
        );

        let told = problems("\na.b = '${PASWORD}'\nc = '${file:/no/such}'\nd = '${X'", &[("PASSWORD", "p")]);
        assert!(told.contains(
            "f.toml:2: a.b: the environment variable PASWORD is not set; did you mean `PASSWORD`?"
        ));
        assert!(told.contains("f.toml:3: c: cannot read the file /no/such"), "{told}");
        assert!(told.contains("f.toml:4: d: `${` is never closed"), "{told}");
    }

    #[test]
    fn every_syntax_error_is_told_with_its_line() {
        let told = problems("a = \nb = 1\nb = 2\n", &[]);
        assert!(
            told.contains("f.toml:1: not valid TOML") && told.contains("f.toml:3: not valid TOML"),
            "{told}"
        );
    }
}
