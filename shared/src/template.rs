//! Texts with `{name}` in them, `{{` and `}}` for a brace: replies, and the requests that engines make.
//!
//! Parsed once, with the configuration; rendering cannot fail. `Debug` never shows the text, which may hold a secret.

use std::{borrow::Cow, fmt};

/// A parsed template.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Name(String),
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` that no `}` follows.
    #[error("`{{` is never closed; write `{{{{` for a brace")]
    Unclosed,
    /// A `}` that no `{` precedes.
    #[error("`}}` without `{{`; write `}}}}` for a brace")]
    Unopened,
    /// A name with other characters than letters, digits, `_`, `.` and `-`, or none at all.
    #[error("`{{{0}}}` is no name; write `{{{{` for a brace")]
    BadName(String),
}

impl Template {
    /// Parses `text`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after_pair) = after.strip_prefix(brace) {
                literal.push_str(brace);
                rest = after_pair;
                continue;
            }
            if brace == "}" {
                return Err(TemplateError::Unopened);
            }
            let (name, after_name) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
            let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(TemplateError::BadName(name.to_owned()));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = after_name;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// The names used, in order, with repeats.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }

    /// The same with `change` made to each piece of text that stands between the names.
    #[must_use]
    pub(crate) fn with_literals(&self, mut change: impl FnMut(&str) -> String) -> Self {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Literal(literal) => Piece::Literal(change(literal)),
            Piece::Name(name) => Piece::Name(name.clone()),
        });
        Self { pieces: pieces.collect() }
    }

    /// The text with each name replaced by its value; names were checked with the configuration, so an unknown one
    /// renders as nothing.
    pub fn render<'v>(&self, value: impl Fn(&str) -> Option<Cow<'v, str>>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name(name) => text.push_str(&value(name).unwrap_or_default()),
            }
        }
        text
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str) -> String {
        let value = |name: &str| Some(Cow::Owned(format!("<{name}>")));
        Template::parse(text).unwrap().render(value)
    }

    #[test]
    fn names_are_replaced_and_pairs_are_braces() {
        assert_eq!(render("Hello {name}, {{ok}} {1}{2}"), "Hello <name>, {ok} <1><2>");
        assert_eq!(render(""), "");
        assert_eq!(Template::parse("{a}{b} {a}").unwrap().names().collect::<Vec<_>>(), ["a", "b", "a"]);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        assert_eq!(Template::parse("a {b"), Err(TemplateError::Unclosed));
        assert_eq!(Template::parse("a } b"), Err(TemplateError::Unopened));
        assert_eq!(Template::parse("{}"), Err(TemplateError::BadName(String::new())));
        assert_eq!(Template::parse("{a b}"), Err(TemplateError::BadName("a b".to_owned())));
        assert_eq!(TemplateError::Unclosed.to_string(), "`{` is never closed; write `{{` for a brace");
    }

    proptest! {
        #[test]
        fn escaped_text_renders_as_itself(text in ".*") {
            prop_assert_eq!(render(&text.replace('{', "{{").replace('}', "}}")), text);
        }

        #[test]
        fn values_are_never_read_as_templates(value in ".*") {
            let shown = Template::parse("<{x}>").unwrap().render(|_| Some(Cow::Borrowed(value.as_str())));
            prop_assert_eq!(shown, format!("<{value}>"));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            drop(Template::parse(&text));
        }
    }
}
