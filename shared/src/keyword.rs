//! The rule of keyword handlers: does a text start with the keyword, and what follows it?
//!
//! The keyword is a regular expression, most often `register|reg|join`. It stands at the start of the text, in any
//! case, and ends at a word boundary, so that `echoes of you` is not `echo`. After it comes any mix of white space,
//! `,`, `;` and `:`, then the rest, kept to the last character, newlines included.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// A keyword, ready to match.
#[derive(Clone)]
pub struct Keyword {
    written: String,
    rule: Regex,
}

impl Keyword {
    /// Compiles `keyword`.
    pub fn new(keyword: &str) -> Result<Self, regex::Error> {
        // Compiled alone first, so that an error speaks of what was written and no parenthesis can close our group.
        Regex::new(keyword)?;
        // The word ends where the next character is none of a word, or the keyword's own last character is none.
        let rule =
            format!(r"\A\s*(?:{keyword})(?:\b{{end-half}}|\b{{start-half}})[\s,;:]*([^\s,;:][\s\S]*)?\z");
        let rule = RegexBuilder::new(&rule).case_insensitive(true).build()?;
        Ok(Self { written: keyword.to_owned(), rule })
    }

    /// What follows the keyword: empty when nothing does, `None` when the text does not start with it.
    #[must_use]
    pub fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        let captures = self.rule.captures(text)?;
        // Ours is the last group; the keyword may have groups of its own.
        Some(captures.get(captures.len() - 1).map_or("", |rest| rest.as_str()))
    }

    /// The alternatives of a keyword that is plain words: `register`, `reg`, `join`. Nothing for any other expression.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        if regex::escape(&self.written.replace('|', "")) == self.written.replace('|', "") {
            self.written.split('|').collect()
        } else {
            Vec::new()
        }
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyword({})", self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rest<'t>(keyword: &str, text: &'t str) -> Option<&'t str> {
        Keyword::new(keyword).unwrap().rest(text)
    }

    #[test]
    fn separators_are_any_mix_and_the_rest_is_kept() {
        assert_eq!(rest("echo", "echo hello"), Some("hello"));
        assert_eq!(rest("echo", "  ECHO ,;: \n hello\nworld  "), Some("hello\nworld  "));
        assert_eq!(rest("echo", "echo:hello, you"), Some("hello, you"));
        assert_eq!(rest("echo", "echo-hello"), Some("-hello"));
        assert_eq!(rest("echo", "echo\u{a0}hello"), Some("hello"));
    }

    #[test]
    fn nothing_after_the_keyword_is_an_empty_rest() {
        for text in ["echo", "Echo  ", "echo ,;:\n", " echo"] {
            assert_eq!(rest("echo", text), Some(""), "{text:?}");
        }
    }

    #[test]
    fn the_keyword_ends_at_a_word_boundary() {
        assert_eq!(rest("echo", "echoes of you"), None);
        assert_eq!(rest("register|reg|join", "joinery"), None);
        assert_eq!(rest("register|reg|join", "registration bob"), None);
        assert_eq!(rest("echo", "echo2"), None);
        assert_eq!(rest("echo", "an echo"), None);
        assert_eq!(rest("né", "née"), None);
        assert_eq!(rest("जन्म", "जन्म राम"), Some("राम"));
    }

    #[test]
    fn the_order_of_alternatives_does_not_matter() {
        assert_eq!(rest("reg|register", "register bob"), Some("bob"));
        assert_eq!(rest("reg|register", "reg bob"), Some("bob"));
    }

    #[test]
    fn spaces_signs_and_groups_in_a_keyword_mean_themselves() {
        assert_eq!(rest("check in", "Check In room 5"), Some("room 5"));
        assert_eq!(rest("check in", "checkin room 5"), None);
        assert_eq!(rest("#", "#5"), Some("5"));
        assert_eq!(rest("#", "# 5"), Some("5"));
        assert_eq!(rest("(un)?sub(scribe)?", "unsubscribe me"), Some("me"));
    }

    #[test]
    fn a_bad_expression_is_refused_as_it_was_written() {
        assert!(Keyword::new("a)(b").is_err());
        assert!(Keyword::new("(").unwrap_err().to_string().contains('('));
    }

    #[test]
    fn plain_words_are_listed() {
        assert_eq!(Keyword::new("register|reg").unwrap().words(), ["register", "reg"]);
        assert!(Keyword::new("reg(ister)?").unwrap().words().is_empty());
    }

    proptest! {
        #[test]
        fn any_rest_that_starts_with_no_separator_survives(rest_text in r"[^\s,;:][\s\S]*", separators in r"[\s,;:]{1,5}") {
            let text = format!("echo{separators}{rest_text}");
            prop_assert_eq!(rest("echo", &text), Some(rest_text.as_str()));
        }

        #[test]
        fn a_longer_word_is_never_the_keyword(tail in r"\w+", rest_text in r".*") {
            let text = format!("echo{tail} {rest_text}");
            prop_assert_eq!(rest("echo", &text), None);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            let _ = rest("register|reg|join", &text);
        }
    }
}
