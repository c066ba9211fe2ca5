//! `split`, `max_parts` and `substitute`: what becomes of a backend's texts, whatever its engine is.

use crate::config::reader::{Entry, Read, Section};

/// The most parts of a text that is split here when nothing else is written: an app that answers with a whole page is
/// noticed before the page is paid for.
const MAX_PARTS: u8 = 10;

/// What becomes of a text before the engine has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// Whether a long text is sent in parts. Else the provider has it as a whole.
    pub split: bool,
    /// The most short messages that a text may take, whoever splits it. One that takes more is refused, never cut off.
    pub max_parts: Option<u8>,
    /// Whether typographic characters are replaced in a text that then fits the 7-bit alphabet.
    pub substitute: bool,
}

/// A number of parts, above zero.
struct Parts(u8);

pub(super) fn read(section: &mut Section<'_>) -> Texts {
    let origin = section.origin_of("split");
    let split = section.or("split", false);
    let max_parts = section.optional("max_parts").map(|Parts(parts)| parts);
    let substitute = section.or("substitute", false);
    if split && max_parts == Some(1) {
        section.problem_at(
            &origin,
            "split",
            "with `max_parts = 1` there is nothing to split; write only one of them",
        );
    }
    Texts { split, max_parts: max_parts.or(split.then_some(MAX_PARTS)), substitute }
}

impl Read for Parts {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let same = entry.clone();
        match u8::try_from(u16::read(same)?) {
            Ok(parts @ 1..) => Some(Self(parts)),
            _ => entry.problem("1 to 255 is wanted; no phone puts more parts together"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::Config;

    fn texts(keys: &str) -> Result<Texts, String> {
        let text = format!("[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n{keys}\n");
        match Config::parse("g.toml", &text, &BTreeMap::new()) {
            Ok(config) => Ok(config.backends["b"].texts),
            Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
        }
    }

    #[test]
    fn unless_it_is_written_a_text_goes_to_the_provider_as_it_is() {
        assert_eq!(texts(""), Ok(Texts { split: false, max_parts: None, substitute: false }));
        let split = Texts { split: true, max_parts: Some(10), substitute: false };
        assert_eq!(texts("split = true"), Ok(split));
        assert_eq!(texts("split = true\nmax_parts = 255"), Ok(Texts { max_parts: Some(255), ..split }));
        let limited = Texts { split: false, max_parts: Some(1), substitute: true };
        assert_eq!(texts("max_parts = 1\nsubstitute = true"), Ok(limited));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for parts in [0, 256] {
            let told =
                "g.toml:5: backends.b.max_parts: 1 to 255 is wanted; no phone puts more parts together";
            assert_eq!(texts(&format!("max_parts = {parts}")), Err(told.to_owned()));
        }
        let told = "g.toml:6: backends.b.split: with `max_parts = 1` there is nothing to split; write only one of them";
        assert_eq!(texts("max_parts = 1\nsplit = true"), Err(told.to_owned()));
    }
}
