//! What was written, to tell it from what is written later: by the names of keys alone, because values may be secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

use super::{
    problem::Origin,
    tree::{Node, Value},
};

/// The key of the digests, another one in each process: nobody learns a value from its digest.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// A configuration as it was written, environment included, of which no value can be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Written(Shape);

/// What differs between two configurations, by key.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What has another value.
    pub changed: BTreeSet<String>,
    /// What is written otherwise in the file, without effect: the environment variable that goes on to win.
    pub overridden: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Shape {
    Value(u64),
    /// The value of an environment variable, and what the file has in its place.
    Variable {
        name: String,
        value: u64,
        file: Option<Box<Shape>>,
    },
    Array(Vec<Shape>),
    Table(BTreeMap<String, Shape>),
}

impl Written {
    pub(super) fn of(root: &Node) -> Self {
        Self(Shape::of(root))
    }

    /// What is different in `new`. A table or an array that is new, gone, or of another length is one key.
    #[must_use]
    pub fn changes(&self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        if let (Shape::Table(before), Shape::Table(now)) = (&self.0, &new.0) {
            for key in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
                let (before, now) = (before.get(key), now.get(key));
                compare(key, or_section(before, now), or_section(now, before), &mut changes);
            }
        }
        changes
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Written")
    }
}

impl Shape {
    fn of(node: &Node) -> Self {
        let value = match &node.value {
            Value::Array(items) => return Self::Array(items.iter().map(Self::of).collect()),
            Value::Table(table) => {
                return Self::Table(table.iter().map(|(key, node)| (key.clone(), Self::of(node))).collect());
            }
            Value::String(text) => KEY.hash_one(text),
            Value::Integer(integer) => KEY.hash_one(integer),
            Value::Float(float) => KEY.hash_one(float.to_bits()),
            Value::Boolean(boolean) => KEY.hash_one(boolean),
        };
        match &node.origin {
            Origin::File { .. } => Self::Value(value),
            Origin::Environment(name) => {
                let file = node.beneath.as_deref().map(Self::of).map(Box::new);
                Self::Variable { name: name.clone(), value, file }
            }
        }
    }
}

/// One side of a comparison at the root, where a section that is not written is an empty one.
fn or_section<'s>(one: Option<&'s Shape>, other: Option<&Shape>) -> Option<&'s Shape> {
    static EMPTY: Shape = Shape::Table(BTreeMap::new());
    match (one, other) {
        (None, Some(Shape::Table(_))) => Some(&EMPTY),
        _ => one,
    }
}

fn compare(key: &str, before: Option<&Shape>, now: Option<&Shape>, changes: &mut Changes) {
    match (before, now) {
        (Some(Shape::Table(before)), Some(Shape::Table(now))) => {
            for name in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
                compare(&format!("{key}.{name}"), before.get(name), now.get(name), changes);
            }
        }
        (Some(Shape::Array(before)), Some(Shape::Array(now))) if before.len() == now.len() => {
            for (place, (before, now)) in before.iter().zip(now).enumerate() {
                compare(&format!("{key}[{place}]"), Some(before), Some(now), changes);
            }
        }
        (
            Some(Shape::Variable { value: before, file: file_before, .. }),
            Some(Shape::Variable { name, value: now, file: file_now }),
        ) if before == now => {
            if file_before != file_now {
                changes.overridden.insert(key.to_owned(), name.clone());
            }
        }
        (before, now) if before == now => {}
        _ => {
            changes.changed.insert(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    const BASE: &str = "[queue]\nurl = 'embedded:x'\nretry = ['5s', '30s']\n[backends.a]\nengine = 'httptester'\n\
                        rate = 5\n[[apps]]\napp = 'echo'\n[[apps]]\napp = 'ping'\n";

    fn written(text: &str, environment: &[(&str, &str)]) -> Written {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Environment = environment.iter().map(own).collect();
        Config::parse("test", text, &environment).unwrap().written
    }

    fn changed(from: &str, to: &str) -> Vec<String> {
        let changes = written(BASE, &[]).changes(&written(&BASE.replace(from, to), &[]));
        assert!(changes.overridden.is_empty());
        changes.changed.into_iter().collect()
    }

    #[test]
    fn what_is_different_is_told_by_its_key() {
        assert!(changed("[queue]", "\n# A comment, and other lines.\n[queue]").is_empty());
        assert_eq!(changed("rate = 5", "rate = 6"), ["backends.a.rate"]);
        assert_eq!(changed("rate = 5\n", ""), ["backends.a.rate"]);
        assert_eq!(
            changed("rate = 5", "rate = 5.5\nconcurrency = 2"),
            ["backends.a.concurrency", "backends.a.rate"]
        );
        assert_eq!(changed("'30s'", "'31s'"), ["queue.retry[1]"]);
        assert_eq!(changed("app = 'echo'", "app = 'loop-guard'"), ["apps[0].app"]);
    }

    #[test]
    fn what_is_new_or_gone_as_a_whole_is_one_key_but_a_section() {
        assert_eq!(changed(", '30s'", ""), ["queue.retry"]);
        assert_eq!(changed("[[apps]]\napp = 'ping'\n", ""), ["apps"]);
        assert_eq!(changed("[[apps]]\napp = 'echo'\n[[apps]]\napp = 'ping'\n", ""), ["apps"]);
        let another = "[backends.b]\nengine = 'httptester'\nkeep = 3\n[[apps]]\napp = 'echo'";
        assert_eq!(changed("[[apps]]\napp = 'echo'", another), ["backends.b"]);
        let logging = "[logging]\nlevel = 'debug'\nformat = 'json'\n[queue]";
        assert_eq!(changed("[queue]", logging), ["logging.format", "logging.level"]);
    }

    #[test]
    fn the_variable_that_goes_on_to_win_is_told() {
        let environment = [("GATEWAY__BACKENDS__A__RATE", "7"), ("GATEWAY__LOGGING__LEVEL", "warn")];
        let before = written(BASE, &environment);
        assert_eq!(before.changes(&written(BASE, &environment)), Changes::default());
        let after = written(&BASE.replace("rate = 5", "rate = 6"), &environment);
        let overridden = [("backends.a.rate".to_owned(), "GATEWAY__BACKENDS__A__RATE".to_owned())];
        assert_eq!(
            before.changes(&after),
            Changes { changed: BTreeSet::new(), overridden: BTreeMap::from(overridden) }
        );
    }

    #[test]
    fn a_secret_from_elsewhere_is_compared_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = BASE
            .replace("[queue]", &format!("project_name = '${{file:{}}}'\n[queue]", file.path().display()));
        std::fs::write(file.path(), "one").unwrap();
        let before = written(&text, &[]);
        std::fs::write(file.path(), "two").unwrap();
        let changes = before.changes(&written(&text, &[]));
        assert_eq!(changes.changed, BTreeSet::from(["project_name".to_owned()]));
        assert_eq!(format!("{before:?}"), "Written");
    }
}
