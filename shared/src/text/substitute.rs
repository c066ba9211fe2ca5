//! Typographic characters as the 7-bit alphabet has them.

use std::borrow::Cow;

use super::{Alphabet, gsm7};

/// `text` with its typographic characters replaced, when all of it then fits the 7-bit alphabet; else `text` as it is.
///
/// One curly quote more than doubles what a text costs. A text that needs UTF-16 anyway keeps its typography.
#[must_use]
pub fn substitute(text: &str) -> Cow<'_, str> {
    if Alphabet::of(text) == Alphabet::Gsm7 {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if gsm7::has(c) {
            plain.push(c);
        } else if let Some(replacement) = replacement(c) {
            plain.push_str(replacement);
        } else {
            return Cow::Borrowed(text);
        }
    }
    Cow::Owned(plain)
}

/// What a reader takes for the same. Never nothing, and never a letter without its accent: that may be another word.
fn replacement(c: char) -> Option<&'static str> {
    Some(match c {
        '‘' | '’' | '‚' | '‛' | '′' | '‹' | '›' | '`' | '´' => "'",
        '“' | '”' | '„' | '‟' | '″' | '«' | '»' => "\"",
        // Hyphens, figure, en and em dash, bar, minus.
        '\u{2010}'..='\u{2015}' | '−' => "-",
        '…' => "...",
        // The spaces of every width, those that do not break, the tabulator.
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        // The separators of lines and of paragraphs.
        '\u{2028}' | '\u{2029}' => "\n",
        '•' | '‣' | '◦' | '⁃' | '∙' => "*",
        '⁄' | '∕' => "/",
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_plain(text: &str) -> bool {
        Alphabet::of(text) == Alphabet::Gsm7
    }

    #[test]
    fn typography_becomes_what_every_phone_has() {
        for (text, plain) in [
            ("“It’s 5 – 6 €…”", "\"It's 5 - 6 €...\""),
            ("•\u{a0}oﬃce\tof\u{2028}Ångström", "* office of\nÅngström"),
        ] {
            assert_eq!(substitute(text), plain);
        }
    }

    #[test]
    fn a_text_that_needs_utf_16_anyway_is_left_alone() {
        for text in ["“ça va”", "it’s 👍", "‘مرحبا’", "e\u{301}tat – x"] {
            assert!(matches!(substitute(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_replacement_is_never_empty_and_needs_no_other() {
        for c in '\0'..=char::MAX {
            if let Some(replacement) = replacement(c) {
                assert!(!gsm7::has(c), "{c:?} needs no replacement");
                assert!(is_plain(replacement) && !replacement.is_empty(), "{c:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_fits_is_never_changed(text in "[ -_a-zà€£\\n]*") {
            prop_assume!(is_plain(&text));
            prop_assert!(matches!(substitute(&text), Cow::Borrowed(same) if same == text));
        }

        #[test]
        fn all_is_replaced_or_nothing_and_once_is_enough(text in "[ -~à€‘-„…–\u{a0}ç]*") {
            let substituted = substitute(&text);
            prop_assert!(is_plain(&substituted) || substituted == text);
            prop_assert_eq!(&substitute(&substituted), &substituted);
        }
    }
}
