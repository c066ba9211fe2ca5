use axum::http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::forms::testing::{URLENCODED, fields, form, get, lines, post, read};

#[test]
fn a_get_reads_the_query_and_a_post_its_body_only() {
    let form = form("");
    let reading = read(&*form, &get("identity=1112223333&text=echo+hello&other=x")).unwrap();
    assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("1112223333", "echo hello"));
    assert!(reading.fields.is_empty());
    let reading = read(&*form, &post(URLENCODED, "identity=%2B1&text=ping")).unwrap();
    assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("+1", "ping"));
    assert_eq!(
        lines(read(&*form, &post(URLENCODED, ""))),
        ["form failed to validate", "identity: this field is required", "text: this field is required"]
    );
}

#[test]
fn json_and_bodies_without_a_type_are_refused() {
    let form = form("");
    for content_type in ["application/json", "", "text/html"] {
        let told = lines(read(&*form, &post(content_type, r#"{"identity":"1","text":"x"}"#)));
        assert!(told[1].starts_with("Content-Type: application/x-www-form-urlencoded"), "{told:?}");
    }
}

#[test]
fn renamed_and_declared_fields_are_passed_along() {
    let form = form(
        "params = { identity = 'phone', text = 'message', extra = 'x' }\n\
         [endpoints.fields]\nextra = { required = true, max_length = 3 }\nplace = {}\n",
    );
    let reading = read(&*form, &get("phone=1&message=ping&x=abc&place=+")).unwrap();
    assert_eq!(reading.fields, fields(&[("extra", "abc")]));
    assert_eq!(
        lines(read(&*form, &get("identity=1&message=ping&x=abcd"))),
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
    assert!(read(&*form, &get("identity=1231231234&text=hi")).is_ok());
    let refusal = read(&*form, &get("identity=999&text=hi")).unwrap_err();
    assert_eq!(refusal.body(), format!("form failed to validate\nidentity: {told}\n"));
    // The log has no numbers, not even those of the configuration.
    assert_eq!(refusal.detail(), "identity: select one of the allowed values");
}

#[test]
fn a_blank_text_is_a_message_where_the_endpoint_says_so() {
    assert!(read(&*form(""), &get("identity=1&text=+")).is_err());
    let lenient = form("allow_blank = true\n");
    assert_eq!(read(&*lenient, &get("identity=1&text=+")).unwrap().text, "");
    assert_eq!(read(&*lenient, &get("identity=1")).unwrap().text, "");
    assert!(read(&*lenient, &get("text=x")).is_err());
}

#[test]
fn the_endpoints_charset_is_that_of_requests_without_one() {
    assert_eq!(
        read(&*form("charset = 'iso-8859-1'\n"), &get("identity=1&text=caf%E9")).unwrap().text,
        "caf\u{e9}"
    );
    assert_eq!(lines(read(&*form(""), &get("identity=1&text=caf%E9")))[1], "text: not valid utf-8");
}

#[test]
fn json_is_utf_8_whatever_the_endpoints_charset_is() {
    let form = form("charset = 'iso-8859-1'\nparams = { identity = '/f', text = '/t' }\n");
    let text = |kind: &str, body: &[u8]| read(&*form, &post(kind, body)).unwrap().text;
    assert_eq!(text("application/json", "{\"f\":1,\"t\":\"\u{e9}\"}".as_bytes()), "\u{e9}");
    assert_eq!(text("application/json; charset=latin1", b"{\"f\":1,\"t\":\"\xe9\"}"), "\u{e9}");
}

const POINTERS: &str = "params = { identity = '/message/from', text = '/message/body', external_id = '/id' }\n\
                        [endpoints.fields]\n'/place' = {}\n'/tags/1' = {}\n";

#[test]
fn json_is_read_by_pointer_and_what_is_no_text_is_missing() {
    let form = form(POINTERS);
    let body = r#"{"id":12345678901234567890123,"message":{"from":"+1 23","body":" h\u00e9llo \ud83d\ude00 "},
                   "/place":"x","tags":["a",true]}"#;
    for kind in ["application/json", "Application/JSON; charset=utf-8", "application/vnd.sms.v1+json"] {
        let reading = read(&*form, &post(kind, body)).unwrap();
        assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("+1 23", "h\u{e9}llo \u{1f600}"));
        assert_eq!(
            reading.fields,
            fields(&[("external_id", "12345678901234567890123"), ("/tags/1", "true")])
        );
    }
    for nothing in [r#"{"from":["1"],"body":null}"#, r#"{"from":{},"body":[]}"#, "[]", "null", r#""from""#] {
        let told = lines(read(&*form, &post("application/json", format!(r#"{{"message":{nothing}}}"#))));
        assert_eq!(
            told[1..],
            ["/message/from: this field is required", "/message/body: this field is required"],
            "{nothing}"
        );
    }
}

#[test]
fn what_is_no_json_is_refused_with_its_place() {
    let form = form(POINTERS);
    for (body, told) in [
        ("", "body: not valid JSON at line 1 column 0"),
        ("{\"message\":\n,}", "body: not valid JSON at line 2 column 1"),
        ("{} x", "body: not valid JSON at line 1 column 4"),
    ] {
        assert_eq!(lines(read(&*form, &post("application/json", body)))[1], told);
    }
    let half = r#"{"message":{"from":"1","body":"\ud83d"}}"#;
    assert_eq!(lines(read(&*form, &post("application/json", half)))[1], "/message/body: not a valid string");
    assert_eq!(lines(read(&*form, &post("application/json", b"{\"\xff\":1}")))[1], "body: not valid utf-8");
}

#[test]
fn a_pointer_finds_nothing_in_a_form_and_a_name_nothing_in_json() {
    let json = form("params = { identity = '/identity', text = '/text' }\n");
    let told = lines(read(&*json, &post(URLENCODED, "identity=1&text=x")));
    assert_eq!(told[1..], ["/identity: this field is required", "/text: this field is required"]);
    let told = lines(read(&*json, &post("text/plain", "{}")));
    assert!(told[1].starts_with("Content-Type: application/json, application/x-www-form"), "{told:?}");
}

#[test]
fn a_second_message_in_one_request_is_refused_not_lost() {
    for (identity, text, one, two, array) in [
        (
            "/r/0/f",
            "/r/0/t",
            r#"{"r":[{"f":1,"t":"a"}]}"#,
            r#"{"r":[{"f":1,"t":"a"},{"f":2,"t":"b"}]}"#,
            "/r",
        ),
        (
            "/r/0/m/0/f",
            "/r/0/m/0/t",
            r#"{"r":[{"m":[{"f":1,"t":"a"}]}]}"#,
            r#"{"r":[{"m":[{"f":1,"t":"a"}]},{"m":[{"f":2,"t":"b"}]}]}"#,
            "/r",
        ),
        ("/f", "/sms/0/t", r#"{"f":1,"sms":[{"t":"a"}]}"#, r#"{"f":1,"sms":[{"t":"a"},{"t":"b"}]}"#, "/sms"),
        ("/0/f", "/0/t", r#"[{"f":1,"t":"a"}]"#, r#"[{"f":1,"t":"a"},{"status":0},{"f":2,"t":"b"}]"#, "body"),
        ("/1/f", "/1/t", r#"{"1":{"f":1,"t":"a"},"2":0}"#, r#"[{"f":2},{"f":1,"t":"a"}]"#, "body"),
        ("/r/0/f", "/r/0/t", r#"{"r":[{"f":1,"t":"a"}]}"#, r#"{"r":[{"f":1,"t":"a"},{"f":{"n":2}}]}"#, "/r"),
        ("/0", "/1", r#"[1,"a"]"#, r#"[1,"a",2,"b"]"#, "body"),
        ("/d/1", "/t", r#"{"d":{"1":"1","2":"2"},"t":"a"}"#, r#"{"d":["2","1"],"t":"a"}"#, "/d"),
    ] {
        let form = form(&format!("params = {{ identity = '{identity}', text = '{text}' }}\n"));
        let reading = read(&*form, &post("application/json", one)).unwrap();
        assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("1", "a"), "{one}");
        let told = lines(read(&*form, &post("application/json", two)));
        assert_eq!(
            told[1..],
            [format!("{array}: more than one message: one request is wanted for each")],
            "{two}"
        );
    }
}

#[test]
fn the_providers_own_id_is_read_where_it_is_declared() {
    assert_eq!(read(&*form(""), &get("identity=1&text=x&external_id=7")).unwrap().external_id(), None);
    let renamed = form("params = { external_id = 'msgid' }\n");
    assert_eq!(read(&*renamed, &get("identity=1&text=x&msgid=+7")).unwrap().external_id(), Some("7"));
    assert_eq!(read(&*renamed, &get("identity=1&text=x&msgid=")).unwrap().external_id(), None);
    let ruled = form("[endpoints.fields]\nexternal_id = { required = true }\n");
    assert!(read(&*ruled, &get("identity=1&text=x")).is_err());
}

#[test]
fn the_answer_and_the_methods_are_configurable() {
    let form =
        form("methods = ['POST']\nanswer = { status = 202, body = 'ACK/Jasmin', content_type = 'text/x' }\n");
    assert_eq!(form.methods(), [Method::POST]);
    let expected = Answer {
        status: StatusCode::ACCEPTED,
        content_type: HeaderValue::from_static("text/x"),
        body: "ACK/Jasmin".into(),
    };
    assert_eq!(form.answer(), &expected);
}

proptest! {
    #[test]
    fn no_request_panics(
        query in "[a-z0-9%&=+;/?]{0,40}",
        kind in "(application/(json|x-www-form-urlencoded)|multipart/form-data)?(; ?[a-z]{0,8}=[a-zA-Z0-9-]{0,9})?",
        body in any::<Vec<u8>>(),
    ) {
        for keys in ["[endpoints.fields]\nn = { integer = true }\n", POINTERS] {
            let form = form(keys);
            drop(read(&*form, &get(&query)));
            drop(read(&*form, &post(&kind, &body)));
        }
    }

    #[test]
    fn no_json_panics(
        body in "([\\[\\]{}:,]|\"(message|from|body|\\\\u[0-9a-f]{4})\"|-?[0-9e.]{1,4}|null|true| ){0,30}",
    ) {
        drop(read(&*form(POINTERS), &post("application/json", &body)));
    }
}
