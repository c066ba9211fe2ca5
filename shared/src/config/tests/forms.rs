//! The forms and how their requests are signed: what can be written, and what makes no sense together.

use super::*;
use crate::config::{
    auth::{Algorithm, Credentials},
    endpoints::Form,
};

/// An endpoint with these keys, of which the first is in line 7.
fn endpoint(keys: &str) -> String {
    format!("[[endpoints]]\nbackend = 'b'\n{keys}\n")
}

fn parsed(keys: &str) -> Endpoint {
    parse(&format!("{MINIMAL}{}", endpoint(keys))).unwrap().endpoints.remove(0)
}

/// What is told of an endpoint with these keys, after the path of the endpoint.
fn told(keys: &str) -> Vec<String> {
    let told = problems(&endpoint(keys)).into_iter();
    told.map(|line| line.split_once("endpoints[0]").unwrap().1.trim_start_matches('.').to_owned()).collect()
}

/// Where the fields of an endpoint are found, with a `*` at those that must be there.
fn places(endpoint: &Endpoint) -> Vec<String> {
    let place = |field: &endpoints::Field| {
        format!("{}={}{}", field.name, field.parameter, if field.required { "*" } else { "" })
    };
    endpoint.fields.iter().map(place).collect()
}

#[test]
fn each_form_knows_its_fields() {
    assert_eq!(places(&parsed("")), ["identity=identity*", "text=text*"]);
    let kannel = parsed("form = 'kannel'");
    assert!(matches!(kannel.form, Form::Kannel));
    let expected = ["identity=id*", "text=text", "charset=charset", "coding=coding", "external_id=sms_id"];
    assert_eq!(places(&kannel), expected);
    let vumi = places(&parsed("form = 'vumi'\nallow_blank = false\n[endpoints.fields]\nprovider = {}"));
    assert_eq!(
        vumi[..4],
        ["identity=/from_addr*", "text=/content*", "external_id=/message_id*", "to_addr=/to_addr*"]
    );
    assert_eq!(vumi.last().unwrap(), "provider=/provider");
    let twilio = places(&parsed("form = 'twilio'"));
    assert_eq!(twilio[..3], ["identity=From*", "text=Body*", "external_id=MessageSid"]);
    assert_eq!(twilio.last().unwrap(), "MediaContentType9=MediaContentType9");
}

#[test]
fn the_providers_own_id_is_declared_by_its_place_alone() {
    let by_place = parsed("params = { external_id = '/id', identity = '/from', text = '/text' }");
    assert_eq!(places(&by_place), ["identity=/from*", "text=/text*", "external_id=/id"]);
    let by_rules = parsed("[endpoints.fields]\nexternal_id = { required = true }");
    assert_eq!(places(&by_rules)[2], "external_id=external_id*");
}

#[test]
fn keys_of_another_form_are_told() {
    let only_http = "only the form `http` has this; the others take and answer what their provider does";
    for form in ["kannel", "vumi", "twilio"] {
        assert_eq!(
            told(&format!("form = '{form}'\nmethods = ['POST']\nanswer = {{ body = 'x' }}")),
            [format!("methods: {only_http}"), format!("answer: {only_http}")]
        );
    }
    assert_eq!(
        told("form = 'vumi'\ncharset = 'iso-8859-1'"),
        ["charset: what the form `vumi` reads is JSON, and that is UTF-8"]
    );
    // What belongs to a form that nobody knows cannot be judged.
    assert_eq!(told("form = 'kanel'\nmethods = 7"), ["form: `kanel` is not known; did you mean `kannel`?"]);
}

#[test]
fn a_field_is_looked_for_where_it_can_be() {
    let pointer = r#"a JSON pointer is wanted, such as "/content""#;
    assert_eq!(told("form = 'vumi'\nparams = { text = 'content' }"), [format!("params.text: {pointer}")]);
    let nothing = "a JSON pointer finds nothing here: no JSON is read";
    for form in ["form = 'kannel'", "form = 'twilio'", "methods = ['GET']"] {
        let keys = format!("{form}\nparams = {{ text = '/text' }}");
        assert!(told(&keys).contains(&format!("params.text: {nothing}")), "{keys}");
    }
    let text = "params.text: `text` is looked for in JSON, and `identity` in parameters: no request has both";
    assert_eq!(told("params = { text = '/text' }"), [text]);
    assert_eq!(told("allow_blank = true\nparams = { text = '/text' }"), [text]);
    assert_eq!(
        told(
            "params = { identity = '/f', text = '/t', external_id = 'msgid' }\n[endpoints.fields]\nextra = {}"
        ),
        [
            "params.external_id: `external_id` is looked for in parameters, and `identity` in JSON: no request has both",
            "params.extra: `extra` is looked for in parameters, and `identity` in JSON: no request has both",
        ]
    );
    assert_eq!(
        told("form = 'vumi'\n[endpoints.fields]\nmessage_id = {}"),
        ["params: `external_id` and `message_id` are read from the same parameter"]
    );
}

#[test]
fn a_form_with_pointers_takes_posts_alone() {
    let methods = |keys: &str| {
        let form = parsed(&format!("{keys}params = {{ identity = '/f', text = '/t' }}")).form;
        let Form::Http { methods, .. } = form else { panic!("{form:?}") };
        methods
    };
    for keys in ["", "methods = ['POST']\n"] {
        assert_eq!(methods(keys), [endpoints::HttpMethod::Post], "{keys}");
    }
    assert_eq!(
        told("methods = ['POST', 'GET']\nparams = { identity = '/f', text = '/t' }"),
        ["methods: the fields are looked for in JSON, and no GET has any; leave GET out"]
    );
}

#[test]
fn a_signature_is_read_with_what_is_usual_where_nothing_is_written() {
    let hmac = |keys: &str| {
        let auth = parsed(&format!("auth = {{ hmac = {{ {keys} }} }}")).auth;
        let Credentials::Hmac(hmac) = auth.credentials else { panic!("{keys}") };
        hmac
    };
    let usual = hmac("header = 'X-Signature', secret = '${SECRET}'");
    assert_eq!(
        (usual.header.as_str(), usual.algorithm, usual.prefix.as_str()),
        ("x-signature", Algorithm::Sha256, "")
    );
    assert!(!format!("{usual:?}").contains("s3cret-value"));
    let timed = hmac("header = 'S', secret = 's', algorithm = 'sha512', tolerance = '5m'");
    assert_eq!((timed.algorithm, timed.tolerance), (Algorithm::Sha512, Some(Duration::from_secs(300))));
}

#[test]
fn contradictions_of_a_signature_are_told() {
    for (hmac, expected) in [
        ("secret = 's'", "auth.hmac: `header` is missing"),
        ("header = 'S'", "auth.hmac: `secret` is missing"),
        ("header = 'a b', secret = 's'", "auth.hmac.header: not a valid header name"),
        ("header = 'S', secret = ''", "auth.hmac.secret: the secret is empty"),
        (
            "header = 'S', secret = 's', algorithm = 'md5'",
            "auth.hmac.algorithm: `md5` is not known; known: sha1",
        ),
        ("header = 'S', secret = 's', tolerance = '0s'", "auth.hmac.tolerance: more than zero is wanted"),
        (
            "header = 'S', secret = 's', tolerance = '5m', prefix = 'sha256='",
            "auth.hmac.prefix: with `tolerance` the header is t=SECONDS,v1=SIGNATURE, which has no other prefix",
        ),
        ("header = 'S', secret = 's', prefx = 'x'", "auth.hmac.prefx: unknown key; did you mean `prefix`?"),
    ] {
        let told = told(&format!("auth = {{ hmac = {{ {hmac} }} }}"));
        assert!(told.len() == 1 && told[0].starts_with(expected), "{hmac}: {told:?}");
    }
    let two =
        told("auth = { hmac = { header = 'S', secret = 's' }, basic = { user = 'u', password = 'p' } }");
    assert_eq!(two, ["auth: only one of `basic`, `token`, `hmac` and `twilio` is wanted"]);
    let kannel = told("form = 'kannel'\nauth = { hmac = { header = 'S', secret = 's' } }");
    assert_eq!(kannel, ["auth: Kannel signs nothing; write `basic`, `token` or `allow_ips`"]);
}

#[test]
fn twilio_is_told_apart_from_the_path_of_the_endpoint() {
    let twilio = |public_url: &str| {
        format!("auth = {{ twilio = {{ auth_token = 't', public_url = '{public_url}' }} }}")
    };
    for form in ["form = 'twilio'", "form = 'http'", "form = 'twilio'\npath = '/'"] {
        let endpoint = parsed(&format!("{form}\n{}", twilio("https://sms.example.org/")));
        let Credentials::Twilio(twilio) = endpoint.auth.credentials else { panic!("{form}") };
        assert_eq!(twilio.public_urls, ["https://sms.example.org", "https://sms.example.org:443"]);
    }
    for public_url in ["https://h/backends/b/", "https://h/x/backends/b"] {
        let expected =
            "auth: `public_url` is what stands before the path of the endpoint; leave `/backends/b` out";
        assert_eq!(told(&format!("form = 'twilio'\n{}", twilio(public_url))), [expected]);
    }
    let wanted = r#"auth.twilio.public_url: the URL that Twilio calls is wanted, up to the path and without a user: "https://sms.example.org""#;
    // With a user it would be shown wherever the URL is.
    for public_url in
        ["sms.example.org", "https://h/?a=b", "", "https://u:p@h", "https://u@h", "https://:p@h"]
    {
        assert_eq!(told(&format!("form = 'twilio'\n{}", twilio(public_url))), [wanted]);
    }
    assert_eq!(
        told("auth = { twilio = { public_url = 'https://h' } }"),
        ["auth.twilio: `auth_token` is missing"]
    );
    assert_eq!(
        told(&format!("form = 'vumi'\n{}", twilio("https://h"))),
        ["auth: nobody signs these as Twilio does; write another kind"]
    );
}
