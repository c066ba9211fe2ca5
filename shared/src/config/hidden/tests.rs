//! Every value that may be a secret, and where a URL may hold one.

use std::{borrow::Cow, collections::BTreeMap};

use proptest::prelude::*;

use secrecy::ExposeSecret;

use super::*;

#[test]
fn of_a_url_the_host_is_left() {
    for (url, hidden) in [
        ("https://h", "https://h"),
        ("https://h:8443/", "https://h:8443/"),
        ("https://h/send", "https://h/HIDDEN"),
        ("https://h/bot123:AB/send?key=x==&TOKEN#f", "https://h/HIDDEN/HIDDEN?HIDDEN=HIDDEN==&HIDDEN#HIDDEN"),
        ("http://user:p@ss@h/", "http://HIDDEN@h/"),
        ("http:\\\\h\\secret", "http:\\\\HIDDEN\\HIDDEN"),
        ("http:/\\h/secret?next=http://x/y", "http:/\\HIDDEN/HIDDEN?HIDDEN=HIDDEN//HIDDEN/HIDDEN"),
        ("http:user:secret@h/secret", "HIDDEN@h/HIDDEN"),
    ] {
        assert_eq!(url_to_host(url), hidden, "{url}");
    }
    assert_eq!(hidden_query("account=x%20y&TOKEN&key=a=="), "account=HIDDEN&HIDDEN&key=HIDDEN");
}

const SECRETS: &str = "[queue]\nurl = 'embedded:x'\n\
    [backends.a]\nengine = 'http'\nurl = 'https://h/SECRET/{identity}?SECRET={text}&SECRET'\n\
    headers = { X-Key = 'Bearer SECRET', X-Id = '{id}' }\nbasic = { user = 'u', password = 'SECRET' }\n\
    json = { key = 'SECRET', pin = 5319, list = ['SECRET', { text = 'SECRET {text}' }], flash = true }\n\
    [backends.b]\nengine = 'http'\nurl = 'https://h'\nform = { key = '${KEY}', to = '{identity}' }\n\
    [backends.c]\nengine = 'http'\nurl = 'https://h'\nquery = { key = '${KEY}{text}' }\n\
    [backends.d]\nengine = 'kannel'\nsendsms_url = 'http://h/s?key=SECRET'\n\
    sendsms_params = { username = 'SECRET', password = '${KEY}', smsc = 5319 }\n\
    [backends.e]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 'SECRET'\nfrom = '123'\n\
    [backends.f]\nengine = 'vumi'\nsendsms_url = 'http://h/s?SECRET'\nsendsms_user = 'u'\nsendsms_pass = 'SECRET'\n\
    sendsms_params = { more = { list = [5319, 'SECRET'] }, token = 'SECRET' }\n\
    [[apps]]\napp = 'webhook'\nurl = 'https://h/SECRET'\nsecret = 'SECRET'\nheaders = { A = 'SECRET' }\n\
    [[apps]]\napp = 'forward'\nurl = 'https://h?SECRET'\n";

/// All that engines and apps could show.
fn shown(config: &Config) -> Vec<String> {
    let engines = config.backends.values().flat_map(|backend| of_engine(&backend.engine));
    let hooks = config
        .apps
        .iter()
        .filter_map(|app| if let App::Webhook(hook) | App::Forward(hook) = app { Some(hook) } else { None });
    engines.chain(hooks.flat_map(|hook| of_hook(hook))).collect()
}

fn of_engine(engine: &Engine) -> Vec<String> {
    let password = |basic: &Basic| basic.password.expose_secret().to_owned();
    match engine {
        Engine::HttpTester { .. } => Vec::new(),
        Engine::Http(http) => {
            let content = match &http.content {
                Content::None => Vec::new(),
                Content::Query(named) | Content::Form(named) => templates(named),
                Content::Json(json) => vec![written(json)],
            };
            let basic = http.basic.as_ref().map(password);
            [vec![rendered(&http.url)], templates(&http.headers), content]
                .concat()
                .into_iter()
                .chain(basic)
                .collect()
        }
        Engine::Kannel(kannel) => [vec![kannel.url.get().to_string()], secrets(&kannel.params)].concat(),
        Engine::Twilio(twilio) => vec![twilio.url.get().to_string(), password(&twilio.basic)],
        Engine::Vumi(vumi) => {
            let params = Value::Object(vumi.params.0.clone()).to_string();
            [vumi.url.get().to_string(), params]
                .into_iter()
                .chain(vumi.basic.as_ref().map(password))
                .collect()
        }
    }
}

fn of_hook(hook: &Hook) -> Vec<String> {
    let secret = hook
        .secret
        .iter()
        .map(|secret| secret.expose_secret().to_owned())
        .chain([hook.url.get().to_string()]);
    secret.chain(secrets(&hook.headers)).collect()
}

fn secrets(named: &[(String, SecretString)]) -> Vec<String> {
    named.iter().map(|(name, value)| format!("{name}={}", value.expose_secret())).collect()
}

fn templates(named: &[(String, Template)]) -> Vec<String> {
    named.iter().map(|(name, value)| format!("{name}={}", rendered(value))).collect()
}

fn rendered(template: &Template) -> String {
    template.render(|name| Some(Cow::Owned(format!("<{name}>"))))
}

fn written(json: &JsonTemplate) -> String {
    match json {
        JsonTemplate::String(template) => rendered(template),
        JsonTemplate::Plain(value) => value.to_string(),
        JsonTemplate::Array(items) => {
            format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(" "))
        }
        JsonTemplate::Object(entries) => {
            let entry = |(name, item): &(String, JsonTemplate)| format!("{name}: {}", written(item));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(" "))
        }
    }
}

#[test]
fn what_may_be_a_secret_is_hidden_and_what_the_message_gives_is_not() {
    let environment = BTreeMap::from([("KEY".to_owned(), "SECRET".to_owned())]);
    let config = Config::parse("test", SECRETS, &environment).unwrap();
    let expected = [
        "https://h/HIDDEN/<identity>?HIDDEN=<text>&HIDDEN",
        "X-Key=HIDDEN",
        "X-Id=<id>",
        "{key: HIDDEN pin: \"HIDDEN\" list: [HIDDEN {text: HIDDEN<text>}] flash: true}",
        "HIDDEN",
        "https://h",
        "key=HIDDEN",
        "to=<identity>",
        "https://h",
        "key=HIDDEN<text>",
        "http://h/s?key=HIDDEN",
        "username=HIDDEN",
        "password=HIDDEN",
        "smsc=HIDDEN",
        "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json",
        "HIDDEN",
        "http://h/s?HIDDEN",
        r#"{"more":{"list":["HIDDEN","HIDDEN"]},"token":"HIDDEN"}"#,
        "HIDDEN",
        "HIDDEN",
        "https://h/HIDDEN",
        "A=HIDDEN",
        "https://h/?HIDDEN",
    ];
    assert_eq!(shown(&config.without_secrets()), expected);
}

proptest! {
    #[test]
    fn no_url_panics_and_nothing_behind_its_host_is_left(url in ".*", path in "[a-gi-z0-9]{1,9}") {
        drop(url_to_host(&url));
        let hidden = url_to_host(&format!("https://h/{path}/{url}"));
        prop_assert!(hidden.starts_with("https://h/HIDDEN/"));
        let left = hidden.replace(HIDDEN, "");
        prop_assert!(left["https://h".len()..].chars().all(is_separator), "{hidden}");
    }
}
