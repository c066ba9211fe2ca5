//! Reports as each provider sends them, and as none should.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::testing, *};

const REFERENCE: &str = "00000000-0000-0000-0000-000000000007.1.0";

/// The form of the reports of a backend with this engine, and these tables after it.
fn form(backend: &str, tables: &str) -> ReportForm {
    let text = format!("[queue]\nurl = 'embedded:x'\n[backends.b]\n{backend}\n{tables}");
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
    ReportForm::new(&config.reports["b"], &config)
}

fn kannel() -> ReportForm {
    form(
        "engine = 'kannel'\nsendsms_params = { username = 'u', password = 'p' }\ndelivery_report_url = 'http://g'",
        "",
    )
}

fn http() -> ReportForm {
    form(
        "engine = 'httptester'",
        "[[reports]]\nbackend = 'b'\neach = '/results'\nstates = { DELIVERED = 'delivered', PENDING = 'sent' }\n\
         [reports.params]\nreference = '/callbackData'\nexternal_id = '/messageId'\nstate = '/status/groupName'\n",
    )
}

fn read(form: &ReportForm, request: &Request) -> Result<Vec<Reported>, String> {
    let told = |problems: Vec<Problem>| {
        let told: Vec<_> =
            problems.iter().map(|problem| format!("{}: {}", problem.field, problem.rule)).collect();
        told.join("\n")
    };
    let params = form.params(request).map_err(|problem| told(vec![problem]))?;
    form.read(request, &params).map(|read| read.reports).map_err(told)
}

fn states(form: &ReportForm, request: &Request) -> Vec<State> {
    read(form, request).unwrap().iter().map(|reported| reported.state).collect()
}

#[test]
fn kannel_tells_a_state_by_number() {
    for (status, state) in [
        ("1", State::Delivered),
        ("2", State::Failed),
        ("4", State::Buffered),
        ("8", State::Sent),
        ("16", State::Failed),
    ] {
        let query = format!(
            "message_id={REFERENCE}&status={status}&status_text=ACK%2F&smsc=fake&sms_id=k1\
             &date_sent=2026-11-25+10%3A00&identity=%2B256700000001"
        );
        let reported = &read(&kannel(), &testing::get(&query)).unwrap()[0];
        assert_eq!((reported.reference.as_deref(), reported.state), (Some(REFERENCE), state));
        assert_eq!(reported.external_id, None, "Kannel has another one in each report");
        assert_eq!(reported.identity.as_ref().unwrap().as_str(), "+256700000001");
        assert_eq!(reported.detail.as_deref(), Some("ACK/"));
    }
}

#[test]
fn what_kannel_leaves_blank_is_no_reason_to_refuse() {
    // RapidSMS refused a blank status_text or smsc, and with it every report of some phone networks.
    let query = format!("message_id={REFERENCE}&status=1&status_text=&smsc=&sms_id=&date_sent=&identity=");
    let reported = &read(&kannel(), &testing::get(&query)).unwrap()[0];
    assert!(reported.external_id.is_none() && reported.identity.is_none() && reported.detail.is_none());
    // A text in another charset is none we can read, and not needed.
    let query = format!("message_id={REFERENCE}&status=1&status_text=%E9");
    assert!(read(&kannel(), &testing::get(&query)).unwrap()[0].detail.is_none());
}

#[test]
fn a_name_that_is_not_ours_is_kept() {
    let reported = &read(&kannel(), &testing::get("message_id=someone-elses&status=1")).unwrap()[0];
    assert_eq!(reported.reference.as_deref(), Some("someone-elses"));
}

#[test]
fn twilio_has_our_name_of_the_part_in_the_url() {
    let form = form(
        "engine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 's'\nfrom = '1'\nstatus_callback = 'https://g'",
        "",
    );
    let mut request = testing::post(
        testing::URLENCODED,
        "MessageSid=SM1&MessageStatus=undelivered&ErrorCode=30005&To=%2B15558675310",
    );
    request.uri = format!("/backends/b/report/?message_id={REFERENCE}").parse().unwrap();
    let reported = &read(&form, &request).unwrap()[0];
    assert_eq!(reported.reference.as_deref(), Some(REFERENCE));
    assert_eq!((reported.state, reported.detail.as_deref()), (State::Failed, Some("30005")));
    assert_eq!(reported.external_id.as_deref(), Some("SM1"));
}

#[test]
fn vumi_tells_a_report_or_an_event() {
    let form = form("engine = 'vumi'\nsendsms_url = 'http://v/'", "[[reports]]\nbackend = 'b'\n");
    let event = |rest: &str| {
        testing::post(
            "",
            format!(r#"{{"message_type":"event","user_message_id":"v1","event_id":"e",{rest}}}"#),
        )
    };
    for (rest, state) in [
        (r#""event_type":"ack","sent_message_id":"x""#, State::Sent),
        (r#""event_type":"nack","nack_reason":"no"#, State::Failed),
        (r#""event_type":"delivery_report","delivery_status":"pending""#, State::Buffered),
        (r#""event_type":"delivery_report","delivery_status":"delivered""#, State::Delivered),
        (r#""event_type":"delivery_report","delivery_status":"failed""#, State::Failed),
    ] {
        let rest = if rest.ends_with(r#""no"#) { format!("{rest}\"") } else { rest.to_owned() };
        assert_eq!(states(&form, &event(&rest)), [state], "{rest}");
    }
    assert_eq!(read(&form, &testing::post("", "[]")).unwrap_err(), "body: a JSON object is wanted");
}

#[test]
fn one_document_may_have_many_reports() {
    let json = |body: &str| testing::post("application/json", body);
    let one = |state: &str| {
        format!(r#"{{"messageId":"m","callbackData":"{REFERENCE}","status":{{"groupName":"{state}"}}}}"#)
    };
    let body = format!(r#"{{"results":[{},{}]}}"#, one("PENDING"), one("delivered"));
    assert_eq!(states(&http(), &json(&body)), [State::Sent, State::Delivered]);
    for (body, told) in [
        (r#"{"results":[]}"#.to_owned(), "/results: an array with at least one report is wanted"),
        (r#"{"results":{}}"#.to_owned(), "/results: an array with at least one report is wanted"),
        (
            format!(r#"{{"results":[{}]}}"#, one("ODD")),
            "/status/groupName: not among the states of this endpoint",
        ),
        (
            format!(r#"{{"results":[{}]}}"#, vec![one("PENDING"); MAX_REPORTS + 1].join(",")),
            "/results: more than 1000 reports",
        ),
        (
            r#"{"results":[{"status":{"groupName":"PENDING"}}]}"#.to_owned(),
            "/callbackData: this field is required",
        ),
    ] {
        assert_eq!(read(&http(), &json(&body)).unwrap_err(), told);
    }
}

#[test]
fn a_report_that_cannot_be_read_takes_no_other_along() {
    let one = |reference: &str, state: &str| {
        format!(r#"{{"callbackData":"{reference}","status":{{"groupName":"{state}"}}}}"#)
    };
    let long = "x".repeat(MAX_EXTERNAL_ID + 1);
    let body =
        format!(r#"{{"results":[{},{},{}]}}"#, one("a", "ODD"), one("b", "PENDING"), one(&long, "PENDING"));
    let request = testing::post("application/json", body);
    let Read { reports, unread } = http().read(&request, &http().params(&request).unwrap()).unwrap();
    assert_eq!(reports.iter().map(|reported| reported.reference.as_deref()).collect::<Vec<_>>(), [Some("b")]);
    let fields: Vec<&str> = unread.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["/status/groupName", "/callbackData"]);
}

#[test]
fn the_reports_of_the_recipes_are_read_by_their_pages() {
    for (page, backend, kind, body, state) in [
        (
            include_str!("../../../../docs/backends/africastalking.md"),
            "africastalking",
            testing::URLENCODED,
            "id=x1&status=Success&phoneNumber=%2B254711000111&networkCode=63902",
            State::Delivered,
        ),
        (
            include_str!("../../../../docs/backends/infobip.md"),
            "infobip",
            "application/json",
            r#"{"results":[{"messageId":"x1","to":"254711000111","status":{"groupName":"UNDELIVERABLE"},"error":{"name":"EC_ABSENT"}}]}"#,
            State::Failed,
        ),
        (
            include_str!("../../../../docs/backends/vonage.md"),
            "vonage",
            "application/json",
            r#"{"message_uuid":"x1","to":"254711000111","from":"VIA","status":"submitted","channel":"sms"}"#,
            State::Sent,
        ),
        (
            include_str!("../../../../docs/backends/smsgate.md"),
            "phone",
            "application/json",
            r#"{"event":"sms:delivered","id":"e","payload":{"messageId":"x1","recipient":"+254711000111"}}"#,
            State::Delivered,
        ),
    ] {
        let examples = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let table = examples.last().unwrap().replace(&format!("backend = \"{backend}\""), "backend = 'b'");
        let table = table.split("${").map(|text| text.replace("_TOKEN}", "")).collect::<String>();
        let reported = read(&form("engine = 'httptester'", &table), &testing::post(kind, body)).unwrap();
        let [Reported { state: told, external_id, identity, .. }] = &reported[..] else {
            panic!("{backend}")
        };
        assert_eq!((*told, external_id.as_deref()), (state, Some("x1")), "{backend}");
        assert!(
            identity.as_ref().is_some_and(|number| number.as_str().ends_with("254711000111")),
            "{backend}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    for (query, told) in [
        (String::new(), "status: this field is required"),
        ("status=0&message_id=x".to_owned(), "status: not among the states of this endpoint"),
        ("status=1".to_owned(), "message_id: this field is required"),
        ("status=1&message_id=%00".to_owned(), "message_id: null characters are not allowed"),
        (
            format!("status=1&message_id={}", "x".repeat(256)),
            "message_id: ensure this value has at most 255 characters (it has 256)",
        ),
        (
            format!("status=1&message_id=x&identity={}", "1".repeat(101)),
            "identity: ensure this value has at most 100 characters (it has 101)",
        ),
        ("status=1&message_id=%FF".to_owned(), "message_id: not valid utf-8"),
    ] {
        assert_eq!(read(&kannel(), &testing::get(&query)).unwrap_err(), told);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(body in any::<Vec<u8>>(), kind in "(application/json|application/x-www-form-urlencoded|)") {
        for form in [kannel(), http()] {
            drop(read(&form, &testing::post(&kind, &body)));
        }
    }
}
