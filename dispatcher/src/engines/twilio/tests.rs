//! Golden requests, and what no text and no number may do to them.

use proptest::prelude::*;
use reqwest::Body;
use shared::config::Engine as Settings;

use super::{
    super::{
        part::tests::message,
        request::tests::{assert_golden, configured},
    },
    *,
};

const KEYS: &str = "engine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 'secret'\n";

fn blueprint(keys: &str) -> Blueprint {
    let (backend, reports) = configured(&format!("{KEYS}{keys}"));
    let Settings::Twilio(twilio) = backend.engine else { panic!() };
    Blueprint::new(&twilio, reports.as_ref())
}

#[test]
fn golden_requests() {
    const FROM: &str = "from = '+15550001'\n";
    for (file, keys, identities, text) in [
        ("latin", FROM, &["+1112223333"][..], "Hello [caf\u{e9}] 5\u{20ac}? 100% & more~*"),
        ("arabic", FROM, &["+1112223333"], "\u{645}\u{631}\u{62d}\u{628}\u{627}"),
        ("emoji", FROM, &["+1112223333"], "h\u{e9}llo \u{1f469}\u{200d}\u{1f469}"),
        ("many", FROM, &["+111", "+222"], "hello"),
        (
            "reports",
            "from = '+15550001'\nstatus_callback = 'https://sms.example.org'\n",
            &["+111", "+222"],
            "hello",
        ),
        ("messaging_service", "messaging_service_sid = 'MG1'\n", &["+111"], "hello"),
    ] {
        let (blueprint, message) = (blueprint(keys), message(identities, text));
        let parts = Part::for_each_identity(&message);
        let requests: Vec<Request> = parts.iter().map(|part| blueprint.request(part).unwrap()).collect();
        assert_golden(&format!("twilio/{file}.txt"), &requests);
    }
}

#[test]
fn a_text_that_is_too_long_is_refused_before_the_call() {
    let request = |length| {
        let message = message(&["+1"], &"\u{1f600}".repeat(length));
        blueprint("from = '1'\n").request(&Part::for_each_identity(&message)[0]).map(|_| ())
    };
    assert_eq!(request(1600), Ok(()));
    let told = request(1601).unwrap_err().to_string();
    assert_eq!(told, "rejected: the text has 1601 characters, and Twilio takes 1600 at most");
}

proptest! {
    #[test]
    fn every_text_and_number_arrives_as_it_was(text in any::<String>(), identity in any::<String>(), from in "[^'\\\\\u{0}-\u{1f}\u{7f} $]{1,9}") {
        let message = message(&[&identity], &text);
        let request = blueprint(&format!("from = '{from}'\n")).request(&Part::for_each_identity(&message)[0]).unwrap();
        let body = request.body().and_then(Body::as_bytes).unwrap();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let expected = [("To", identity), ("From", from), ("Body", text)].map(|(name, value)| (name.to_owned(), value));
        prop_assert_eq!(pairs, expected);
    }
}
