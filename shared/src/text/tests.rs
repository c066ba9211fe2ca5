use proptest::{prelude::*, strategy::Union};
use unicode_segmentation::UnicodeSegmentation;

use super::*;

/// The default alphabet in the order of its codes, 16 a row. 0x1B is the escape, which is no character.
const STANDARD: [&str; 8] = [
    "@£$¥èéùìòÇ\nØø\rÅå",
    "Δ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ",
    " !\"#¤%&'()*+,-./",
    "0123456789:;<=>?",
    "¡ABCDEFGHIJKLMNO",
    "PQRSTUVWXYZÄÖÑÜ§",
    "¿abcdefghijklmno",
    "pqrstuvwxyzäöñüà",
];

/// The extension table.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The septets of `text`; nothing when it has a character that the 7-bit alphabet has not.
fn septets(text: &str) -> Option<usize> {
    (Alphabet::of(text) == Alphabet::Gsm7).then(|| Alphabet::Gsm7.units_of(text))
}

#[test]
fn the_7_bit_alphabet_is_the_one_of_the_standard() {
    let basic: Vec<char> = STANDARD.iter().flat_map(|row| row.chars()).collect();
    assert_eq!((basic.len(), EXTENSION.chars().count()), (128, 10));
    for c in '\0'..=char::MAX {
        let expected = match c {
            '\u{1b}' => None,
            c if basic.contains(&c) => Some(1),
            c if EXTENSION.contains(c) => Some(2),
            _ => None,
        };
        assert_eq!(septets(&c.to_string()), expected, "{c:?}");
    }
}

#[test]
fn one_character_decides_for_the_whole_text() {
    assert_eq!(Alphabet::of(""), Alphabet::Gsm7);
    assert_eq!(Alphabet::of("Hello, it is 5 €"), Alphabet::Gsm7);
    for text in ["ça va", "it’s", "`", "tab\t", "مرحبا", "ok 👍"] {
        assert_eq!(Alphabet::of(text), Alphabet::Ucs2, "{text}");
    }
}

#[test]
fn an_escaped_character_and_an_emoji_are_two_units() {
    assert_eq!(septets("5 €"), Some(4));
    assert_eq!(Alphabet::Ucs2.units_of("ok 👍"), 5);
    assert_eq!(Count::of("[ok]", Alphabet::Gsm7), Count { alphabet: Alphabet::Gsm7, units: 6, parts: 1 });
    assert_eq!(Count::of("[ok]", Alphabet::Ucs2), Count { alphabet: Alphabet::Ucs2, units: 4, parts: 1 });
    assert_eq!(Count::of("ça 👍", Alphabet::Ucs2), Count { alphabet: Alphabet::Ucs2, units: 5, parts: 1 });
}

fn lengths(text: &str) -> Vec<usize> {
    split(text).iter().map(|part| part.chars().count()).collect()
}

#[test]
fn one_short_message_holds_more_than_a_part_of_many() {
    assert_eq!(lengths(""), [0]);
    assert_eq!(lengths(&"a".repeat(160)), [160]);
    assert_eq!(lengths(&"a".repeat(161)), [153, 8]);
    assert_eq!(lengths(&"a".repeat(306)), [153, 153]);
    assert_eq!(lengths(&"a".repeat(307)), [153, 153, 1]);
    assert_eq!(lengths(&"ж".repeat(70)), [70]);
    assert_eq!(lengths(&"ж".repeat(71)), [67, 4]);
    assert_eq!(lengths(&"ж".repeat(135)), [67, 67, 1]);
}

#[test]
fn a_text_that_is_sent_in_utf_16_for_no_need_is_cut_as_such() {
    let lengths =
        |text: &str| split_as(text, Alphabet::Ucs2).iter().map(|part| part.len()).collect::<Vec<_>>();
    assert_eq!(lengths(&"a".repeat(70)), [70]);
    assert_eq!(lengths(&"a".repeat(160)), [67, 67, 26]);
    // One unit each, where the 7-bit alphabet has two.
    assert_eq!(lengths(&"[".repeat(70)), [70]);
}

#[test]
fn pairs_are_kept_together() {
    // An escape pair, the two units of an emoji, a line break.
    assert_eq!(lengths(&"€".repeat(80)), [80]);
    assert_eq!(lengths(&"€".repeat(81)), [76, 5]);
    assert_eq!(lengths(&"👍".repeat(36)), [33, 3]);
    assert_eq!(lengths(&format!("{}\r\n{}", "a".repeat(152), "b".repeat(20))), [152, 22]);
}

#[test]
fn what_a_reader_sees_as_one_character_is_kept_together() {
    let family = "👨‍👩‍👧‍👦";
    assert_eq!(Alphabet::Ucs2.units_of(family), 11);
    assert_eq!(split(&family.repeat(7)), [family.repeat(6), family.to_owned()]);
    let flags = "🇰🇪".repeat(18);
    assert_eq!(split(&flags), ["🇰🇪".repeat(16), "🇰🇪".repeat(2)]);
}

#[test]
fn a_grapheme_that_no_part_can_hold_is_cut_between_its_code_points() {
    let tower = format!("e{}", "\u{301}".repeat(99));
    assert_eq!(tower.graphemes(true).count(), 1);
    assert_eq!(lengths(&tower), [67, 33]);
    assert_eq!(lengths(&format!("ab{tower}")), [67, 35]);
}

/// The codes of `text` in the tables above, with the escapes; nothing when they do not have all of it.
fn encode(text: &str) -> Option<Vec<u8>> {
    let mut codes = Vec::new();
    for c in text.chars() {
        let place = |table: &str| table.chars().position(|known| known == c && c != '\u{1b}');
        match (place(&STANDARD.concat()), place(EXTENSION)) {
            (Some(code), _) => codes.push(u8::try_from(code).unwrap()),
            (None, Some(_)) => codes.extend([0x1b, 0]),
            (None, None) => return None,
        }
    }
    Some(codes)
}

/// How many codes are in each part when they are cut as codes, with no idea of characters.
fn cut(mut codes: &[u8]) -> Vec<usize> {
    let mut parts = Vec::new();
    let limit = if codes.len() <= 160 { 160 } else { 153 };
    while codes.len() > limit {
        let end = if codes[limit - 1] == 0x1b { limit - 1 } else { limit };
        parts.push(end);
        codes = &codes[end..];
    }
    parts.push(codes.len());
    parts
}

/// The units of a text, counted in another way than by character.
fn units_in(alphabet: Alphabet, text: &str) -> usize {
    match alphabet {
        Alphabet::Gsm7 => encode(text).unwrap().len(),
        Alphabet::Ucs2 => text.encode_utf16().count(),
    }
}

/// Texts of all that is hard to cut, long enough to be cut.
fn texts() -> impl Strategy<Value = String> {
    let plain = "[ -_a-z]{0,40}";
    let escaped = r"[€\[\]{}^|~\\]{0,20}";
    let broken = "(a|\r\n|\r){0,20}";
    let letters = "[غ-يж-яऀ-ॿ\u{300}-\u{310}]{0,30}";
    let emoji = "(👍|👍🏽|👨\u{200d}👩\u{200d}👧|🇰🇪|🇹🇿|☺\u{fe0f}){0,12}";
    let tower = "e[\u{300}-\u{310}]{60,80}";
    let of = |kinds: Vec<&'static str>| proptest::collection::vec(Union::new(kinds), 0..24);
    prop_oneof![
        of(vec![plain, escaped, broken]),
        of(vec![plain, escaped, broken, letters, emoji, tower]),
        of(vec![letters, emoji]),
        proptest::collection::vec(any::<String>(), 0..8),
    ]
    .prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_parts_are_the_text_and_each_fits(text in texts()) {
        let parts = split(&text);
        prop_assert_eq!(parts.concat(), text.as_str());
        let alphabet = Alphabet::of(&text);
        let limit = if parts.len() == 1 { alphabet.units_alone() } else { alphabet.units_a_part() };
        for part in &parts {
            prop_assert!(units_in(alphabet, part) <= limit);
        }
        let expected = Count { alphabet, units: units_in(alphabet, &text), parts: parts.len() };
        prop_assert_eq!(Count::of(&text, Alphabet::of(&text)), expected);
    }

    #[test]
    fn no_part_ends_within_a_grapheme_that_fits_a_part(text in texts()) {
        let alphabet = Alphabet::of(&text);
        let mut end = 0;
        for part in split(&text) {
            end += part.len();
            let cut = text.grapheme_indices(true).find(|(at, grapheme)| (at + 1..at + grapheme.len()).contains(&end));
            let fits = cut.is_some_and(|(_, grapheme)| units_in(alphabet, grapheme) <= alphabet.units_a_part());
            prop_assert!(!fits, "{cut:?}");
        }
    }

    #[test]
    fn no_part_ends_before_it_must(text in texts()) {
        let alphabet = Alphabet::of(&text);
        for neighbours in split(&text).windows(2) {
            let next = neighbours[1].graphemes(true).next().unwrap_or_default();
            prop_assert!(units_in(alphabet, neighbours[0]) + units_in(alphabet, next) > alphabet.units_a_part());
        }
    }

    #[test]
    fn in_the_7_bit_alphabet_parts_end_where_their_codes_are_full(text in r"[ -_a-z\n€^{}\\\[~\]|£é]{0,999}") {
        let parts = split(&text);
        let septets: Option<Vec<usize>> = parts.iter().map(|part| septets(part)).collect();
        prop_assert_eq!(septets, encode(&text).map(|codes| cut(&codes)));
    }

    #[test]
    fn the_7_bit_alphabet_is_chosen_where_it_has_all_of_the_text(text in texts()) {
        prop_assert_eq!(Alphabet::of(&text) == Alphabet::Gsm7, encode(&text).is_some());
    }
}
