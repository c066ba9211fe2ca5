//! Cuts a text into parts.

use unicode_segmentation::UnicodeSegmentation;

use super::Alphabet;

/// The parts of `text`, each one short message; together they are the text. An empty text is one part.
///
/// What a reader sees as one character is never cut, unless it is longer than a whole part: then it is cut between its
/// code points.
#[must_use]
pub fn split(text: &str) -> Vec<&str> {
    split_as(text, Alphabet::of(text))
}

/// As [`split`], where all of `text` is written in `alphabet`, whether it needs it or not.
#[must_use]
pub fn split_as(text: &str, alphabet: Alphabet) -> Vec<&str> {
    let units = alphabet.units_of(text);
    if units <= alphabet.units_alone() {
        return vec![text];
    }
    let limit = alphabet.units_a_part();
    let mut parts = Vec::with_capacity(units / limit + 1);
    let (mut start, mut end, mut filled) = (0, 0, 0);
    for piece in text.graphemes(true).flat_map(|grapheme| pieces(grapheme, alphabet)) {
        let units = alphabet.units_of(piece);
        if filled + units > limit {
            parts.push(&text[start..end]);
            (start, filled) = (end, 0);
        }
        filled += units;
        end += piece.len();
    }
    parts.push(&text[start..]);
    parts
}

/// What is kept together of a grapheme: all of it, or, of one that no part can hold, each code point.
fn pieces(grapheme: &str, alphabet: Alphabet) -> impl Iterator<Item = &str> {
    let is_too_long = alphabet.units_of(grapheme) > alphabet.units_a_part();
    grapheme.split_inclusive(move |_| is_too_long)
}
