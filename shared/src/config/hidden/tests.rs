//! Every value that may be a secret, and where a URL may hold one.

use std::{borrow::Cow, collections::BTreeMap};

use proptest::prelude::*;

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
    headers = { Authorization = 'Bearer SECRET', X-Id = '{id}' }\nbasic = { user = 'u', password = 'SECRET' }\n\
    json = { key = 'SECRET', pin = 5319, list = ['SECRET', { text = 'SECRET {text}' }], flash = true }\n\
    [backends.b]\nengine = 'http'\nurl = 'https://SECRET@h'\nform = { key = '${KEY}', to = '{identity}' }\n\
    [backends.c]\nengine = 'http'\nurl = 'https://h'\nquery = { key = '${KEY}{text}' }\n\
    [backends.d]\nengine = 'kannel'\nsendsms_url = 'http://h/s?key=SECRET'\n\
    sendsms_params = { username = 'SECRET', password = '${KEY}', smsc = 5319 }\n\
    [backends.e]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 'SECRET'\nfrom = '123'\n\
    [backends.f]\nengine = 'vumi'\nsendsms_url = 'http://h/s?SECRET'\nsendsms_user = 'u'\nsendsms_pass = 'SECRET'\n\
    sendsms_params = { token = 'SECRET', more = { list = [5319, 'SECRET'] } }\n\
    [[apps]]\napp = 'webhook'\nurl = 'https://u:SECRET@h/SECRET'\nsecret = 'SECRET'\nheaders = { A = 'SECRET' }\n\
    [[apps]]\napp = 'forward'\nurl = 'https://h?SECRET'\n";

/// All that engines and apps could show.
fn shown(config: &Config) -> Vec<String> {
    let mut shown = Vec::new();
    let mut say = |text: &str| shown.push(text.to_owned());
    let render = |template: &Template| template.render(|name| Some(Cow::Owned(format!("<{name}>"))));
    for backend in config.backends.values() {
        match &backend.engine {
            Engine::HttpTester { .. } => {}
            Engine::Http(http) => {
                say(&render(&http.url));
                http.headers.iter().for_each(|(name, value)| say(&format!("{name}: {}", render(value))));
                http.basic.iter().for_each(|basic| say(basic.password.expose_secret()));
                match &http.content {
                    Content::None => {}
                    Content::Query(named) | Content::Form(named) => {
                        named.iter().for_each(|(name, value)| say(&format!("{name}={}", render(value))));
                    }
                    Content::Json(json) => say(&written(json, &render)),
                }
            }
            Engine::Kannel(kannel) => {
                say(kannel.url.get().as_str());
                kannel
                    .params
                    .iter()
                    .for_each(|(name, value)| say(&format!("{name}={}", value.expose_secret())));
            }
            Engine::Twilio(twilio) => {
                say(twilio.url.get().as_str());
                say(twilio.basic.password.expose_secret());
            }
            Engine::Vumi(vumi) => {
                say(vumi.url.get().as_str());
                say(&Value::Object(vumi.params.0.clone()).to_string());
                vumi.basic.iter().for_each(|basic| say(basic.password.expose_secret()));
            }
        }
    }
    for app in &config.apps {
        if let App::Webhook(hook) | App::Forward(hook) = app {
            say(hook.url.expose_secret());
            hook.secret.iter().for_each(|secret| say(secret.expose_secret()));
            hook.headers.iter().for_each(|(name, value)| say(&format!("{name}: {}", value.expose_secret())));
        }
    }
    shown
}

fn written(json: &JsonTemplate, render: &impl Fn(&Template) -> String) -> String {
    match json {
        JsonTemplate::String(template) => render(template),
        JsonTemplate::Plain(value) => value.to_string(),
        JsonTemplate::Array(items) => {
            format!("[{}]", items.iter().map(|item| written(item, render)).collect::<Vec<_>>().join(" "))
        }
        JsonTemplate::Object(entries) => {
            let entry = |(name, item): &(String, JsonTemplate)| format!("{name}: {}", written(item, render));
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
        "Authorization: HIDDEN",
        "X-Id: <id>",
        "HIDDEN",
        "{key: HIDDEN pin: \"HIDDEN\" list: [HIDDEN {text: HIDDEN<text>}] flash: true}",
        "https://HIDDEN@h",
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
        r#"{"token":"HIDDEN","more":{"list":["HIDDEN","HIDDEN"]}}"#,
        "HIDDEN",
        "https://HIDDEN@h/HIDDEN",
        "HIDDEN",
        "A: HIDDEN",
        "https://h?HIDDEN",
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
