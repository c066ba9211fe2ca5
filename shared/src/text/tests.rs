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
    assert_eq!(utf16_units("ok 👍"), 5);
    assert_eq!(Count::of("[ok]"), Count { alphabet: Alphabet::Gsm7, units: 6, parts: 1 });
    assert_eq!(Count::of("ça 👍"), Count { alphabet: Alphabet::Ucs2, units: 5, parts: 1 });
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
    assert_eq!(utf16_units(family), 11);
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
