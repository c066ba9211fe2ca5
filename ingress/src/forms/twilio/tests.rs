use axum::http::{HeaderValue, StatusCode};
use proptest::prelude::*;

use super::*;
use crate::forms::testing::{URLENCODED, fields, form, lines, post, read};

const TWILIO: &str = "form = 'twilio'\n";

#[test]
fn a_message_is_read_with_its_ids_and_its_media() {
    let body = "ToCountry=US&SmsMessageSid=SM2&NumMedia=1&FromZip=&SmsSid=SM3&Body=h%C3%A9llo+%F0%9F%98%80\
                &To=%2B15005550006&MessageSid=SM1&AccountSid=AC1&From=%2B15005550001&ApiVersion=2010-04-01\
                &MediaUrl0=https%3A%2F%2Fapi.twilio.com%2Fm%2F0&MediaContentType0=image%2Fjpeg";
    let reading = read(&*form(TWILIO), &post(URLENCODED, body)).unwrap();
    assert_eq!((reading.identity.as_str(), reading.text.as_str()), ("+15005550001", "h\u{e9}llo \u{1f600}"));
    let expected = [
        ("AccountSid", "AC1"),
        ("MediaContentType0", "image/jpeg"),
        ("MediaUrl0", "https://api.twilio.com/m/0"),
        ("NumMedia", "1"),
        ("SmsMessageSid", "SM2"),
        ("SmsSid", "SM3"),
        ("To", "+15005550006"),
        ("external_id", "SM1"),
    ];
    assert_eq!(reading.fields, fields(&expected));
}

#[test]
fn the_older_names_of_the_id_are_taken_when_the_newer_is_missing() {
    let id = |body: &str| {
        let reading = read(&*form(TWILIO), &post(URLENCODED, format!("From=1&Body=x&{body}"))).unwrap();
        reading.external_id().map(str::to_owned)
    };
    assert_eq!(id("MessageSid=SM1&SmsSid=SM2").as_deref(), Some("SM1"));
    assert_eq!(id("MessageSid=&SmsSid=SM2&SmsMessageSid=SM3").as_deref(), Some("SM2"));
    assert_eq!(id("SmsMessageSid=SM3").as_deref(), Some("SM3"));
    assert_eq!(id(""), None);
}

#[test]
fn a_text_may_be_blank_only_beside_media() {
    let read = |body: &str| read(&*form(TWILIO), &post(URLENCODED, body));
    assert_eq!(read("From=1&Body=&NumMedia=2").unwrap().text, "");
    for body in [
        "From=1&Body=&NumMedia=0",
        "From=1&Body=",
        "From=1&NumMedia=x",
        "From=1&NumMedia=-1",
        "From=1&NumMedia=%FF",
    ] {
        let told = lines(read(body));
        assert!(told.contains(&"Body: this field is required".to_owned()), "{body}: {told:?}");
    }
}

#[test]
fn rules_and_other_names_hold_as_in_every_form() {
    let keys = "form = 'twilio'\nparams = { identity = 'WaId', NumMedia = 'Files' }\n[endpoints.fields]\n\
                To = { one_of = ['+1'] }\nProfileName = { max_length = 3 }\n";
    let read = |body: &str| read(&*form(keys), &post(URLENCODED, body));
    let reading = read("WaId=9&From=whatsapp&To=%2B1&ProfileName=Ann&Files=1").unwrap();
    assert_eq!((reading.identity.as_str(), reading.fields["ProfileName"].as_str()), ("9", "Ann"));
    let told = lines(read("WaId=9&Body=x&To=%2B2&ProfileName=Anna"));
    assert!(
        told[1].starts_with("To: select one of") && told[2].starts_with("ProfileName: ensure"),
        "{told:?}"
    );
}

#[test]
fn the_answer_is_a_document_without_instructions_and_only_posts_are_taken() {
    let form = form(TWILIO);
    assert_eq!(form.methods(), [Method::POST]);
    let expected = Answer {
        status: StatusCode::OK,
        content_type: HeaderValue::from_static("text/xml"),
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>".into(),
    };
    assert_eq!(form.answer(), &expected);
}

proptest! {
    #[test]
    fn no_body_panics(body in any::<Vec<u8>>(), media in any::<Vec<u8>>()) {
        let form = form(TWILIO);
        drop(read(&*form, &post(URLENCODED, &body)));
        drop(read(&*form, &post(URLENCODED, [b"From=1&NumMedia=", &media[..]].concat())));
    }
}
