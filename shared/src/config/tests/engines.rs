//! What the engines take, and the contradictions that `check` tells.

use secrecy::ExposeSecret;

use super::*;

#[test]
fn the_http_engine_is_read_and_its_contradictions_are_told() {
    let http = "[backends.h]\nengine = 'http'\nurl = 'https://sms.example.org/send'\n";
    let config =
        parse(&format!("{MINIMAL}{http}form = {{ to = '{{identity}}', msg = '{{text}}' }}\n")).unwrap();
    let Engine::Http(engine) = &config.backends["h"].engine else { panic!() };
    assert_eq!(engine.method, backends::http::Method::Post);

    one_problem(
        &format!("{http}query = {{ a = 'x' }}\njson = {{ b = 'y' }}\n"),
        "g.toml:9: backends.h.json: only one of query, form and json is wanted, not query and json",
    );
    one_problem(
        &format!("{http}method = 'GET'\nform = {{ a = 'x' }}\n"),
        "g.toml:8: backends.h.method: a GET has no body; write `query` instead of `form` or `json`",
    );
    one_problem(
        &format!("{http}json = {{ to = ['{{identiti}}'] }}\n"),
        "g.toml:8: backends.h.json: `{identiti}` is not known here; did you mean `identity`?",
    );
    one_problem(
        "[backends.h]\nengine = 'http'\nurl = 'ftp://x/{{'\n",
        "g.toml:7: backends.h.url: an http:// or https:// URL is wanted",
    );
    one_problem(
        "[backends.h]\nengine = 'http'\nurl = 'http://u:p@h/{text}'\n",
        "g.toml:7: backends.h.url: a user and a password in the URL would not be sent; write them in their own keys, or headers",
    );
    one_problem(
        &format!(
            "{http}headers = {{ authorization = 'Bearer x' }}\nbasic = {{ user = 'u', password = 'p' }}\n"
        ),
        "g.toml:9: backends.h.basic: `headers` has an Authorization too, and one is sent; write only one",
    );
    one_problem(
        &format!("{http}message_id = {{ json = 'id' }}\n"),
        r#"g.toml:8: backends.h.message_id.json: a JSON pointer starts with `/`, such as "/messages/0/id""#,
    );
}

#[test]
fn what_an_answer_of_the_http_engine_means_is_told_without_contradictions() {
    let told = |keys: &str, expected: &str| {
        let http = "[backends.h]\nengine = 'http'\nurl = 'https://sms.example.org/send'\n";
        one_problem(&format!("{http}{keys}\n"), &format!("g.toml:8: backends.h.{expected}"));
    };
    told("success = { status = [99] }", "success.status: HTTP statuses are wanted, such as [200, 202]");
    let together =
        "success: `json` and `one_of` belong together: where a value is, and what it must be, as text";
    told("success = { json = '/a' }", together);
    told("success = { one_of = ['0'] }", together);
    told("success = { json = '/a', one_of = [] }", "success.one_of: at least one value is wanted");
    told("success = { json = '/a', one_of = [0] }", "success.one_of[0]: a string is wanted, not an integer");
    told(
        "unavailable = { json = 'a', one_of = ['0'] }",
        r#"unavailable.json: a JSON pointer starts with `/`, such as "/messages/0/id""#,
    );
    told("unavailable = {}", "unavailable: `status`, `body`, or `json` with `one_of` is wanted");
    let both = "is a success; say with `body`, or `json` and `one_of`, when it is none";
    told("unavailable = { status = [404, 202] }", &format!("unavailable: 202 {both}"));
    told(
        "unavailable = { status = [404] }\nsuccess = { status = [404] }",
        &format!("unavailable: 404 {both}"),
    );
}

/// The settings of a backend `x`.
fn engine(keys: &str) -> Engine {
    let config = parse(&format!("{MINIMAL}[backends.x]\n{keys}\n"));
    config.unwrap_or_else(|problems| panic!("{problems}")).backends["x"].engine.clone()
}

/// Looks for the one problem of a backend `x`, whose `engine` is line 6.
#[track_caller]
fn engine_problem(keys: &str, expected: &str) {
    one_problem(&format!("[backends.x]\n{keys}\n"), expected);
}

const KANNEL: &str = "engine = 'kannel'\nsendsms_params = { smsc = 'FAKE', from = 123, username = 'u', password = '${SECRET}' }";

#[test]
fn kannel_has_the_defaults_of_rapidsms_and_of_kannel() {
    let Engine::Kannel(kannel) = engine(KANNEL) else { panic!() };
    assert_eq!(kannel.url.get().as_str(), "http://127.0.0.1:13013/cgi-bin/sendsms");
    let params = kannel.params.iter().map(|(name, value)| (name.as_str(), value.expose_secret()));
    let expected = [("smsc", "FAKE"), ("from", "123"), ("username", "u"), ("password", "s3cret-value")];
    assert!(params.eq(expected));
    assert_eq!((kannel.coding, kannel.charset.clone(), kannel.batch), (None, None, 1));
    let Engine::Kannel(kannel) = engine(&format!("{KANNEL}\ncoding = 2\ncharset = 'UTF-8'\nbatch = 50"))
    else {
        panic!()
    };
    let charset = ("UTF-8".to_owned(), backends::kannel::Charset::Utf8);
    assert_eq!(
        (kannel.coding, kannel.charset.clone(), kannel.batch),
        (Some(backends::kannel::Coding::Ucs2), Some(charset), 50)
    );
}

#[test]
fn the_contradictions_of_kannel_are_told() {
    for (keys, expected) in [
        ("sendsms_url = 'kannel:13013'", "7: backends.x.sendsms_url: an http:// or https:// URL is wanted"),
        (
            "sendsms_url = 'http://u:p@h/'",
            "7: backends.x.sendsms_url: a user and a password in the URL would not be sent; write them in their own keys, or headers",
        ),
        (
            "sendsms_url = 'http://h/#x'",
            "7: backends.x.sendsms_url: what follows `#` in the URL would not be sent; write `%23` if it belongs to it",
        ),
        (
            "coding = 3",
            "7: backends.x.coding: 0 (7 bits), 1 (8 bits) or 2 (UCS-2) is wanted; without it each text has what it needs",
        ),
        (
            "coding = 1",
            "7: backends.x.coding: 1 sends bytes as they are; write the `charset` that they are in",
        ),
        (
            "split = true\ncharset = 'latin1'\ncoding = 1",
            "9: backends.x.coding: 1 sends bytes, and characters are what is counted and cut; leave `split` and `max_parts` out",
        ),
        (
            "max_parts = 3\ncharset = 'latin1'\ncoding = 1",
            "9: backends.x.coding: 1 sends bytes, and characters are what is counted and cut; leave `split` and `max_parts` out",
        ),
        ("charset = 'utf8'", "7: backends.x.charset: `utf8` cannot be written; did you mean `utf-8`?"),
        ("batch = 0", "7: backends.x.batch: 1 to 10000 is wanted"),
        (
            "rate = 5\nbatch = 2",
            "8: backends.x.batch: with `rate` each call has one number, so that messages are counted; leave one of both out",
        ),
        (
            "encode_errors = 'ignore'",
            "7: backends.x.encode_errors: unknown key; known: engine, rate, concurrency, timeout, on_unknown, split, max_parts, substitute, \
             sendsms_url, delivery_report_url, sendsms_params, coding, charset, batch",
        ),
    ] {
        // The keys come before the parameters, so that their lines are known.
        let keys = KANNEL.replacen('\n', &format!("\n{keys}\n"), 1);
        engine_problem(&keys, &format!("g.toml:{expected}"));
    }
}

#[test]
fn the_parameters_of_kannel_name_its_user_and_nothing_that_the_engine_sets() {
    let kannel = |params: &str| format!("engine = 'kannel'\nsendsms_params = {{ {params} }}");
    engine_problem(
        &kannel("user = 'u', pass = 'p', text = 'x'"),
        "g.toml:7: backends.x.sendsms_params.text: the engine sets this itself, for each message; leave it out",
    );
    engine_problem(
        &kannel("username = 'u'"),
        "g.toml:7: backends.x.sendsms_params: `password` is missing, without which Kannel takes nothing",
    );
    engine_problem(
        &kannel("username = 'u', password = 'p', from = [1]"),
        "g.toml:7: backends.x.sendsms_params.from: a string or an integer is wanted",
    );
    engine("engine = 'kannel'\nsendsms_url = 'http://h/sendsms?username=u&password=p'");
    assert_eq!(problems("[backends.x]\nengine = 'kannel'\n").len(), 2);
}

const VUMI: &str = "engine = 'vumi'\nsendsms_url = 'http://h:9000/send/'";

#[test]
fn vumi_takes_any_json_and_both_of_its_credentials_or_none() {
    let keys = format!("{VUMI}\nsendsms_params = {{ endpoint = 'a', x = [1, 2.5, {{ y = true }}] }}");
    let Engine::Vumi(vumi) = engine(&keys) else { panic!() };
    let params = serde_json::Value::Object(vumi.params.0);
    assert_eq!(params, serde_json::json!({ "endpoint": "a", "x": [1, 2.5, { "y": true }] }));
    assert!(vumi.basic.is_none());
    let keys = format!("{VUMI}\nsendsms_user = 'u'\nsendsms_pass = '${{SECRET}}'");
    let Engine::Vumi(vumi) = engine(&keys) else { panic!() };
    assert_eq!(vumi.basic.unwrap().password.expose_secret(), "s3cret-value");

    engine_problem("engine = 'vumi'", "g.toml:5: backends.x: `sendsms_url` is missing");
    for (keys, expected) in [
        ("sendsms_user = 'u'", "sendsms_user: `sendsms_pass` is missing: both are sent, or none"),
        ("sendsms_pass = 'p'", "sendsms_pass: `sendsms_user` is missing: both are sent, or none"),
        (
            "sendsms_pass = 'p'\nsendsms_user = 'a:b'",
            "sendsms_user: a user has no `:`, which ends it in HTTP basic authentication",
        ),
        (
            "sendsms_params = { to_addr = ['1'] }",
            "sendsms_params.to_addr: the engine sets this itself, for each message; leave it out",
        ),
    ] {
        let told = problems(&format!("[backends.x]\n{VUMI}\n{keys}\n"));
        assert!(matches!(&told[..], [one] if one.ends_with(&format!("backends.x.{expected}"))), "{told:?}");
    }
}

const TWILIO: &str = "engine = 'twilio'\naccount_sid = 'AC1'\nauth_token = '${SECRET}'";

#[test]
fn twilio_has_one_sender_and_the_url_of_its_account() {
    let Engine::Twilio(twilio) = engine(&format!("{TWILIO}\nfrom = '+1555'")) else { panic!() };
    assert_eq!(twilio.url.get().as_str(), "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json");
    assert_eq!(twilio.sender, backends::twilio::Sender::From("+1555".to_owned()));
    let keys = "engine = 'twilio'\napi_url = 'https://x.signalwire.com/api/laml/'\naccount_sid = 'b-1'\n\
                auth_token = 't'\nmessaging_service_sid = 'MG1'";
    let Engine::Twilio(twilio) = engine(keys) else { panic!() };
    assert_eq!(twilio.url.get().path(), "/api/laml/2010-04-01/Accounts/b-1/Messages.json");
    assert_eq!(twilio.sender, backends::twilio::Sender::MessagingService("MG1".to_owned()));
}

#[test]
fn the_contradictions_of_twilio_are_told() {
    engine_problem(TWILIO, "g.toml:5: backends.x: `from` or `messaging_service_sid` is missing: who sends");
    engine_problem(
        &format!("{TWILIO}\nfrom = '1'\nmessaging_service_sid = 'MG1'"),
        "g.toml:10: backends.x.messaging_service_sid: only one of `from` and `messaging_service_sid` is wanted",
    );
    engine_problem(
        &format!("{TWILIO}\nfrom = ' '"),
        "g.toml:9: backends.x.from: a number, a short code or a name is wanted",
    );
    engine_problem(
        "engine = 'twilio'\nauth_token = ''\nfrom = '1'\naccount_sid = 'AC1'",
        "g.toml:7: backends.x.auth_token: the secret is empty",
    );
    let wrong_sid = "account_sid: the account's own SID is wanted, which starts with `AC` at Twilio, not that of an API key";
    for sid in ["SK1", "AC/1", ""] {
        let keys = format!("engine = 'twilio'\naccount_sid = '{sid}'\nauth_token = 't'\nfrom = '1'");
        engine_problem(&keys, &format!("g.toml:7: backends.x.{wrong_sid}"));
    }
    assert_eq!(problems("[backends.x]\nengine = 'twilio'\n").len(), 3);
}
