//! Golden requests, and what no value may do to them.

use proptest::prelude::*;
use reqwest::Body;
use shared::config::Engine;

use super::{
    super::super::{part::tests::message, request::tests::backend},
    *,
};

fn blueprint(keys: &str) -> Blueprint {
    let Engine::Http(http) = backend(&format!("engine = 'http'\n{keys}")).engine else { panic!() };
    Blueprint::new(&"b".parse().unwrap(), &http)
}

fn request(blueprint: &Blueprint, identity: &str, text: &str) -> Result<Request, SendError> {
    blueprint.request(&Part::for_each_identity(&message(&[identity], text))[0])
}

fn wire(keys: &str, identity: &str, text: &str) -> String {
    super::super::super::request::tests::wire(&request(&blueprint(keys), identity, text).unwrap())
}

const KEY: &str = "idempotency-key: db6bf123-49ca-53a3-9c8e-62d61642f311";

#[test]
fn a_query_is_appended_to_the_url() {
    let keys =
        "url = 'http://h/send?fixed=1'\nquery = { to = '{identity}', text = '{text}', from = '123' }\n";
    let expected =
        format!("GET http://h/send?fixed=1&to=%2B1&text=h%C3%A9llo+%26+%E2%98%BA&from=123\n{KEY}\n\n");
    assert_eq!(wire(keys, "+1", "héllo & ☺"), expected);
}

#[test]
fn a_form_is_the_body_in_the_order_it_was_written() {
    let keys = "url = 'http://h/send'\nform = { to = '{identity}', msg = '{text} ({backend})', a = 'x' }\n\
                headers = { Authorization = 'Bearer t', X-Id = '{id}' }\n";
    let expected = format!(
        "POST http://h/send\nauthorization: Bearer t\ncontent-type: application/x-www-form-urlencoded\n{KEY}\n\
         x-id: db6bf123-49ca-53a3-9c8e-62d61642f311\n\nto=%2B1&msg=a%3Db+%28b%29&a=x"
    );
    assert_eq!(wire(keys, "+1", "a=b"), expected);
}

#[test]
fn json_keeps_its_kinds_and_its_strings_are_templates() {
    let keys = "url = 'http://h/send'\nmethod = 'PUT'\nbasic = { user = 'u', password = 'p' }\n\
                json = { to = ['{identity}'], text = '{text}', flash = false, n = 3, x = { y = '{{}}' } }\n";
    let expected = format!(
        "PUT http://h/send\nauthorization: Basic dTpw\ncontent-type: application/json\n{KEY}\n\n{}",
        r#"{"flash":false,"n":3,"text":"say \"hi\"\n","to":["+1"],"x":{"y":"{}"}}"#
    );
    assert_eq!(wire(keys, "+1", "say \"hi\"\n"), expected);
}

#[test]
fn values_in_the_url_stay_in_their_place() {
    let keys = "url = 'https://h/to/{identity}/send?t={text}'\n";
    let expected = format!("GET https://h/to/..%2F%3Fa%3D1%23/send?t=x%26y%3Dz%20%25\n{KEY}\n\n");
    assert_eq!(wire(keys, "../?a=1#", "x&y=z %"), expected);
}

#[test]
fn a_configured_idempotency_key_is_left_alone_and_bad_header_values_are_refused() {
    let keys = "url = 'http://h/'\nheaders = { Idempotency-Key = 'mine-{id}' }\n";
    assert!(wire(keys, "1", "x").contains("idempotency-key: mine-db6b"));
    let keys = "url = 'http://h/'\nheaders = { X-Text = '{text}' }\n";
    let error = request(&blueprint(keys), "1", "a\r\nX-Evil: 1").unwrap_err();
    assert_eq!(error.to_string(), "rejected: the header X-Text cannot be made with this message's values");
}

#[test]
fn a_value_that_would_climb_in_the_path_is_refused() {
    for url in ["http://h/to/{identity}/send", "http://h/to/{identity}", "http://h/to/.{identity}?x={text}"] {
        let error = request(&blueprint(&format!("url = '{url}'\n")), ".", "..").unwrap_err();
        let told = "rejected: the path of the URL cannot be made with this message's values";
        assert_eq!(error.to_string(), told, "{url}");
    }
    let harmless = "url = 'http://h/to/+{identity}?x={text}'\n";
    assert!(wire(harmless, "..", "..").starts_with("GET http://h/to/+..?x=.."));
}

proptest! {
    #[test]
    fn no_identity_changes_the_path(identity in r"(\.|/|\\|%2[eE]|[?#@:\t\n ]|\PC){0,4}", url in "http://h/a/[.+]?\\{identity\\}(/b)?(\\?c=\\{text\\})?") {
        let blueprint = blueprint(&format!("url = '{url}'\n"));
        let segments = |identity: &str| {
            let request = request(&blueprint, identity, "x").ok()?;
            assert_eq!(request.url().host_str(), Some("h"));
            Some(request.url().path().split('/').map(str::is_empty).collect::<Vec<_>>())
        };
        prop_assume!(!identity.is_empty());
        prop_assert!(segments(&identity).is_none_or(|found| Some(found) == segments("x")));
    }

    #[test]
    fn any_value_arrives_as_it_was(identity in any::<String>(), text in any::<String>()) {
        let blueprint = blueprint("url = 'http://h/a/{identity}/b'\nform = { to = '{identity}', msg = '{text}' }\n");
        prop_assume!(!matches!(identity.as_str(), "." | ".."));
        let request = request(&blueprint, &identity, &text).unwrap();
        prop_assert_eq!(request.url().host_str(), Some("h"));
        let body = request.body().and_then(Body::as_bytes).unwrap();
        let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        prop_assert_eq!(pairs, [("to".to_owned(), identity), ("msg".to_owned(), text)]);
    }
}
