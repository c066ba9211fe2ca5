//! The rule of keyword handlers: does a text start with the keyword, and what follows it?
//!
//! The keyword is a regular expression, most often `register|reg|join`. It stands at the start of the text, in any
//! case, and ends at a word boundary, so that `echoes of you` is not `echo`. After it comes any mix of white space,
//! `,`, `;` and `:`, then the rest, kept to the last character, newlines included.

mod word;

use std::fmt;

use regex::{Regex, RegexBuilder};

use self::word::Word;

/// A keyword, ready to match.
#[derive(Clone)]
pub struct Keyword {
    written: String,
    rule: Rule,
}

/// The rule says the same in both ways.
#[derive(Clone)]
enum Rule {
    /// For a keyword that is plain words, as most are: every message is compared with all of them.
    Words(Vec<Word>),
    /// For any other.
    Expression(Regex),
}

impl Keyword {
    /// Compiles `keyword`.
    pub fn new(keyword: &str) -> Result<Self, regex::Error> {
        let words: Option<Vec<Word>> = plain_words(keyword).map(Word::new).collect();
        let rule = match words {
            Some(words) if !words.is_empty() => Rule::Words(words),
            _ => Rule::Expression(expression(keyword)?),
        };
        Ok(Self { written: keyword.to_owned(), rule })
    }

    /// What follows the keyword: empty when nothing does, `None` when the text does not start with it.
    #[must_use]
    pub fn rest<'t>(&self, text: &'t str) -> Option<&'t str> {
        match &self.rule {
            Rule::Words(words) => {
                let text = text.trim_start();
                let head = word::head_of(text);
                let after = words.iter().find_map(|word| word.after(text, head))?;
                Some(after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':')))
            }
            Rule::Expression(rule) => {
                let captures = rule.captures(text)?;
                // Ours is the last group; the keyword may have groups of its own.
                Some(captures.get(captures.len() - 1).map_or("", |rest| rest.as_str()))
            }
        }
    }

    /// The alternatives of a keyword that is plain words: `register`, `reg`, `join`. Nothing for any other expression.
    #[must_use]
    pub fn words(&self) -> Vec<&str> {
        plain_words(&self.written).collect()
    }
}

/// The alternatives of `keyword`, if they are plain words.
fn plain_words(keyword: &str) -> impl Iterator<Item = &str> {
    let text = keyword.replace('|', "");
    (regex::escape(&text) == text).then(|| keyword.split('|')).into_iter().flatten()
}

/// The whole rule as one regular expression.
fn expression(keyword: &str) -> Result<Regex, regex::Error> {
    // Compiled alone first, so that an error speaks of what was written and no parenthesis can close our group.
    Regex::new(keyword)?;
    // The word ends where the next character is none of a word, or the keyword's own last character is none.
    let rule = format!(r"\A\s*(?:{keyword})(?:\b{{end-half}}|\b{{start-half}})[\s,;:]*([^\s,;:][\s\S]*)?\z");
    RegexBuilder::new(&rule).case_insensitive(true).build()
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

    /// The character, or what it is in the other case.
    fn in_case((character, other): (char, bool)) -> Vec<char> {
        match other {
            false => vec![character],
            true if character.is_lowercase() => character.to_uppercase().collect(),
            true => character.to_lowercase().collect(),
        }
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
        fn plain_words_match_as_their_expression_does(
            keyword in "[kKsS\u{17f}\u{212a}\u{3c3}\u{3c2}\u{3b9}\u{df}\u{1e9e}i\u{130}\u{131}\u{93e}_5\", @/|]{1,6}",
            start in r"\s{0,2}",
            case in any::<[bool; 6]>(),
            tail in "[kS_5 ,:@\u{93e}\u{a0}\u{200d}]{0,4}",
            other in any::<String>(),
        ) {
            let rule = expression(&keyword).unwrap();
            let by_expression = |text: &str| {
                let captures = rule.captures(text)?;
                Some(captures.get(1).map_or("", |rest| rest.as_str()).to_owned())
            };
            let keyword = Keyword::new(&keyword).unwrap();
            for word in keyword.words().into_iter().chain([other.as_str()]) {
                let word: String = word.chars().zip(case.into_iter().cycle()).flat_map(in_case).collect();
                let text = format!("{start}{word}{tail}");
                prop_assert_eq!(keyword.rest(&text).map(str::to_owned), by_expression(&text), "{:?}", text);
            }
        }

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
