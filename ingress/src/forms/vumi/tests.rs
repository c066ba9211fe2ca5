use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::forms::testing::{fields, form, get, lines, post, read, with};

const VUMI: &str = "form = 'vumi'\n";

/// A message as the relay posts it, with `changes`.
fn message(changes: &Value) -> Request {
    let golden = include_str!("../../../fixtures/vumi/message.request");
    let mut whole: Value = serde_json::from_str(golden.split_once("\n\n").unwrap().1).unwrap();
    for (key, value) in changes.as_object().unwrap() {
        whole[key] = value.clone();
    }
    Request { headers: axum::http::HeaderMap::new(), ..post("x", whole.to_string()) }
}

#[test]
fn a_message_is_read_with_all_its_fields_whatever_its_content_type() {
    let form = form(VUMI);
    let bare = message(&json!({}));
    for request in [
        bare.clone(),
        with(bare.clone(), "content-type", "multipart/form-data"),
        with(bare, "content-type", ""),
    ] {
        let reading = read(&*form, &request).unwrap();
        assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("+27831234567", "echo h\u{e9}llo"));
        assert_eq!(reading.external_id(), Some("7a52f5c9f0b34ba6a1d0f8a5c0f6c5b1"));
        let expected = [
            ("content", "echo h\u{e9}llo"),
            ("external_id", "7a52f5c9f0b34ba6a1d0f8a5c0f6c5b1"),
            ("from_addr", "+27831234567"),
            ("message_id", "7a52f5c9f0b34ba6a1d0f8a5c0f6c5b1"),
            ("to_addr", "9292"),
            ("transport_name", "sphex"),
            ("transport_type", "sms"),
        ];
        assert_eq!((reading.fields, reading.no_reply), (fields(&expected), false));
    }
}

#[test]
fn numbers_are_texts_and_null_is_a_blank_one() {
    let form = form(VUMI);
    let numbers =
        read(&*form, &message(&json!({ "message_id": 7, "from_addr": 27_831_234_567_u64, "group": 1 })));
    let numbers = numbers.unwrap();
    assert_eq!((numbers.identity.as_str(), numbers.external_id()), ("27831234567", Some("7")));
    assert_eq!(numbers.fields["group"], "1");
    for blank in [json!(null), json!(""), json!("  ")] {
        assert_eq!(read(&*form, &message(&json!({ "content": blank }))).unwrap().text, "");
    }
    let strict = crate::forms::testing::form("form = 'vumi'\nallow_blank = false\n");
    assert_eq!(
        lines(read(&*strict, &message(&json!({ "content": null }))))[1],
        "/content: this field is required"
    );
}

#[test]
fn only_the_end_of_a_session_leaves_nobody_to_answer() {
    for (event, is_over) in
        [(json!(null), false), (json!("new"), false), (json!("resume"), false), (json!("close"), true)]
    {
        let reading =
            read(&*form(VUMI), &message(&json!({ "session_event": event, "content": null }))).unwrap();
        assert_eq!((reading.no_reply, reading.text.as_str()), (is_over, ""), "{event}");
        assert_eq!(reading.fields.get("session_event").map(String::as_str), event.as_str());
    }
}

#[test]
fn what_is_no_object_is_refused_and_so_is_one_without_the_required() {
    let form = form(VUMI);
    for body in ["[]", "\"x\"", "7", "null", "true"] {
        assert_eq!(
            lines(read(&*form, &post("application/json", body)))[1],
            "body: a JSON object is wanted",
            "{body}"
        );
    }
    for body in [&b""[..], b"{", b"from_addr=1&content=x", b"{\"a\":\"\xff\"}"] {
        assert!(
            lines(read(&*form, &post("application/json", body)))[1].starts_with("body: not valid "),
            "{body:?}"
        );
    }
    let told = lines(read(&*form, &post("", r#"{"from_addr":" ","to_addr":{},"transport_name":[]}"#)));
    let required = ["from_addr", "message_id", "to_addr", "transport_name", "transport_type"];
    assert_eq!(told[1..], required.map(|name| format!("/{name}: this field is required")));
}

#[test]
fn rules_and_pointers_hold_as_in_every_form() {
    let keys = "form = 'vumi'\nparams = { identity = '/helper_metadata/msisdn' }\n[endpoints.fields]\n\
                to_addr = { one_of = ['8181'] }\nprovider = { required = true }\n";
    let told = lines(read(&*form(keys), &message(&json!({ "helper_metadata": { "msisdn": 5 } }))));
    assert_eq!(
        told[1..],
        ["/to_addr: select one of the allowed values", "/provider: this field is required"]
    );
    let reading = read(
        &*form(keys),
        &message(&json!({ "helper_metadata": { "msisdn": 5 }, "to_addr": "8181", "provider": "mtn" })),
    );
    assert_eq!(reading.unwrap().identity, "5");
}

#[test]
fn the_answer_is_empty_and_only_posts_are_taken() {
    let form = form(VUMI);
    assert_eq!(
        (form.methods(), form.answer().status.as_u16(), &*form.answer().body),
        (&[Method::POST][..], 200, &b""[..])
    );
}

proptest! {
    #[test]
    fn no_body_panics(body in any::<Vec<u8>>(), value in "[\\[\\]{}:,\"0-9a-z\\\\ ]{0,20}") {
        let form = form(VUMI);
        drop(read(&*form, &post("", &body)));
        drop(read(&*form, &post("", format!(r#"{{"from_addr":{value},"content":"{value}"}}"#))));
        drop(read(&*form, &get("")));
    }
}
