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

#[test]
fn every_contradiction_is_told() {
    let tester = "[backends.a]\nengine = 'httptester'\n[[reports]]\nbackend = 'a'\n";
    for (text, told) in [
        (format!("{tester}states = {{ x = 'sent' }}\n"), "`state` is missing"),
        (format!("{tester}states = {{ x = 'sent' }}\n"), "`reference` or `external_id` is missing"),
        (format!("{tester}params = {{ state = 's', reference = 'r' }}\n"), "`states` is missing"),
        (format!("{tester}states = {{ x = 'snet' }}\n"), "did you mean `sent`"),
        (format!("{tester}params = {{ stat = 's' }}\n"), "reports[0].params.stat: unknown key"),
        (format!("{tester}each = 'results'\n"), "`each` is a JSON pointer"),
        (format!("{tester}[[reports]]\nbackend = 'a'\n"), "the reports of `a` are at"),
        (
            format!("{tester}path = '/backends/a'\n[[endpoints]]\nbackend = 'a'\n"),
            "one path has one endpoint",
        ),
        (
            format!("{KANNEL}[[reports]]\nbackend = 'k'\nparams = {{ state = '/s' }}\n"),
            "a JSON pointer finds nothing here",
        ),
        (
            format!("{KANNEL}[[reports]]\nbackend = 'k'\nmethods = ['POST']\n"),
            "only the form `http` has this",
        ),
        ("[[reports]]\nbackend = 'gone'\n".to_owned(), "there is no backend `gone`"),
        (
            format!("{KANNEL}delivery_report_url = 'https://g/backends/k/report/'\n"),
            "the path of the reports is added",
        ),
        (
            KANNEL.replace("username", "'dlr-mask' = 3, username") + "delivery_report_url = 'https://g'\n",
            "sendsms_params.dlr-mask: the engine sets this itself",
        ),
        (
            format!(
                "{}[[reports]]\nbackend = 'k'\nauth = {{ token = {{ header = 'X', value = 'v' }} }}\n",
                asking()
            ),
            "cannot send a header",
        ),
        (
            "[backends.t]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 's'\nfrom = '1'\n\
             status_callback = 'https://other'\n[[endpoints]]\nbackend = 't'\nform = 'twilio'\n\
             auth = { twilio = { auth_token = 's', public_url = 'https://g' } }\n"
                .to_owned(),
            "Twilio signs the URL that it calls",
        ),
    ] {
        let problems = problems(&text);
        assert!(problems.contains(told), "{told}\n{problems}");
    }
}
