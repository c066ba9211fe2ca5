//! Texts as short messages: which alphabet one needs, what it counts there, where it is cut into parts.
//!
//! GSM 03.38 (3GPP TS 23.038) has two alphabets that matter. A text whose characters are all in the 7-bit one is counted
//! in septets, any other in UTF-16 code units. What is said here of a text is what the phone network makes of it, whoever
//! cuts it: the gateway or the provider.

mod gsm7;

mod split;

mod substitute;

pub use self::{
    split::{split, split_as},
    substitute::substitute,
};

/// What the characters of a whole text are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// The 7-bit default alphabet with its extension table.
    Gsm7,
    /// UTF-16, called by its older name as everywhere in short messages.
    Ucs2,
}

/// A text in numbers: what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// What it is written in.
    pub alphabet: Alphabet,
    /// Septets or UTF-16 code units.
    pub units: usize,
    /// How many short messages it takes.
    pub parts: usize,
}

impl Alphabet {
    /// The alphabet that `text` needs.
    #[must_use]
    pub fn of(text: &str) -> Self {
        if text.chars().all(gsm7::has) { Self::Gsm7 } else { Self::Ucs2 }
    }

    /// How many units a text may have that is one short message.
    #[must_use]
    pub fn units_alone(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            Self::Ucs2 => 70,
        }
    }

    /// How many units each part of a longer text may have. Where a provider cuts it, the rest of a short message says which
    /// part it is; what is cut here is cut at the same places, so that a text counts the same whoever cuts it.
    #[must_use]
    pub fn units_a_part(self) -> usize {
        match self {
            Self::Gsm7 => 153,
            Self::Ucs2 => 67,
        }
    }

    /// What `text` counts in this alphabet.
    fn units_of(self, text: &str) -> usize {
        text.chars().map(|c| self.units(c)).sum()
    }

    /// What a character of this alphabet counts.
    fn units(self, c: char) -> usize {
        match self {
            Self::Gsm7 if gsm7::is_extended(c) => 2,
            Self::Gsm7 => 1,
            Self::Ucs2 => c.len_utf16(),
        }
    }
}

impl Count {
    /// Counts `text` as it is in `alphabet`.
    #[must_use]
    pub fn of(text: &str, alphabet: Alphabet) -> Self {
        Self { alphabet, units: alphabet.units_of(text), parts: split_as(text, alphabet).len() }
    }
}

#[cfg(test)]
mod tests;
