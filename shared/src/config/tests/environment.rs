//! What comes from the environment: it can set every kind of value, and a problem never repeats it.

use super::*;

/// The problems of `text`, in which `${PATH}` and `${SECRET}` are known, added to the minimal configuration.
fn told(text: &str) -> Vec<String> {
    let variables = [("PATH", "/root"), ("SECRET", "s3cret")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let parsed = Config::parse("g.toml", &format!("{MINIMAL}{text}"), &BTreeMap::from(variables));
    let Err(problems) = parsed else { panic!("no problem in {text}") };
    problems.0.iter().map(ToString::to_string).collect()
}

#[test]
fn what_a_reference_stands_for_is_never_told() {
    let endpoint = "[[endpoints]]\nbackend = 'b'\n";
    let wrong = [
        ("on_unknown = '${SECRET}'\n", "this value is not known; known: dead-letter, resend"),
        ("[[endpoints]]\nbackend = 'x${SECRET}'\n", "this value is the name of no backend; known: b"),
        (&format!("{endpoint}charset = '${{SECRET}}'\n"), "this value is no charset"),
        (
            &format!("{endpoint}path = '${{PATH}}'\n{endpoint}path = '${{PATH}}'\n"),
            "the path in this value is taken by the endpoint at g.toml:5",
        ),
        ("[[apps]]\napp = 'keyword'\nkeyword = ' ${SECRET}'\nreply = 'x'\n", "this value can never match"),
        ("[[apps]]\napp = 'default'\nreply = '{x${SECRET}}'\n", "no `${..}` within a name"),
        (
            &format!("{endpoint}params = {{ identity = '${{SECRET}}', text = '${{SECRET}}' }}\n"),
            "`identity` and `text` are read from the same parameter",
        ),
    ];
    for (text, expected) in wrong {
        let told = told(text);
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
        assert!(!told[0].contains("s3cret") && !told[0].contains("/root"), "{told:?}");
    }
}

#[test]
fn a_claimed_keyword_is_never_told_when_it_is_a_secret() {
    let app = |keyword: &str| format!("[[apps]]\napp = 'keyword'\nkeyword = '{keyword}'\nreply = 'x'\n");
    let told = told(&format!("{}{}", app("${SECRET}"), app("a|s3cret")));
    assert_eq!(
        told,
        ["g.toml:11: apps[1].keyword: `s3cret` can never match: the app at g.toml:5 claims it before"]
    );
}

/// The problems of the minimal configuration with `variable` set.
fn overridden(variable: &str, value: &str) -> String {
    let text = format!("{MINIMAL}[[apps]]\napp = 'default'\n");
    let environment = BTreeMap::from([(variable.to_owned(), value.to_owned())]);
    Config::parse("g.toml", &text, &environment).unwrap_err().to_string()
}

#[test]
fn what_the_environment_sets_is_never_told() {
    let wrong = [
        ("GATEWAY__BACKENDS__B__ENGINE", "s3cret", "this value is not known"),
        ("GATEWAY__BACKENDS__B__KEEP", "70000", "this value is not between 0 and 65535"),
        ("GATEWAY__APPS__0__REPLY", "{s3cret}", "a name in this value is not known here"),
        ("GATEWAY__APPS__0__REPLY", "{s3cret word}", "its braces are no names"),
    ];
    for (variable, value, expected) in wrong {
        let told = overridden(variable, value);
        assert!(told.contains(expected) && !told.contains("70000") && !told.contains("s3cret"), "{told}");
    }
}

fn with(variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let text =
        format!("{MINIMAL}[[endpoints]]\nbackend = 'b'\n[backends.h]\nengine = 'http'\nurl = 'http://h/'\n");
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse("g.toml", &text, &variables.collect())
}

#[test]
fn arrays_and_tables_are_written_as_toml() {
    let config = with(&[
        ("GATEWAY__QUEUE__RETRY", r#"["5s", "30s"]"#),
        ("GATEWAY__QUEUE__RETRY__1", "60s"),
        ("GATEWAY__ENDPOINTS__0__AUTH", r#"{ basic = { user = "u", password = "${PASSWORD}" } }"#),
        ("GATEWAY__BACKENDS__H__JSON", r#"{ to = "{identity} ${PASSWORD}" }"#),
        ("GATEWAY__APPS", r#"[{ app = "pattern", pattern = "[0-9]", reply = "[1]" }]"#),
        ("PASSWORD", "\"{x}\" }"),
    ])
    .unwrap();
    assert_eq!(config.queue.retry, [5, 60].map(Duration::from_secs));
    let auth::Credentials::Basic(basic) = &config.endpoints[0].auth.credentials else { panic!() };
    assert_eq!(secrecy::ExposeSecret::expose_secret(&basic.password), "\"{x}\" }");
    let App::Pattern { pattern, .. } = &config.apps[0] else { panic!() };
    assert!(pattern.captures("5").is_some());
}

#[test]
fn a_text_that_looks_like_an_array_is_a_text_where_one_is_wanted() {
    let config = with(&[("GATEWAY__PROJECT_NAME", "[1, 2]")]).unwrap();
    assert_eq!(config.project_name, "[1, 2]");
}

#[test]
fn what_is_not_toml_is_told_with_an_example() {
    let told = |variable: &str, value: &str| with(&[(variable, value)]).unwrap_err().0[0].to_string();
    for wrong in ["5s, 30s", "[5s]", "[1979-05-27]"] {
        assert_eq!(
            told("GATEWAY__QUEUE__RETRY", wrong),
            r#"environment GATEWAY__QUEUE__RETRY: queue.retry: an array is wanted, written as TOML: ["5s", "30s"]"#
        );
    }
    assert_eq!(
        told("GATEWAY__ENDPOINTS__0__ANSWER", "status = 201"),
        r#"environment GATEWAY__ENDPOINTS__0__ANSWER: endpoints[0].answer: a table is wanted, written as TOML: { key = "value" }"#
    );
    assert!(told("GATEWAY__QUEUE__RETRY", r#"["${NOWHERE}"]"#).contains("NOWHERE is not set"));
}
