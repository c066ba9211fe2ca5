use proptest::prelude::*;
use shared::{
    clock::UnixMillis,
    message::{IncomingMessage, MessageId},
};

use super::*;

const FILTER: &str = include_str!("../../../../fixtures/hook/answer.filter.json");
const PARSE: &str = include_str!("../../../../fixtures/hook/answer.parse.json");
const HANDLE: &str = include_str!("../../../../fixtures/hook/answer.handle.json");
const OUTGOING: &str = include_str!("../../../../fixtures/hook/answer.outgoing.json");

fn answer<A: DeserializeOwned + Default>(body: &str) -> A {
    parse(body.as_bytes()).unwrap()
}

/// Backend, identities and text of what is sent.
fn sent(messages: Messages) -> Vec<(String, Vec<String>, String)> {
    let message = IncomingMessage {
        id: MessageId::new(),
        accepted_at: UnixMillis(1),
        backend: "b".parse().unwrap(),
        identity: "1".into(),
        text: String::new(),
        fields: BTreeMap::new(),
        no_reply: false,
    };
    let mut context = Context::new(message, 1, "P");
    messages.send(&mut context);
    let identities = |draft: &crate::apps::Draft| {
        draft.identities().iter().map(|identity| identity.as_str().to_owned()).collect()
    };
    context
        .drafts
        .iter()
        .map(|draft| (draft.backend().to_string(), identities(draft), draft.text().to_owned()))
        .collect()
}

#[test]
fn golden_answers_are_read() {
    let filtered: Filtered = answer(FILTER);
    assert!(filtered.stop);
    assert_eq!(sent(filtered.messages), [("b".into(), vec!["1".into()], "You are blocked.".into())]);

    let parsed: Parsed = answer(PARSE);
    assert_eq!((parsed.text.as_deref(), parsed.fields["language"].as_str()), (Some("join Ann"), "sw"));
    assert_eq!(sent(parsed.messages), []);

    let claimed: Claimed = answer(HANDLE);
    assert!(!claimed.is_handled());
    assert_eq!(
        sent(claimed.messages),
        [
            ("b".into(), vec!["1".into()], "Thank you, \u{c5}nn!".into()),
            (
                "b".into(),
                vec!["+256700000002".into(), "+256700000003".into()],
                "A new member: \u{c5}nn".into()
            ),
            ("twilio".into(), vec!["1".into()], "The same, through another backend".into()),
        ]
    );

    let changed: Changed = answer(OUTGOING);
    assert_eq!((changed.text.as_deref(), changed.cancel), (Some("Asante, \u{c5}nn!"), false));
}

#[test]
fn who_answers_the_message_has_claimed_it_unless_it_says_otherwise() {
    for (body, expected) in [
        ("", false),
        (" \n", false),
        ("{}", false),
        (r#"{"messages": []}"#, false),
        (r#"{"messages": [{"text": "x"}]}"#, true),
        (r#"{"messages": [{"text": "x", "identities": []}]}"#, false),
        (r#"{"messages": [{"text": "x", "identities": []}, {"text": "y"}]}"#, true),
        (r#"{"handled": true}"#, true),
        (r#"{"handled": false, "messages": [{"text": "x"}]}"#, false),
        (r#"{"handled": null, "messages": [{"text": "x"}]}"#, true),
    ] {
        assert_eq!(answer::<Claimed>(body).is_handled(), expected, "{body}");
    }
}

#[track_caller]
fn refused<A: DeserializeOwned + Default>(body: &str, expected: &str) {
    assert_eq!(parse::<A>(body.as_bytes()).err().as_deref(), Some(expected), "{body}");
}

#[test]
fn what_is_not_documented_is_an_error_that_repeats_nothing_of_it() {
    let at =
        |column| format!("the answer is not what is documented for this phase, at line 1 column {column}");
    refused::<Claimed>(r#"{"message": [{"text": "0700111222"}]}"#, &at(10));
    refused::<Claimed>(r#"{"messages": [{"txt": "0700111222"}]}"#, &at(20));
    refused::<Claimed>(r#"{"messages": "0700111222"}"#, &at(25));
    refused::<Claimed>(r#"{"messages": [{"text": "a", "identities": [256700000001]}]}"#, &at(55));
    refused::<Claimed>(r#"{"messages": [{"text": "a", "backend": "0700 111"}]}"#, &at(50));
    refused::<Claimed>(r#"{"stop": true}"#, &at(7));
    refused::<Filtered>(r#"{"handled": true}"#, &at(10));
    refused::<Changed>(r#"{"messages": []}"#, &at(11));
    refused::<Cleaned>(r#"{"messages": []} x"#, &at(18));
    refused::<Claimed>("[true]", "the answer is no JSON object");
    refused::<Claimed>("OK", "the answer is no JSON object");
    refused::<Parsed>("null", "the answer is no JSON object");
}

/// Reads `body` in every phase; none may panic, and what is read is what an object says.
fn read_all(body: &[u8]) -> [bool; 5] {
    [
        parse::<Filtered>(body).is_ok(),
        parse::<Parsed>(body).is_ok(),
        parse::<Claimed>(body).is_ok(),
        parse::<Cleaned>(body).is_ok(),
        parse::<Changed>(body).is_ok(),
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let keys = "messages|text|identities|backend|handled|stop|cancel|fields|x";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys, inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let blank = body.trim_ascii().is_empty();
        prop_assert_eq!(read_all(&body), [blank; 5]);
    }

    #[test]
    fn no_document_panics(document in json(), cut in 0_usize..200) {
        let body = document.to_string();
        read_all(body.as_bytes());
        read_all(&body.as_bytes()[..cut.min(body.len())]);
    }

    #[test]
    fn every_text_is_sent_as_it_was_written(texts in prop::collection::vec(any::<String>(), 0..5)) {
        let messages: Vec<_> = texts.iter().map(|text| serde_json::json!({ "text": text })).collect();
        let body = serde_json::json!({ "messages": messages }).to_string();
        let claimed: Claimed = parse(body.as_bytes()).unwrap();
        let read: Vec<String> = sent(claimed.messages).into_iter().map(|(_, _, text)| text).collect();
        prop_assert_eq!(read, texts);
    }
}
