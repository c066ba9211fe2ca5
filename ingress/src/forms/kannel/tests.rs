use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use proptest::prelude::*;

use super::*;
use crate::forms::testing::{fields, form, get, lines, read};

const KANNEL: &str = "form = 'kannel'\n";

/// A request whose text is `bytes`, as Kannel writes it.
fn message(bytes: &[u8], rest: &str) -> Request {
    get(&format!("id=1&text={}&{rest}", percent_encode(bytes, NON_ALPHANUMERIC)))
}

fn text(bytes: &[u8], rest: &str) -> String {
    read(&*form(KANNEL), &message(bytes, rest)).unwrap().text
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_be_bytes).collect()
}

#[test]
fn a_text_is_decoded_as_kannel_says() {
    let arabic = "\u{645}\u{631}\u{62d}\u{628}\u{627} hi \u{1f600}";
    assert_eq!(text(&utf16(arabic), "charset=UTF-16BE&coding=2"), arabic);
    // The coding decides: whatever the charset is called, these are two bytes a character.
    for rest in ["coding=2", "coding=2&charset=", "coding=2&charset=UTF-8", "coding=+2&charset=klingon"] {
        assert_eq!(text(&utf16(arabic), rest), arabic, "{rest}");
    }
    assert_eq!(text(arabic.as_bytes(), "charset=UTF-8&coding=0"), arabic);
    for rest in [
        "charset=ISO-8859-1&coding=0",
        "charset=windows-1252&coding=1",
        "charset=latin1",
        "charset=CP1252&coding=-1",
    ] {
        assert_eq!(text(b"caf\xe9", rest), "caf\u{e9}", "{rest}");
    }
    assert_eq!(text(&utf16("h\u{e9}"), "charset=utf-16&coding=0"), "h\u{e9}");
    assert_eq!(text(b"plain", "charset=ASCII&coding=0"), "plain");
}

#[test]
fn without_a_charset_the_endpoints_counts() {
    // `GSM` and `binary` are what older manuals have for codings 0 and 1.
    for rest in [
        "",
        "charset=",
        "charset=8-BIT&coding=1",
        "coding=0",
        "charset=GSM&coding=0",
        "charset=binary&coding=1",
    ] {
        assert_eq!(text("\u{e9}".as_bytes(), rest), "\u{e9}", "{rest}");
    }
    let latin = form("form = 'kannel'\ncharset = 'iso-8859-1'\n");
    assert_eq!(read(&*latin, &message(b"\xe9", "charset=8-BIT")).unwrap().text, "\u{e9}");
}

#[test]
fn bytes_that_do_not_decode_are_refused_never_replaced() {
    for (bytes, rest, told) in [
        (&b"caf\xe9"[..], "", "text: not valid utf-8"),
        (b"caf\xe9", "charset=US-ASCII", "text: not valid utf-8"),
        (b"\0h\0", "coding=2", "text: not valid utf-16be"),
        (b"\xd8\x3d\0h", "coding=2", "text: not valid utf-16be"),
        (b"\0h\0\0", "coding=2", "text: null characters are not allowed"),
        (b"x", "charset=klingon", "charset: this charset is not known"),
        (b"x", "charset=%FF", "charset: not valid utf-8"),
    ] {
        assert_eq!(lines(read(&*form(KANNEL), &message(bytes, rest)))[1..], [told], "{rest}");
    }
}

#[test]
fn a_blank_text_is_a_message_and_the_id_may_be_missing() {
    let reading = read(&*form(KANNEL), &get("id=%2B254700&text=&sms_id=")).unwrap();
    assert_eq!(
        (reading.identity.as_str(), reading.text.as_str(), reading.external_id()),
        ("+254700", "", None)
    );
    let reading = read(&*form(KANNEL), &get("id=1&sms_id=a-b&charset=UTF-8&coding=0&smsc=x")).unwrap();
    let expected = [("charset", "UTF-8"), ("coding", "0"), ("external_id", "a-b")];
    assert_eq!(reading.fields, fields(&expected));
    let strict = form("form = 'kannel'\nallow_blank = false\n");
    assert_eq!(
        lines(read(&*strict, &get("text=+")))[1..],
        ["id", "text"].map(|name| format!("{name}: this field is required"))
    );
}

#[test]
fn every_parameter_can_have_another_name() {
    let renamed = form(
        "form = 'kannel'\nparams = { identity = 'p', text = 'b', charset = 'C', coding = 'c', external_id = 'I' }\n\
         [endpoints.fields]\nsmsc = { one_of = ['a'] }\n",
    );
    let reading = read(&*renamed, &get("p=1&b=%26%3A&C=x&c=2&I=7&smsc=a")).unwrap();
    assert_eq!((reading.text.as_str(), reading.external_id()), ("\u{263a}", Some("7")));
    let told = lines(read(&*renamed, &get("p=1&b=x&C=klingon")));
    assert_eq!(told[1], "C: this charset is not known");
    assert_eq!(lines(read(&*renamed, &get("p=1&b=x&smsc=b")))[1], "smsc: select one of the allowed values");
}

#[test]
fn the_answer_is_empty_and_only_gets_are_taken() {
    let form = form(KANNEL);
    assert_eq!(
        (form.methods(), form.answer().status.as_u16(), &*form.answer().body),
        (&[Method::GET][..], 200, &b""[..])
    );
}

proptest! {
    #[test]
    fn any_text_survives_in_utf_16_and_in_utf_8(
        sent in "[^\u{0}\\s\u{1c}-\u{1f}][^\u{0}]{0,40}[^\u{0}\\s\u{1c}-\u{1f}]",
    ) {
        prop_assert_eq!(&text(&utf16(&sent), "coding=2"), &sent);
        prop_assert_eq!(text(sent.as_bytes(), "charset=UTF-8&coding=0"), sent);
    }

    #[test]
    fn no_bytes_panic(bytes in any::<Vec<u8>>(), charset in any::<Vec<u8>>(), coding in "[0-9-]{0,3}") {
        let charset = percent_encode(&charset, NON_ALPHANUMERIC).to_string();
        drop(read(&*form(KANNEL), &message(&bytes, &format!("charset={charset}&coding={coding}"))));
    }
}
