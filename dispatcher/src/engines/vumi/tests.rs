//! Golden requests, and what no text and no number may do to them.

use proptest::prelude::*;
use reqwest::Body;
use shared::config::Engine as Settings;

use super::{
    super::{
        part::tests::message,
        request::tests::{assert_golden, backend},
    },
    *,
};

const KEYS: &str = "engine = 'vumi'\nsendsms_url = 'http://relay:9000/send/'\n";

fn blueprint(keys: &str) -> Blueprint {
    let Settings::Vumi(vumi) = backend(&format!("{KEYS}{keys}")).engine else { panic!() };
    Blueprint::new(&vumi)
}

/// A message to `identities` that answers one from `sender`.
fn reply(sender: Option<&str>, identities: &[&str], text: &str) -> OutgoingMessage {
    let mut message = message(identities, text);
    let fields = [("external_id", Some("abc")), ("from_addr", sender)];
    message.fields =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    message
}

#[test]
fn golden_requests() {
    for (file, keys, message) in [
        ("reply", "", reply(Some("+111"), &["+111"], "Hello [caf\u{e9}]")),
        ("reply_to_another", "", reply(Some("+111"), &["+222"], "hello")),
        ("arabic", "", message(&["+111"], "\u{645}\u{631}\u{62d}\u{628}\u{627}")),
        ("emoji", "", message(&["+111"], "\"\u{1f469}\u{200d}\u{1f469}\"\n")),
        ("many", "", message(&["+111", "+222"], "hello")),
        (
            "params",
            "sendsms_params = { endpoint = 'default', from_addr = '8005' }\nsendsms_user = 'u'\nsendsms_pass = 'p'\n",
            message(&["+111"], "hello"),
        ),
    ] {
        let part = &Part::batches(&message, MAX_IDENTITIES)[0];
        let request = blueprint(keys).request(part, original(part));
        assert_golden(&format!("vumi/{file}.txt"), &[request]);
    }
}

#[test]
fn only_what_goes_to_its_sender_alone_is_an_answer() {
    let original = |message: &OutgoingMessage| original(&Part::batches(message, 200)[0]).map(str::to_owned);
    assert_eq!(original(&reply(Some("1"), &["1"], "x")).as_deref(), Some("abc"));
    for message in
        [reply(Some("1"), &["2"], "x"), reply(Some("1"), &["1", "2"], "x"), reply(None, &["1"], "x")]
    {
        assert_eq!(original(&message), None);
    }
    assert_eq!(original(&message(&["1"], "x")), None);
}

#[test]
fn a_rate_counts_identities() {
    let plan = |keys: &str| {
        let settings = backend(&format!("{KEYS}{keys}"));
        let Settings::Vumi(vumi) = &settings.engine else { panic!() };
        let engine = VumiEngine::new(&"b".parse().unwrap(), vumi, &settings, &Calls::Made).unwrap();
        engine.plan(&message(&["1", "2", "3"], "x")).len()
    };
    assert_eq!((plan(""), plan("rate = 5\n")), (1, 3));
}

proptest! {
    #[test]
    fn every_text_and_number_arrives_as_it_was(text in any::<String>(), identities in prop::collection::vec(any::<String>(), 1..5)) {
        let to: Vec<&str> = identities.iter().map(String::as_str).collect();
        let message = message(&to, &text);
        let request = blueprint("sendsms_params = { endpoint = 'e' }\n").request(&Part::batches(&message, 200)[0], None);
        let body: Value = serde_json::from_slice(request.body().and_then(Body::as_bytes).unwrap()).unwrap();
        let metadata = json!({ "rapidsms_msg_id": message.id.to_string() });
        let expected = json!({ "content": text, "to_addr": identities, "session_event": null, "metadata": metadata, "endpoint": "e" });
        prop_assert_eq!(body, expected);
    }
}
