//! Golden requests, and what no text and no number may do to them.

use std::sync::Arc;

use proptest::prelude::*;
use shared::config::Engine as Settings;
use url::form_urlencoded;

use super::{
    super::{
        part::tests::message,
        request::tests::{assert_golden, configured},
    },
    *,
};

/// As `RapidSMS` documents it.
const KEYS: &str = "engine = 'kannel'\nsendsms_params = { smsc = 'FAKE', from = '123', username = 'rapidsms', password = 'a&b c' }\n";

const REPORTS: &str = "delivery_report_url = 'https://gateway.example.org'\n";

fn blueprint(keys: &str) -> Blueprint {
    let (backend, reports) = configured(&format!("{KEYS}{keys}"));
    let Settings::Kannel(kannel) = backend.engine else { panic!() };
    Blueprint::new(&kannel, reports.as_ref())
}

/// The requests for all parts of a message.
fn requests(keys: &str, identities: &[&str], text: &str) -> Vec<Request> {
    let (blueprint, message) = (blueprint(keys), message(identities, text));
    blueprint.plan(&message).iter().map(|part| blueprint.request(part).unwrap()).collect()
}

#[test]
fn golden_requests() {
    for (file, keys, identities, text) in [
        ("latin", "", &["+1112223333"][..], "Hello [caf\u{e9}] 5\u{20ac}? 100% & more~*"),
        ("arabic", "", &["+1112223333"], "\u{645}\u{631}\u{62d}\u{628}\u{627}"),
        ("emoji", "", &["+1112223333"], "h\u{e9}llo \u{1f469}\u{200d}\u{1f469}"),
        ("many", "", &["111", "+222"], "hello"),
        ("many_in_batches", "batch = 2\n", &["111", "+222", "333"], "hello"),
        // The two encodings that RapidSMS's own documentation has, to the byte.
        ("rapidsms_utf8", "charset = 'UTF-8'\ncoding = 2\n", &["111"], "h\u{e9}llo \u{263a}"),
        ("rapidsms_utf16", "charset = 'UTF-16BE'\ncoding = 2\n", &["111"], "h\u{e9}llo"),
        ("rapidsms_default", "charset = 'ascii'\ncoding = 0\n", &["111"], "hello"),
        ("reports", REPORTS, &["111", "222"], "hello"),
        (
            "reports_with_token",
            "delivery_report_url = 'http://10.0.0.1:8000/sms'\n[[reports]]\nbackend = 'b'\n\
             auth = { token = { parameter = 'key', value = 'a%&' } }\n",
            &["111"],
            "hello",
        ),
        ("reports_in_batches", &format!("batch = 2\n{REPORTS}"), &["111", "222"], "hello"),
        ("url_with_query", "sendsms_url = 'https://h/s?account=x%20y'\n", &["111"], "hello"),
    ] {
        assert_golden(&format!("kannel/{file}.txt"), &requests(keys, identities, text));
    }
}

#[test]
fn a_number_with_a_space_is_refused_alone() {
    let (blueprint, message) = (blueprint("batch = 10\n"), message(&["1", "2 3", "", "4"], "x"));
    let outcome = |part: &Part<'_>| blueprint.request(part).map_or_else(|error| error.class(), |_| "request");
    let outcomes: Vec<&str> = blueprint.plan(&message).iter().map(outcome).collect();
    assert_eq!(outcomes, ["request", "rejected", "rejected", "request"]);
}

/// A backend with these `keys`, as it is built.
fn built(keys: &str) -> super::super::Backend {
    let (settings, _) = configured(&format!("{KEYS}{keys}"));
    let Settings::Kannel(kannel) = &settings.engine else { panic!() };
    let engine =
        Arc::new(KannelEngine::new(&"b".parse().unwrap(), kannel, &settings, &Calls::Made, None).unwrap());
    let Backend { rate, concurrency, on_unknown, texts, .. } = settings;
    super::super::Backend { engine, rate, concurrency, on_unknown, texts, gate: Arc::default() }
}

/// The texts of the requests in which `text` is sent; or why it is not.
fn cut(keys: &str, text: &str) -> Result<Vec<String>, String> {
    let message = message(&["1"], text);
    let parts = built(keys).plan(&message).map_err(|error| error.to_string())?;
    Ok(parts.iter().map(|part| read(&blueprint(keys).request(part).unwrap()).1).collect())
}

#[test]
fn a_text_is_cut_as_it_is_coded() {
    let (text, lengths) =
        ("a".repeat(306), |texts: Vec<String>| texts.iter().map(String::len).collect::<Vec<_>>());
    assert_eq!(cut("split = true\n", &text).map(lengths), Ok(vec![153, 153]));
    assert_eq!(cut("split = true\ncoding = 2\n", &text).map(lengths), Ok(vec![67, 67, 67, 67, 38]));
    let refused = "rejected: the text takes 3 parts, and max_parts is 1".to_owned();
    assert_eq!(cut("max_parts = 1\ncoding = 2\n", &text[..160]), Err(refused));
    assert_eq!(cut("max_parts = 1\n", &text[..160]).map(lengths), Ok(vec![160]));
}

#[test]
fn of_a_text_that_cannot_be_coded_no_part_is_sent() {
    let text = format!("{}\u{436}", "a".repeat(200));
    let refused = "rejected: the text has a character that is not in ";
    for (keys, what) in [
        ("coding = 0\n", "the 7-bit alphabet, to which `coding = 0` keeps it"),
        ("charset = 'latin1'\n", "`charset = \"latin1\"`"),
    ] {
        assert_eq!(cut(&format!("split = true\n{keys}"), &text), Err(format!("{refused}{what}")));
    }
}

/// The text that Kannel makes of the parameters: without `coding` it takes UTF-8, with 2 UTF-16BE.
fn read(request: &Request) -> (Vec<String>, String) {
    let query = request.url().query().unwrap();
    let value = |wanted: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(name, _)| *name == wanted)?.1.replace('+', " ");
        Some(percent_encoding::percent_decode_str(&value).collect::<Vec<u8>>())
    };
    let to = String::from_utf8(value("to").unwrap()).unwrap().split(' ').map(str::to_owned).collect();
    let text = value("text").unwrap();
    let text = match value("coding").as_deref() {
        None => String::from_utf8(text).unwrap(),
        Some(b"2") => {
            let units =
                text.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect::<Vec<u16>>();
            String::from_utf16(&units).unwrap()
        }
        other => panic!("{other:?}"),
    };
    (to, text)
}

proptest! {
    #[test]
    fn every_text_and_number_arrives_as_it_was(
        text in prop_oneof![any::<String>(), "[ -~\u{e9}\u{20ac}]{0,40}"],
        identities in prop::collection::vec("\\+?[0-9]{1,15}|[^\\s]{1,8}", 1..9),
        batch in 1..5_usize,
    ) {
        let identities: Vec<&str> = identities.iter().map(String::as_str).collect();
        let requests = requests(&format!("batch = {batch}\n"), &identities, &text);
        let mut all = Vec::new();
        for request in &requests {
            let (to, found) = read(request);
            prop_assert_eq!(&found, &text);
            let names: Vec<String> =
                form_urlencoded::parse(request.url().query().unwrap().as_bytes()).map(|(name, _)| name.into_owned()).collect();
            prop_assert_eq!(&names[..6], ["smsc", "from", "username", "password", "to", "text"]);
            all.extend(to);
        }
        prop_assert_eq!(all, identities);
    }
}
