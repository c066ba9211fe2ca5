use axum::http::HeaderValue;
use proptest::prelude::*;
use shared::{config::Config, envelope};

use super::*;
use crate::api::{callers::tests::caller, error::Problem};

const SUBMISSION: &str = include_str!("../../../fixtures/api/submission.json");
const SUBMIT_V1: &str = include_str!("../../../fixtures/api/submit.v1.json");

/// 2026-09-21, 14:13:20 UTC.
const NOW: UnixMillis = UnixMillis(1_790_000_000_123);

fn limits() -> Limits {
    let text = "[queue]\nurl = 'embedded:x'\n[ingress]\nmax_identity_length = 20\nmax_text_length = 30\n";
    Limits::of(&Config::parse("test", text, &BTreeMap::new()).unwrap().ingress)
}

/// What is read for `name`, a token of the backend `kannel`, or for nobody in particular.
fn read(name: &str, body: &[u8], key: Option<&str>) -> Result<Checked, ApiError> {
    let key = key.map(|key| HeaderValue::from_bytes(key.as_bytes()).unwrap());
    Checked::read(body, key.as_ref(), &caller(name), limits(), NOW)
}

fn wrong(body: &str, key: Option<&str>) -> Vec<(String, String)> {
    let Err(ApiError::Invalid(problems)) = read("", body.as_bytes(), key) else { panic!("{body}") };
    problems.into_iter().map(|Problem { field, problem }| (field, problem)).collect()
}

/// A submission with `more` keys.
fn with(more: &str) -> String {
    format!(r#"{{"backend":"kannel","to":["1"],"text":"x"{more}}}"#)
}

#[track_caller]
fn one_problem(body: &str, field: &str, problem: &str) {
    assert_eq!(wrong(body, None), [(field.to_owned(), problem.to_owned())]);
}

#[test]
fn golden_submission_becomes_the_golden_message() {
    let checked = read("survey", SUBMISSION.as_bytes(), Some("\"reminder-2031\"")).unwrap();
    assert_eq!(checked.expires_at, Some(UnixMillis(1_790_006_400_000)));
    let (id, messages) = checked.messages(&caller("survey"), NOW);
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!(envelope::encode(message), SUBMIT_V1.trim().as_bytes());
    assert_eq!(id, MessageId::submitted("survey", "reminder-2031"));
}

/// The ids of the messages that `body` becomes, each with its recipients, after the id of them all.
fn messages(name: &str, body: &str) -> (MessageId, Vec<(MessageId, Vec<Identity>)>) {
    let (id, messages) = read(name, body.as_bytes(), None).unwrap().messages(&caller(name), NOW);
    (id, messages.into_iter().map(|message| (message.id, message.identities)).collect())
}

fn to(numbers: impl Iterator<Item = u16>) -> String {
    let to: Vec<String> = numbers.map(|number| format!("{number:03}")).collect();
    serde_json::json!({ "backend": "kannel", "to": to, "text": "x", "id": "a" }).to_string()
}

#[test]
fn recipients_are_cut_into_batches_and_a_repeat_in_any_order_makes_the_same() {
    let (id, batches) = messages("survey", &to((0..450).map(|number| number % 401)));
    assert_eq!(batches.iter().map(|(_, identities)| identities.len()).collect::<Vec<_>>(), [200, 200, 1]);
    assert_eq!(batches[1].1[0].as_str(), "200");
    assert_eq!((id, batches), messages("survey", &to((0..401).rev())));
    assert_ne!(id, messages("", &to(0..401)).0);
}

#[test]
fn what_says_something_else_or_goes_to_others_is_another_message_under_the_same_id() {
    let (id, first) = messages("", &with(r#","id":"a""#));
    for other in [
        with(r#","id":"a""#).replace(r#"["1"]"#, r#"["1","2"]"#),
        with(r#","id":"a""#).replace(r#"["1"]"#, r#"["2"]"#),
        with(r#","id":"a""#).replace(r#":"x""#, r#":"y""#),
        with(r#","id":"a""#).replace("kannel", "twilio"),
        with(r#","id":"a","fields":{"sender":"CLINIC"}"#),
    ] {
        let (same, second) = messages("", &other);
        assert_eq!(same, id, "{other}");
        assert_ne!(second[0].0, first[0].0, "{other}");
    }
    assert_eq!(messages("", &with(r#","id":"a","expires_in":60,"fields":{}"#)), (id, first));
}

#[test]
fn without_an_id_every_request_is_another_message() {
    let id = || read("", with("").as_bytes(), None).unwrap().messages(&caller(""), NOW).0;
    assert_ne!(id(), id());
}

#[test]
fn the_id_may_stand_in_the_body_or_in_the_header() {
    let id =
        |body: &str, key| read("survey", body.as_bytes(), key).unwrap().messages(&caller("survey"), NOW).0;
    let expected = MessageId::submitted("survey", "a");
    for (more, key) in
        [(r#","id":"a""#, None), ("", Some("a")), ("", Some("\"a\"")), (r#","id":"a""#, Some("a"))]
    {
        assert_eq!(id(&with(more), key), expected, "{more} {key:?}");
    }
    let told = wrong(&with(r#","id":"a""#), Some("b"));
    assert_eq!(
        told,
        [(
            "id".to_owned(),
            "the header Idempotency-Key has another id; only one of them is wanted".to_owned()
        )]
    );
    assert_eq!(wrong(&with(""), Some("é"))[0].1, "printable ASCII is wanted");
    assert_eq!(wrong(&with(""), Some(" "))[0].0, "Idempotency-Key");
    one_problem(&with(r#","id":" ""#), "id", "this field is required");
    one_problem(
        &with(&format!(r#","id":"{}""#, "x".repeat(201))),
        "id",
        "ensure this value has at most 200 characters (it has 201)",
    );
}

#[test]
fn all_that_is_of_the_wrong_kind_and_all_unknown_keys_are_told_at_once() {
    let body = format!(
        r#"{{"to":"12","text":null,"id":7,"expires_in":-1,"fields":{{"a":1}},"txt":"x","{}":1}}"#,
        "y".repeat(100)
    );
    let known = "this field is not known; known are backend, to, text, id, expires_in, expires_at, fields";
    let problems = wrong(&body, None);
    let told: Vec<(&str, &str)> =
        problems.iter().map(|(field, problem)| (field.as_str(), problem.as_str())).collect();
    assert_eq!(
        told,
        [
            ("backend", "this field is required"),
            ("to", "a list of strings, such as [\"+1112223333\"], is wanted"),
            ("text", "this field is required"),
            ("id", "a string is wanted"),
            ("expires_in", "a whole number of seconds from 1 to 4294967295 is wanted"),
            ("fields", "an object of strings is wanted"),
            ("txt", known),
            (&*"y".repeat(64), known),
        ]
    );
}

#[test]
fn what_is_no_json_object_is_told_with_its_place() {
    for (body, place) in [
        (&b"{\"backend\": \"x\",\n oops"[..], (2, 2)),
        (b"", (1, 0)),
        (b"[\"kannel\",[\"1\"],\"x\",null,null,null,null]", (1, 0)),
        (b"{\"text\": \"\xff\"}", (1, 11)),
    ] {
        let Err(ApiError::Malformed { line, column }) = read("", body, None) else { panic!("{body:?}") };
        assert_eq!((line, column), place, "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_limits_are_those_of_the_endpoints() {
    let long = with("").replace(r#""1""#, &format!(r#""1","{}"," ","a\u0000""#, "2".repeat(21)));
    let told = wrong(&long.replace(r#":"x""#, &format!(r#":"{}""#, "é".repeat(31))), None);
    assert_eq!(
        told.iter().map(|(field, problem)| format!("{field}: {problem}")).collect::<Vec<_>>(),
        [
            "to[1]: ensure this value has at most 20 characters (it has 21)",
            "to[2]: this field is required",
            "to[3]: null characters are not allowed",
            "text: ensure this value has at most 30 characters (it has 31)",
        ]
    );
    one_problem(&with("").replace(r#""x""#, r#"" \n""#), "text", "this field is required");
    for (to, count) in [("[]".to_owned(), 0), (format!("[{}\"1\"]", "\"1\",".repeat(10_000)), 10_001)] {
        let problem = format!("1 to 10000 recipients are wanted (these are {count})");
        one_problem(&with("").replace(r#"["1"]"#, &to), "to", &problem);
    }
    let fields = |name: &str, value: &str| with(&format!(r#","fields":{{"{name}":"{value}"}}"#));
    assert!(read("", fields("sender", &"x".repeat(24)).as_bytes(), None).is_ok());
    one_problem(
        &fields("sender", &"x".repeat(25)),
        "fields",
        "ensure all names and values have at most 30 characters (they have 31)",
    );
    for wrong in [fields("", "x"), fields("a", "\\u0000")] {
        one_problem(&wrong, "fields", "names that are not empty are wanted, and no null characters");
    }
}

#[test]
fn a_time_is_given_once_and_is_yet_to_come() {
    let expires_at = |more: &str| read("", with(more).as_bytes(), None).unwrap().expires_at;
    assert_eq!(expires_at(""), None);
    assert_eq!(expires_at(r#","expires_in":60"#), Some(UnixMillis(NOW.0 + 60_000)));
    assert_eq!(expires_at(r#","expires_at":"2026-09-21T14:13:20.124Z""#), Some(UnixMillis(NOW.0 + 1)));
    let passed = "this time has passed already";
    for time in ["2026-09-21T14:13:20.123Z", "2026-09-21T15:13:20+01:00", "1969-12-31T00:00:00Z"] {
        one_problem(&with(&format!(r#","expires_at":"{time}""#)), "expires_at", passed);
    }
    for no_time in ["tomorrow", "", "2026-09-21", "1790000000", "2026-09-21T18:00:00"] {
        let told = "a time is wanted, such as 2031-01-31T18:00:00+02:00";
        one_problem(&with(&format!(r#","expires_at":"{no_time}""#)), "expires_at", told);
    }
    let told = "a whole number of seconds from 1 to 4294967295 is wanted";
    one_problem(&with(r#","expires_in":0"#), "expires_in", told);
    let told = "only one of expires_in and expires_at is wanted";
    one_problem(&with(r#","expires_in":60,"expires_at":"2031-01-31T18:00:00Z""#), "expires_at", told);
}

#[test]
fn a_backend_that_is_not_the_callers_is_refused() {
    let other = with("").replace("kannel", "other");
    one_problem(&other, "backend", "there is no such backend; there are kannel, twilio");
    for name in ["twilio", "other", "", "\\u0000"] {
        let body = with("").replace("kannel", name);
        let Err(ApiError::Backend(own)) = read("survey", body.as_bytes(), None) else { panic!("{name}") };
        assert_eq!(own, ["kannel".parse().unwrap()]);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(read("", &body, None).is_err());
    }

    #[test]
    fn no_values_panic_and_what_is_read_is_what_was_written(
        to in proptest::collection::vec(".{0,22}", 0..5),
        text in ".{0,32}",
        id in proptest::option::of(any::<String>()),
        time in proptest::option::of(any::<String>()),
        fields in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
    ) {
        let body = serde_json::json!({
            "backend": "kannel", "to": to, "text": text, "id": id, "expires_at": time, "fields": fields,
        });
        match read("", body.to_string().as_bytes(), None) {
            Ok(checked) => {
                prop_assert_eq!(&checked.text, &text);
                prop_assert!(checked.identities.iter().all(|one| to.iter().any(|it| it.trim() == one.as_str())));
            }
            Err(error) => prop_assert!(matches!(error, ApiError::Invalid(_))),
        }
    }
}
