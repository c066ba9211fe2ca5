//! What is wrong with a configuration, where, and what to do about it. Collected, so that one run tells all.

use std::{cell::RefCell, fmt};

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A line of the file, counted from 1.
    File {
        /// The file as it was named on the command line.
        file: std::sync::Arc<str>,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
        }
    }
}

/// One thing that is wrong. Its text never repeats a value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// The key, with its path: `backends.kannel.rate`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let count = self.0.len();
        write!(f, "{count} problem{} in the configuration", if count == 1 { "" } else { "s" })
    }
}

/// Where problems are noted while a configuration is read.
#[derive(Default)]
pub(super) struct Notes(RefCell<Vec<Problem>>);

impl Notes {
    /// Notes a problem.
    pub(super) fn add(&self, origin: &Origin, key: impl Into<String>, message: impl Into<String>) {
        self.0.borrow_mut().push(Problem {
            origin: origin.clone(),
            key: key.into(),
            message: message.into(),
        });
    }

    /// The problems, sorted by place, or nothing when there are none.
    pub(super) fn into_result(self) -> Result<(), Problems> {
        let mut problems = self.0.into_inner();
        problems.sort();
        problems.dedup();
        if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
    }
}

/// ``; did you mean `near`?`` for the nearest of `known`, else the list of them when it is short.
#[must_use]
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let score = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    match known.iter().min_by_key(|candidate| score(candidate)) {
        Some(near) if score(near) <= 1 + word.len() / 4 => format!("; did you mean `{near}`?"),
        Some(_) if known.len() <= 24 => format!("; known: {}", known.join(", ")),
        _ => String::new(),
    }
}
