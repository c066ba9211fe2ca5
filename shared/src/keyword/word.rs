//! One plain word of a keyword: does a text begin with it, in any case, and does the word end there?
//!
//! What is the same in another case, and what is a character of a word, is as in the expressions: the tables are theirs.

use regex_syntax::{
    hir::{ClassUnicode, ClassUnicodeRange},
    try_is_word_character,
};

/// A word, ready to match.
#[derive(Clone)]
pub(super) struct Word {
    head: Head,
    /// Of each character all that it may be written as. There are four at most, as in `ι`; of fewer, one is repeated.
    forms: Vec<[char; 4]>,
}

/// The first characters of a word, as many as are ASCII and fit, to be compared at once: most words are told from a text by them.
#[derive(Clone)]
struct Head {
    /// Those bytes, letters in lower case.
    bytes: u64,
    /// The bit that makes the lower case, where there is a letter.
    case: u64,
    /// All bits of them.
    mask: u64,
}

/// The first bytes of a text, and nothing after its end.
pub(super) fn head_of(text: &str) -> u64 {
    let text = text.as_bytes();
    u64::from_le_bytes(text.first_chunk().copied().unwrap_or_else(|| {
        let mut bytes = [0; 8];
        bytes.iter_mut().zip(text).for_each(|(byte, of_text)| *byte = *of_text);
        bytes
    }))
}

impl Head {
    fn new(word: &str) -> Self {
        let (mut bytes, mut case, mut mask) = ([0; 8], [0; 8], [0; 8]);
        let ascii = word.bytes().take_while(u8::is_ascii);
        for (place, byte) in ascii.take(bytes.len()).enumerate() {
            bytes[place] = byte.to_ascii_lowercase();
            case[place] = if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
            mask[place] = 0xff;
        }
        let [bytes, case, mask] = [bytes, case, mask].map(u64::from_le_bytes);
        Self { bytes, case, mask }
    }

    /// True when no text with the head `text` begins with the word; of one that is not ASCII the forms tell.
    fn differs(&self, text: u64) -> bool {
        const NOT_ASCII: u64 = u64::from_le_bytes([0x80; 8]);
        let text = text & self.mask;
        text & NOT_ASCII == 0 && text | self.case != self.bytes
    }
}

impl Word {
    /// `None` for what only the expression can find: nothing, and what begins as the white space before it does.
    pub(super) fn new(word: &str) -> Option<Self> {
        let begins_as_a_word = word.starts_with(|c: char| !c.is_whitespace());
        let forms = word.chars().map(forms).collect::<Option<_>>()?;
        begins_as_a_word.then(|| Self { head: Head::new(word), forms })
    }

    /// What comes after the word in `text`, whose head is `head`, if it begins with the word and nothing makes a longer word
    /// of it.
    #[inline]
    pub(super) fn after<'t>(&self, text: &'t str, head: u64) -> Option<&'t str> {
        if self.head.differs(head) { None } else { self.after_forms(text) }
    }

    fn after_forms<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut after = text.chars();
        let mut last = None;
        for forms in &self.forms {
            last = after.next().filter(|character| forms.contains(character));
            last?;
        }
        let after = after.as_str();
        let goes_on = last.is_some_and(is_of_a_word) && after.starts_with(is_of_a_word);
        (!goes_on).then_some(after)
    }
}

fn forms(character: char) -> Option<[char; 4]> {
    let mut class = ClassUnicode::new([ClassUnicodeRange::new(character, character)]);
    class.try_case_fold_simple().ok()?;
    let mut all = [character; 4];
    let mut places = all.iter_mut();
    for form in class.iter().flat_map(|range| range.start()..=range.end()) {
        *places.next()? = form;
    }
    Some(all)
}

fn is_of_a_word(character: char) -> bool {
    try_is_word_character(character).unwrap_or_else(|_no_tables| character.is_alphanumeric())
}
