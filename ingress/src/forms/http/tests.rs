use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// The form of an endpoint with these keys.
fn form(keys: &str) -> Box<dyn Form> {
    let text = format!(
        "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n{keys}"
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    crate::forms::build(&config.endpoints[0], &config)
}

fn get(query: &str) -> Request {
    Request {
        method: Method::GET,
        query: query.to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        peer: [127, 0, 0, 1].into(),
    }
}

fn post(content_type: &str, body: &str) -> Request {
    let mut request = get("identity=query&text=query");
    request.method = Method::POST;
    request.headers.insert("content-type", HeaderValue::from_str(content_type).unwrap());
    request.body = Bytes::copy_from_slice(body.as_bytes());
    request
}

const FORM: &str = "application/x-www-form-urlencoded";

fn lines(refused: Result<Reading, Refusal>) -> Vec<String> {
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.status(), 400);
    refusal.body().lines().map(str::to_owned).collect()
}

#[test]
fn a_get_reads_the_query_and_a_post_its_body_only() {
    let form = form("");
    let reading = form.read(&get("identity=1112223333&text=echo+hello&other=x")).unwrap();
    assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("1112223333", "echo hello"));
    assert!(reading.fields.is_empty());
    let reading = form.read(&post(FORM, "identity=%2B1&text=ping")).unwrap();
    assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("+1", "ping"));
    assert_eq!(
        lines(form.read(&post(FORM, ""))),
        ["form failed to validate", "identity: this field is required", "text: this field is required"]
    );
}

#[test]
fn json_and_bodies_without_a_type_are_refused() {
    let form = form("");
    for content_type in ["application/json", "", "text/html"] {
        let told = lines(form.read(&post(content_type, r#"{"identity":"1","text":"x"}"#)));
        assert!(told[1].starts_with("Content-Type: application/x-www-form-urlencoded"), "{told:?}");
    }
}

#[test]
fn renamed_and_declared_fields_are_passed_along() {
    let form = form(
        "params = { identity = 'phone', text = 'message', extra = 'x' }\n\
         [endpoints.fields]\nextra = { required = true, max_length = 3 }\nplace = {}\n",
    );
    let reading = form.read(&get("phone=1&message=ping&x=abc&place=+")).unwrap();
    assert_eq!(reading.fields, BTreeMap::from([("extra".to_owned(), "abc".to_owned())]));
    assert_eq!(
        lines(form.read(&get("identity=1&message=ping&x=abcd"))),
        [
            "form failed to validate",
            "phone: this field is required",
            "x: ensure this value has at most 3 characters (it has 4)"
        ]
    );
}

#[test]
fn only_one_sender_may_be_let_through() {
    let told = "SMS received from number other than 1231231234";
    let form =
        form(&format!("[endpoints.fields]\nidentity = {{ one_of = ['1231231234'], message = '{told}' }}\n"));
    assert!(form.read(&get("identity=1231231234&text=hi")).is_ok());
    let refusal = form.read(&get("identity=999&text=hi")).unwrap_err();
    assert_eq!(refusal.body(), format!("form failed to validate\nidentity: {told}\n"));
    // The log has no numbers, not even those of the configuration.
    assert_eq!(refusal.detail(), "identity: select one of the allowed values");
}

#[test]
fn a_blank_text_is_a_message_where_the_endpoint_says_so() {
    assert!(form("").read(&get("identity=1&text=+")).is_err());
    let lenient = form("allow_blank = true\n");
    assert_eq!(lenient.read(&get("identity=1&text=+")).unwrap().text, "");
    assert_eq!(lenient.read(&get("identity=1")).unwrap().text, "");
    assert!(lenient.read(&get("text=x")).is_err());
}

#[test]
fn the_endpoints_charset_is_that_of_requests_without_one() {
    assert_eq!(
        form("charset = 'iso-8859-1'\n").read(&get("identity=1&text=caf%E9")).unwrap().text,
        "caf\u{e9}"
    );
    assert_eq!(lines(form("").read(&get("identity=1&text=caf%E9")))[1], "text: not valid utf-8");
}

#[test]
fn a_token_in_a_parameter_is_checked_before_the_fields() {
    let form = form("auth = { token = { parameter = 'key', value = 't' } }\n");
    assert!(form.read(&get("identity=1&text=x&key=t")).is_ok());
    assert!(matches!(form.read(&get("key=wrong")), Err(Refusal::Credentials { basic: false })));
}

#[test]
fn the_answer_and_the_methods_are_configurable() {
    let form =
        form("methods = ['POST']\nanswer = { status = 202, body = 'ACK/Jasmin', content_type = 'text/x' }\n");
    assert_eq!(form.methods(), [Method::POST]);
    let expected = Answer { status: 202, content_type: "text/x".to_owned(), body: "ACK/Jasmin".to_owned() };
    assert_eq!(form.answer(), &expected);
}

proptest! {
    #[test]
    fn no_request_panics(query in any::<String>(), kind in "(application/x-www-form-urlencoded|multipart/form-data)?(; ?[a-z]{0,8}=[a-zA-Z0-9-]{0,9})?", body in any::<String>()) {
        let form = form("[endpoints.fields]\nn = { integer = true }\n");
        drop(form.read(&get(&query)));
        drop(form.read(&post(&kind, &body)));
    }
}
