//! How a text goes to Kannel: its bytes, and what Kannel is told of them. No character is ever lost.
//!
//! Kannel takes a text without `coding` for UTF-8 that fits the 7-bit alphabet, and makes a `?` of whatever does not. With
//! `coding=2` it takes UTF-16, the high byte first. A `charset` makes it convert, which builds without iconv refuse: it is sent
//! only when it is configured.

use shared::{
    config::backends::kannel::{Charset, Coding},
    text::Alphabet,
};

use super::super::SendError;

/// The configured choice, or none.
pub(super) struct Encoding {
    coding: Option<Coding>,
    charset: Option<(String, Charset)>,
}

/// A text on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wire<'e> {
    pub(super) bytes: Vec<u8>,
    /// What Kannel is told; without it, it takes 7 bits for granted.
    pub(super) coding: Option<Coding>,
    pub(super) charset: Option<&'e str>,
}

impl Encoding {
    pub(super) fn new(coding: Option<Coding>, charset: Option<(String, Charset)>) -> Self {
        Self { coding, charset }
    }

    /// Writes `text`, or rejects it when a character would be lost.
    pub(super) fn encode(&self, text: &str) -> Result<Wire<'_>, SendError> {
        let needed = match Alphabet::of(text) {
            Alphabet::Gsm7 => None,
            Alphabet::Ucs2 => Some(Coding::Ucs2),
        };
        if self.coding == Some(Coding::SevenBit) && needed.is_some() {
            return Err(lossy("the 7-bit alphabet, to which `coding = 0` keeps it"));
        }
        let coding = self.coding.or(needed);
        let taken_for_granted = if coding == Some(Coding::Ucs2) { Charset::Utf16Be } else { Charset::Utf8 };
        let charset = self.charset.as_ref();
        let bytes = write(text, charset.map_or(taken_for_granted, |(_, charset)| *charset));
        let charset = charset.map(|(name, _)| name.as_str());
        let bytes = bytes.ok_or_else(|| lossy(&format!("`charset = {:?}`", charset.unwrap_or_default())))?;
        Ok(Wire { bytes, coding, charset })
    }

    /// The alphabet in which `text` goes, as [`encode`](Self::encode) writes it.
    pub(super) fn alphabet(&self, text: &str) -> Result<Alphabet, SendError> {
        Ok(match self.encode(text)?.coding {
            Some(Coding::Ucs2) => Alphabet::Ucs2,
            // Nobody can count bytes: the configuration has `coding = 1` with nothing that counts.
            None | Some(Coding::SevenBit | Coding::EightBit) => Alphabet::Gsm7,
        })
    }
}

/// The bytes of `text`; nothing when it has a character that the charset has not.
fn write(text: &str, charset: Charset) -> Option<Vec<u8>> {
    match charset {
        Charset::Ascii => text.is_ascii().then(|| text.into()),
        Charset::Latin1 => text.chars().map(|c| u8::try_from(c).ok()).collect(),
        Charset::Utf8 => Some(text.into()),
        Charset::Utf16Be => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    }
}

fn lossy(of_what: &str) -> SendError {
    let reason = format!("the text has a character that is not in {of_what}");
    SendError::Rejected { reason, answer: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(coding: Option<Coding>, charset: Option<(&str, Charset)>, text: &str) -> String {
        let encoding = Encoding::new(coding, charset.map(|(name, charset)| (name.to_owned(), charset)));
        let wire = encoding.encode(text);
        match wire {
            Ok(Wire { bytes, coding, charset }) => {
                format!(
                    "{} {:?} {charset:?}",
                    percent_encoding::percent_encode(&bytes, super::super::IN_URL),
                    coding
                )
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_text_has_what_it_needs() {
        assert_eq!(told(None, None, "hé€["), "h%C3%A9%E2%82%AC%5B None None");
        assert_eq!(told(None, None, "ж"), "%046 Some(Ucs2) None");
        assert_eq!(told(None, None, "😀"), "%D8%3D%DE%00 Some(Ucs2) None");
    }

    #[test]
    fn what_is_configured_is_kept_to_and_nothing_is_lost() {
        let (utf8, latin1, ascii) =
            (("UTF-8", Charset::Utf8), ("latin1", Charset::Latin1), ("ascii", Charset::Ascii));
        assert_eq!(told(Some(Coding::Ucs2), Some(utf8), "h☺"), "h%E2%98%BA Some(Ucs2) Some(\"UTF-8\")");
        assert_eq!(told(Some(Coding::Ucs2), None, "h"), "%00h Some(Ucs2) None");
        assert_eq!(told(Some(Coding::SevenBit), None, "hé"), "h%C3%A9 Some(SevenBit) None");
        assert_eq!(told(Some(Coding::EightBit), Some(latin1), "ÿ"), "%FF Some(EightBit) Some(\"latin1\")");
        assert_eq!(told(None, Some(latin1), "hé"), "h%E9 None Some(\"latin1\")");
        assert_eq!(told(None, Some(latin1), "ý"), "%FD Some(Ucs2) Some(\"latin1\")");
        let lost = "rejected: the text has a character that is not in ";
        let seven = "the 7-bit alphabet, to which `coding = 0` keeps it";
        assert_eq!(told(Some(Coding::SevenBit), None, "ж"), format!("{lost}{seven}"));
        assert_eq!(told(Some(Coding::SevenBit), Some(ascii), "hé"), format!("{lost}`charset = \"ascii\"`"));
        assert_eq!(told(None, Some(latin1), "€"), format!("{lost}`charset = \"latin1\"`"));
    }
}
