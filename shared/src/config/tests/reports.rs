//! `[[reports]]`: what is there without being written, and what can be wrong.

use super::*;
use crate::{config::auth::Credentials, report::State};

const KANNEL: &str = "[backends.k]\nengine = 'kannel'\nsendsms_params = { username = 'u', password = 'p' }\n";

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("gateway.toml", &format!("[queue]\nurl = 'embedded:x'\n{text}"), &Environment::new())
}

fn problems(text: &str) -> String {
    parse(text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

fn asking() -> String {
    format!("{KANNEL}delivery_report_url = 'https://g.example.org/sms'\n")
}

#[test]
fn a_backend_that_asks_for_reports_has_them() {
    let config = parse(&asking()).unwrap();
    let reports = &config.reports["k"];
    assert_eq!(reports.path, "/backends/k/report");
    assert!(matches!(reports.auth.credentials, Credentials::None));
    let Engine::Kannel(kannel) = &config.backends["k"].engine else { panic!() };
    let base = kannel.delivery_report_url.as_ref().unwrap();
    assert_eq!(reports.callback(base).as_str(), "https://g.example.org/sms/backends/k/report/");
    assert!(parse(KANNEL).unwrap().reports.is_empty());
}

#[test]
fn reports_come_from_whoever_may_post_messages() {
    let endpoint = "[[endpoints]]\nbackend = 'k'\nform = 'kannel'\n";
    let basic = "auth = { basic = { user = 'u', password = 'p@' } }\n";
    let token = "auth = { token = { parameter = 'key', value = 's&' } }\n";
    for (auth, url) in [
        (basic, "https://u:p%40@g.example.org/sms/backends/k/report/"),
        (token, "https://g.example.org/sms/backends/k/report/?key=s%26"),
    ] {
        let config = parse(&format!("{}{endpoint}{auth}", asking())).unwrap();
        let Engine::Kannel(kannel) = &config.backends["k"].engine else { panic!() };
        let base = kannel.delivery_report_url.as_ref().unwrap();
        assert_eq!(config.reports["k"].callback(base).as_str(), url);
    }
    let config = parse(&format!("{}{endpoint}{basic}[[reports]]\nbackend = 'k'\nauth = 'none'\n", asking()));
    assert!(matches!(config.unwrap().reports["k"].auth.credentials, Credentials::None));
}

#[test]
fn on_a_public_address_somebody_has_to_say_who_may_report() {
    let public = "[ingress]\nlisten = '0.0.0.0:8000'\n";
    let told = problems(&format!("{public}{}", asking()));
    assert!(told.contains("backends.k: `auth` is missing for its delivery reports"), "{told}");
    let told = problems(&format!("{public}{KANNEL}[[reports]]\nbackend = 'k'\n"));
    assert!(told.contains("reports[0]: `auth` is missing"), "{told}");
    assert_eq!(problems(&format!("{public}{KANNEL}[[reports]]\nbackend = 'k'\nauth = 'none'\n")), "");
}

#[test]
fn another_gateway_is_told_where_to_look() {
    let config = parse(
        "[backends.a]\nengine = 'httptester'\n[[reports]]\nbackend = 'a'\npath = '/dlr/'\n\
         states = { DELIVRD = 'delivered', EXPIRED = 'failed' }\n\
         params = { external_id = 'id', state = 'stat' }\n",
    )
    .unwrap();
    let reports = &config.reports["a"];
    assert_eq!((reports.path.as_str(), reports.places.state.as_slice()), ("/dlr", &["stat".to_owned()][..]));
    assert_eq!(reports.states[0], ("DELIVRD".to_owned(), State::Delivered));
}

#[test]
fn what_a_provider_is_known_to_say_can_be_added_to() {
    let config = parse(&format!(
        "{KANNEL}[[reports]]\nbackend = 'k'\nstates = {{ 32 = 'buffered' }}\nparams = {{ reference = 'ref' }}\n"
    ))
    .unwrap();
    let reports = &config.reports["k"];
    assert_eq!((reports.states[0].clone(), reports.states.len()), (("32".to_owned(), State::Buffered), 6));
    assert_eq!(reports.places.reference.as_deref(), Some("ref"));
    assert_eq!(reports.places.identity.as_deref(), Some("identity"));
}

/// A gateway that is sent neither our name of a part nor says its own.
fn http(name: &str) -> String {
    format!(
        "[backends.a]\nengine = 'http'\nurl = 'https://h'\nform = {{ to = '{{identity}}' }}\n[[reports]]\nbackend = 'a'\n\
         params = {{ {name}, state = 's' }}\nstates = {{ D = 'delivered' }}\n"
    )
}

#[test]
fn a_gateway_that_is_sent_our_name_or_says_its_own_can_be_matched() {
    let sent = http("reference = 'r'").replace("'{identity}'", "'{identity}', ref = '{reference}'");
    let said = http("external_id = 'i'").replace("[[reports]]", "message_id = { json = '/id' }\n[[reports]]");
    for text in [sent, said] {
        assert_eq!(problems(&text), "", "{text}");
    }
}

#[track_caller]
fn assert_told(text: &str, told: &str) {
    let problems = problems(text);
    assert!(problems.contains(told), "{told}\n{problems}");
}

#[test]
fn every_contradiction_is_told() {
    let tester =
        |keys: &str| format!("[backends.a]\nengine = 'httptester'\n[[reports]]\nbackend = 'a'\n{keys}\n");
    for (keys, told) in [
        ("states = { x = 'sent' }", "`state` is missing"),
        ("states = { x = 'sent' }", "`reference` or `external_id` is missing"),
        ("params = { state = 's', reference = 'r' }", "`states` is missing"),
        ("states = { x = 'snet' }", "did you mean `sent`"),
        ("params = { stat = 's' }", "reports[0].params.stat: unknown key"),
        ("each = 'results'", "`each` is a JSON pointer"),
        ("[[reports]]\nbackend = 'a'", "the reports of `a` are at"),
        ("path = '/backends/a'\n[[endpoints]]\nbackend = 'a'", "one path has one endpoint"),
        ("each = '/r'\nparams = { external_id = 'i', state = '/s' }", "with `each`, all are JSON pointers"),
        ("states = { D = 'delivered', d = 'failed' }", "`states.d` means two things"),
    ] {
        assert_told(&tester(keys), told);
    }
    let kannel = |keys: &str| format!("{KANNEL}[[reports]]\nbackend = 'k'\n{keys}\n");
    assert_told(&kannel("params = { state = '/s' }"), "a JSON pointer finds nothing here");
    assert_told(&kannel("methods = ['POST']"), "only the form `http` has this");
    assert_told("[[reports]]\nbackend = 'gone'\n", "there is no backend `gone`");
    assert_told(&http("external_id = 'i'"), "can never be matched");
    assert_told(&http("reference = 'r'"), "can never be matched");
}

#[test]
fn a_provider_that_cannot_report_as_it_is_told_is_a_problem() {
    let asks = |reports: &str| format!("{}{reports}\n", asking());
    let told = |keys: &str| asks(&format!("[[reports]]\nbackend = 'k'\n{keys}"));
    for (text, problem) in [
        (
            asks("[[endpoints]]\nbackend = 'k'\npath = '/backends/k/report'"),
            "its delivery reports have no path",
        ),
        (told("params = { reference = 'ref' }"), "a way of its own"),
        (told("form = 'vumi'"), "a way of its own"),
        (told("form = 'twilio'"), "a way of its own"),
        (told("auth = { token = { parameter = 'status', value = 'v' } }"), "the token's `status` is one of"),
        (told("auth = { token = { header = 'X', value = 'v' } }"), "cannot send this with a report"),
        (
            format!("{KANNEL}delivery_report_url = 'https://g/backends/k/report/'\n"),
            "the path of the reports is added",
        ),
        (
            KANNEL.replace("username", "'dlr-mask' = 3, username") + "delivery_report_url = 'https://g'\n",
            "sendsms_params.dlr-mask: the engine sets this itself",
        ),
    ] {
        assert_told(&text, problem);
    }
    let twilio = "[backends.t]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 's'\nfrom = '1'\nstatus_callback = 'https://g'\n";
    let signed = "[[endpoints]]\nbackend = 't'\nform = 'twilio'\nauth = { twilio = { auth_token = 's', public_url = 'https://other' } }\n";
    assert_told(&format!("{twilio}{signed}"), "Twilio signs the URL that it calls");
    let hmac = "[[reports]]\nbackend = 't'\nauth = { hmac = { header = 'X', secret = 'v' } }\n";
    assert_told(&format!("{twilio}{hmac}"), "cannot send this with a report");
}
