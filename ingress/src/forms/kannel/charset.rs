//! The charset that a name of Kannel's stands for.
//!
//! Kannel has its names from libxml2 and iconv, which know more spellings than the web does, and put the high byte
//! first where the web puts it last.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GBK, ISO_8859_15, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252,
};

/// The charset called `name`.
pub(super) fn named(name: &str) -> Option<&'static Encoding> {
    // iconv takes instructions after the name: `UTF-8//TRANSLIT`.
    let name = name.split("//").next().unwrap_or("");
    let squeezed: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    Some(match squeezed.to_ascii_lowercase().as_str() {
        "utf16" | "utf16be" | "ucs2" | "ucs2be" | "iso10646ucs2" | "csunicode" | "unicodebig" => UTF_16BE,
        "utf16le" | "ucs2le" | "unicodelittle" => UTF_16LE,
        // The web takes it for Windows-1252, in which no byte is ever wrong. What is ASCII is UTF-8 too.
        "ascii" | "usascii" | "ansix341968" | "iso646us" => UTF_8,
        "windows1252" | "msansi" => WINDOWS_1252,
        "latin9" => ISO_8859_15,
        "cp932" => SHIFT_JIS,
        "cp936" => GBK,
        "cp949" => EUC_KR,
        "cp950" => BIG5,
        _ => {
            let known = |label: &str| Encoding::for_label_no_replacement(label.as_bytes());
            known(name).or_else(|| known(&squeezed))?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_names_of_libxml_and_iconv_are_known() {
        for (names, expected) in [
            (&["UTF-8", "utf8", "UTF-8//TRANSLIT", "ASCII", "US-ASCII", "ANSI_X3.4-1968"][..], "UTF-8"),
            (&["UTF-16BE", "UTF16BE", "UTF-16", "UCS-2", "UCS-2BE", "ISO-10646-UCS-2"], "UTF-16BE"),
            (&["UTF-16LE", "UCS-2LE"], "UTF-16LE"),
            (&["ISO-8859-1", "iso8859-1", "ISO_8859-1", "ISO8859_1", "LATIN1", "latin-1"], "windows-1252"),
            (
                &["windows-1252", "WINDOWS-1252", "CP1252", "cp-1252", "WINDOWS_1252", "MS-ANSI"],
                "windows-1252",
            ),
            (&["ISO-8859-15", "ISO8859-15", "LATIN-9"], "ISO-8859-15"),
            (&["ISO-8859-6", "ARABIC"], "ISO-8859-6"),
            (&["CP1256", "windows-1256"], "windows-1256"),
            (&["KOI8-R"], "KOI8-R"),
            (&["SHIFT-JIS", "Shift_JIS", "SJIS", "CP932"], "Shift_JIS"),
            (&["GB2312", "GBK", "CP936"], "GBK"),
            (&["BIG5", "BIG-5", "CP950"], "Big5"),
            (&["EUC-KR", "CP949"], "EUC-KR"),
        ] {
            for name in names {
                assert_eq!(named(name).map(Encoding::name), Some(expected), "{name}");
            }
        }
        for name in ["", "klingon", "replacement", "//", "7-BIT"] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_panics_or_means_that_everything_is_replaced(name in any::<String>()) {
            prop_assert_ne!(named(&name), Some(encoding_rs::REPLACEMENT));
        }
    }
}
