use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

mod documentation;

mod engines;

mod environment;

mod forms;
mod hooks;

mod impossible;

mod reports;

const MINIMAL: &str = "[queue]\nurl = 'embedded:x.db'\n[backends.b]\nengine = 'httptester'\n";

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse("g.toml", text, &BTreeMap::from([("SECRET".to_owned(), "s3cret-value".to_owned())]))
}

/// The problems of `text` added to a minimal configuration, of which it is line 5 and following.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = parse(&format!("{MINIMAL}{text}")) else { panic!("no problem in {text}") };
    problems.0.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn one_problem(text: &str, expected: &str) {
    assert_eq!(problems(text), [expected]);
}

#[test]
fn the_quick_start_configuration_is_valid() {
    let config = parse(include_str!("../../../gateway.toml")).unwrap();
    assert_eq!((config.backends.len(), config.endpoints.len(), config.apps.len()), (1, 1, 5));
    assert!(config.logging.show_messages);
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.project_name, "RapidSMS");
    assert_eq!(config.queue.prefix, "sms");
    assert_eq!(config.queue.retry, [5, 30, 300, 1800].map(Duration::from_secs));
    assert_eq!(config.queue.max_attempts, 12);
    assert_eq!(config.queue.connect_timeout, Duration::from_secs(30));
    assert_eq!(config.ingress.listen.to_string(), "127.0.0.1:8000");
    assert_eq!(config.ingress.admin_listen.to_string(), "127.0.0.1:8001");
    assert_eq!(config.dispatcher.admin_listen.to_string(), "127.0.0.1:8002");
    assert_eq!(config.ingress.max_body_bytes, 1024 * 1024);
    assert_eq!((config.ingress.max_identity_length, config.ingress.max_text_length), (100, 10_000));
    assert!(!config.logging.show_messages);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = "[queue]\nurl = 'amqp://h/%2f'\nprefx = 'x'\nmax_attempts = 0\n\
                [backends.a]\nengin = 'http'\n[backends.'b b']\nengine = 'http'\n\
                [[endpoints]]\nbackend = 'nobody'\nauth = 'none'\n\
                [[apps]]\napp = 'eccho'\n[colours]\n";
    let told: Vec<String> = parse(text).unwrap_err().0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "g.toml:3: queue.prefx: unknown key; did you mean `prefix`?",
            "g.toml:4: queue.max_attempts: at least 1 is wanted",
            "g.toml:5: backends.a: `engine` is missing; `engin` is written instead",
            "g.toml:7: backends.b b: a backend name is 1 to 64 letters, digits, `_` or `-`",
            "g.toml:10: endpoints[0].backend: there is no backend `nobody`; known: a; write [backends.nobody] with its engine",
            "g.toml:13: apps[0].app: `eccho` is not known; did you mean `echo`?",
            "g.toml:14: colours: unknown key; known: project_name, drain_timeout, queue, ingress, dispatcher, logging, backends, endpoints, reports, apps, api",
        ]
    );
}

#[test]
fn the_embedded_queue_is_refused_for_one_service_beside_all_other_problems() {
    let told = Config::parse_for(Some("ingress"), "g.toml", &format!("{MINIMAL}kep = 1\n"), &BTreeMap::new());
    let told: Vec<String> = told.unwrap_err().0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "g.toml:2: queue.url: the embedded queue is for one process; run `gateway`, or name a broker for `ingress`: amqp://USER:PASSWORD@HOST:5672/%2f",
            "g.toml:5: backends.b.kep: unknown key; did you mean `keep`?",
        ]
    );
    assert!(Config::parse_for(None, "g.toml", MINIMAL, &BTreeMap::new()).is_ok());
}

#[test]
fn the_end_of_the_list_counts_the_problems() {
    let told = parse("a = 1\n").unwrap_err().to_string();
    assert!(told.ends_with("\n2 problems in the configuration"), "{told}");
}

#[test]
fn a_level_that_is_none_is_told_and_not_taken_for_a_module() {
    let level = |level: &str| parse(&format!("{MINIMAL}[logging]\nlevel = '{level}'\n"));
    for none in ["loud", "hyper=debug"] {
        let told = level(none).unwrap_err().0[0].to_string();
        let expected = format!(
            "g.toml:6: logging.level: `{none}` has no level for the whole program; write error, warn, info, debug or trace"
        );
        assert_eq!(told, expected);
    }
    let told = level("info,hyper=loud").unwrap_err().to_string();
    assert!(told.contains("logging.level: ") && told.contains("write error, warn, info"), "{told}");
    for some in ["warn", "info,hyper=warn", "hyper=debug,off"] {
        level(some).unwrap();
    }
}

#[test]
fn wrong_kinds_are_told_without_the_value() {
    one_problem("concurrency = '3'", "g.toml:5: backends.b.concurrency: an integer is wanted, not a string");
    one_problem(
        "timeout = 5",
        r#"g.toml:5: backends.b.timeout: a duration is wanted, such as "500ms", "5s", "30m" or "48h""#,
    );
    one_problem("timeout = '0s'", "g.toml:5: backends.b.timeout: more than zero is wanted");
    one_problem("keep = 70000", "g.toml:5: backends.b.keep: `70000` is not between 0 and 65535");
    one_problem(
        "[ingress]\nlisten = 'localhost'",
        r#"g.toml:6: ingress.listen: an address with a port is wanted, such as "127.0.0.1:8000""#,
    );
}

#[test]
fn single_brackets_are_told_with_the_double_ones() {
    one_problem(
        "[endpoints]\nbackend = 'b'\n",
        "g.toml:5: endpoints: an array is wanted, not a table; write [[endpoints]]",
    );
    one_problem("[apps]\napp = 'echo'\n", "g.toml:5: apps: an array is wanted, not a table; write [[apps]]");
}

#[test]
fn two_endpoints_on_one_path_are_refused() {
    one_problem(
        "[[endpoints]]\nbackend = 'b'\n[[endpoints]]\nbackend = 'b'\npath = '/backend/b'\n",
        "g.toml:9: endpoints[1].path: the path `/backend/b/` is taken by the endpoint at g.toml:5; one path has one endpoint",
    );
}

#[test]
fn two_endpoints_on_one_backends_paths_are_one_problem_at_the_second() {
    one_problem(
        "[[endpoints]]\nbackend = 'b'\n[[endpoints]]\nbackend = 'b'\n",
        "g.toml:7: endpoints[1]: the path `/backends/b/` is taken by the endpoint at g.toml:5; one path has one endpoint",
    );
}

#[test]
fn a_path_that_no_request_can_have_is_refused() {
    for path in ["a", "/a//", "//a", "/a b", "/a?b", "/a#b"] {
        let told = problems(&format!("[[endpoints]]\nbackend = 'b'\npath = '{path}'\n"));
        assert_eq!(
            told,
            ["g.toml:7: endpoints[0].path: a path starts with `/` and has no space, `?`, `#`, `%` or `//`"]
        );
    }
}

#[test]
fn a_missing_auth_is_a_problem_beyond_loopback_only() {
    let endpoint = "[[endpoints]]\nbackend = 'b'\n";
    assert!(parse(&format!("{MINIMAL}{endpoint}")).is_ok());
    let public = "[ingress]\nlisten = '0.0.0.0:8000'\n";
    assert!(parse(&format!("{MINIMAL}{public}{endpoint}auth = 'none'\n")).is_ok());
    let told = problems(&format!("{public}{endpoint}"));
    assert!(told.len() == 1 && told[0].starts_with("g.toml:7: endpoints[0]: `auth` is missing"), "{told:?}");
}

#[test]
fn auth_is_read_in_each_of_its_kinds_and_half_of_one_is_refused() {
    let auth = |text: &str| {
        let endpoint = format!("{MINIMAL}[[endpoints]]\nbackend = 'b'\nauth = {text}\n");
        parse(&endpoint).map(|config| config.endpoints[0].auth.clone())
    };
    let basic = auth("{ basic = { user = 'u', password = '${SECRET}' }, allow_ips = ['10.0.0.0/8', '::1'] }")
        .unwrap();
    assert!(matches!(basic.credentials, auth::Credentials::Basic(_)));
    assert_eq!(basic.allow_ips.len(), 2);
    let token = auth("{ token = { header = 'X-Token', value = 't' } }").unwrap();
    assert!(matches!(token.credentials, auth::Credentials::Header { name, .. } if name == "x-token"));
    for half in [
        "'nobody'",
        "{}",
        "{ basic = { user = 'u' } }",
        "{ basic = { user = 'u', password = '' } }",
        "{ token = { value = 't' } }",
        "{ token = { header = 'a', parameter = 'b', value = 't' } }",
        "{ basic = { user = 'u', password = 'p' }, token = { header = 'a', value = 't' } }",
        "{ allow_ips = ['10.0.0.0/99'] }",
    ] {
        assert!(auth(half).is_err(), "{half}");
    }
}

#[test]
fn fields_must_be_declared_before_they_are_renamed() {
    let endpoint = "[[endpoints]]\nbackend = 'b'\n";
    one_problem(
        &format!(
            "{endpoint}params = {{ identity = 'phone', exta = 'x' }}\n[endpoints.fields]\nextra = {{}}\n"
        ),
        "g.toml:7: endpoints[0].params.exta: `exta` is neither a field of this form nor one of [endpoints.fields]; did you mean `extra`?",
    );
    one_problem(
        &format!("{endpoint}params = {{ identity = 'text' }}\n"),
        "g.toml:7: endpoints[0].params: `identity` and `text` are read from the same parameter",
    );
    one_problem(
        &format!("{endpoint}fields = {{ n = {{ min_length = 3, max_length = 2 }} }}\n"),
        "g.toml:7: endpoints[0].fields.n: `min_length` is above `max_length`: nothing could match",
    );
}

#[test]
fn a_keyword_that_an_earlier_app_claims_is_refused() {
    let apps = "[[apps]]\napp = 'keyword'\nkeyword = 'join|stop'\nreply = 'x'\n";
    one_problem(
        &format!("{apps}[[apps]]\napp = 'keyword'\nkeyword = 'register|JOIN'\nreply = 'y'\n"),
        "g.toml:11: apps[1].keyword: `JOIN` can never match: the app at g.toml:5 claims it before",
    );
    one_problem(
        "[[apps]]\napp = 'echo'\n[[apps]]\napp = 'echo'\n",
        "g.toml:8: apps[1].app: `echo` can never match: the app at g.toml:5 claims it before",
    );
    assert!(
        parse(&format!("{MINIMAL}{apps}[[apps]]\napp = 'keyword'\nkeyword = 'joinery'\nreply = 'y'\n"))
            .is_ok()
    );
}

#[test]
fn a_keyword_that_matches_nothing_or_everything_is_refused() {
    let told = problems("[[apps]]\napp = 'keyword'\nkeyword = 'a|'\nreply = 'x'\n");
    assert!(told[0].contains("is empty and would match every message"), "{told:?}");
    let told = problems("[[apps]]\napp = 'keyword'\nkeyword = ' a'\nreply = 'x'\n");
    assert!(told[0].contains("` a` can never match"), "{told:?}");
    let told = problems("[[apps]]\napp = 'keyword'\nkeyword = 'a('\nreply = 'x'\n");
    assert!(told[0].contains("not a valid pattern: unclosed group"), "{told:?}");
}

#[test]
fn names_in_templates_must_be_known() {
    let pattern = "[[apps]]\napp = 'pattern'\npattern = '(?<first>a)(b)'\n";
    assert!(
        parse(&format!("{MINIMAL}{pattern}reply = '{{first}} {{2}} {{0}} {{text}} {{identity}}'\n")).is_ok()
    );
    let told = problems(&format!("{pattern}reply = '{{3}} {{txt}}'\n"));
    assert_eq!(told.len(), 2);
    assert!(told[1].ends_with("apps[0].reply: `{txt}` is not known here; did you mean `text`?"), "{told:?}");
    one_problem(
        "[[apps]]\napp = 'default'\nreply = '{oops'\n",
        "g.toml:7: apps[0].reply: `{` is never closed; write `{{` for a brace",
    );
}

#[test]
fn the_environment_overrides_and_its_mistakes_are_told() {
    let environment = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
    let config = Config::parse("g", MINIMAL, &environment("GATEWAY__QUEUE__MAX_ATTEMPTS", "3")).unwrap();
    assert_eq!(config.queue.max_attempts, 3);
    let told = Config::parse("g", MINIMAL, &environment("GATEWAY__QUEUE__MAX_ATEMPTS", "3"))
        .unwrap_err()
        .to_string();
    assert!(told.contains("environment GATEWAY__QUEUE__MAX_ATEMPTS: queue.max_atempts: unknown key; did you mean `max_attempts`?"));
    let told = Config::parse("g", MINIMAL, &environment("GATEWAY__QUEUE__MAX_ATTEMPTS", "many"))
        .unwrap_err()
        .to_string();
    assert!(told.contains("an integer is wanted, not a string"), "{told}");
}

#[test]
fn the_braces_of_a_secret_are_its_own() {
    let text = format!("{MINIMAL}[[apps]]\napp = 'default'\nreply = '{{text}} ${{SECRET}}'\n");
    let secret = BTreeMap::from([("SECRET".to_owned(), "a{b}{text}".to_owned())]);
    let config = Config::parse("g", &text, &secret).unwrap();
    let App::Default { reply } = &config.apps[0] else { panic!() };
    let rendered = reply.render(|name| Some(format!("<{name}>").into()));
    assert_eq!(rendered, "<text> a{b}{text}");
}

#[test]
fn a_missing_variable_is_one_problem() {
    one_problem(
        "[backends.h]\nengine = 'http'\nurl = 'http://h/'\nheaders = { A = 'Bearer ${TOKEN}' }\n",
        "g.toml:8: backends.h.headers.A: the environment variable TOKEN is not set",
    );
}

#[test]
fn secrets_are_never_shown() {
    let text = "[queue]\nurl = 'amqp://user:s3cret-value@h/%2f'\n[backends.b]\nengine = 'http'\n\
                url = 'https://h/?key=${SECRET}'\nheaders = { X-Key = 'Bearer ${SECRET}' }\n\
                basic = { user = 'u', password = '${SECRET}' }\n[[endpoints]]\nbackend = 'b'\n\
                auth = { token = { header = 'X', value = '${SECRET}' } }\n\
                [backends.k]\nengine = 'kannel'\nsendsms_url = 'http://h/?password=${SECRET}'\n\
                sendsms_params = { user = '${SECRET}' }\n\
                [backends.v]\nengine = 'vumi'\nsendsms_url = 'http://h/?key=${SECRET}'\n\
                sendsms_user = 'u'\nsendsms_pass = '${SECRET}'\nsendsms_params = { key = '${SECRET}' }\n\
                [backends.t]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = '${SECRET}'\nfrom = '1'\n";
    let shown = format!("{:?}", parse(text).unwrap());
    assert!(!shown.contains("s3cret-value"), "{shown}");
    let wrong = text.replace("'https://h", "'htps://h{x}").replace("Bearer", "{").replace("amqp:", "ampq:");
    let told = parse(&wrong).unwrap_err().to_string();
    assert!(told.contains("queue.url") && !told.contains("s3cret-value"), "{told}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\[+[a-z.]{1,9}\\]+|[a-z]{1,9} ?= ?[\"'{\\[]?[a-z0-9${}]{0,9}[\"'}\\]]?|\n){0,12}") {
        drop(parse(&text));
    }
}
