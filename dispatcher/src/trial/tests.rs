//! What is told of whole configurations, as golden files.

use std::{fs, path::Path};

use proptest::prelude::*;
use shared::message::Identity;

use super::*;
use crate::apps::{App, Claim, Context, Draft, Outgoing, Step};

const ECHO: &str =
    "[[apps]]\napp = 'echo'\n[[apps]]\napp = 'default'\nreply = 'Not \u{201c}understood\u{201d}.'\n";

const KANNEL: &str = "[backends.b]\nengine = 'kannel'\nsplit = true\n\
    sendsms_params = { smsc = 'FAKE', username = 'rapidsms', password = 'a&b c' }\n";

const TWILIO: &str =
    "[backends.b]\nengine = 'twilio'\naccount_sid = 'AC1'\nauth_token = 'secret'\nfrom = '123'\n";

const HTTP: &str = "[backends.b]\nengine = 'http'\nurl = 'https://sms.example.org/v1/secret/send'\nsubstitute = true\n\
    json = { key = 'secret', text = '{text}', to = ['{identity}'] }\nheaders = { Authorization = 'Bearer secret' }\n";

const TESTER: &str = "[backends.b]\nengine = 'httptester'\n";

const HOOKS: &str = "[[apps]]\napp = 'forward'\nurl = 'http://archive.example.org/?key=secret'\nphases = ['parse', 'outgoing']\ntimeout = '1s'\n\
    [[apps]]\napp = 'webhook'\nurl = 'http://127.0.0.1:9/secret'\nsecret = 'secret'\nheaders = { X-Key = 'secret' }\n";

fn config(text: &str) -> Config {
    let text = format!("[queue]\nurl = 'embedded:x'\n[[endpoints]]\nbackend = 'b'\n{text}");
    Config::parse("test", &text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

fn trial(text: &str) -> Trial {
    Trial {
        backend: "b".parse().unwrap(),
        from: "+1112223333".to_owned(),
        fields: vec![("external_id".to_owned(), "9".to_owned())],
        show_secrets: false,
        call_apps: false,
        text: text.to_owned(),
    }
}

async fn told(config_text: &str, trial: &Trial, apps: apps::Build) -> String {
    run(&config(config_text), trial, apps, UnixMillis(1_795_392_000_000)).await.unwrap()
}

#[track_caller]
fn assert_golden(name: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trial").join(name);
    let expected = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(actual, expected, "{}", file.display());
}

#[tokio::test]
async fn golden_trials() {
    let arabic = format!("echo {}", "\u{645}\u{631}\u{62d}\u{628}\u{627} ".repeat(12));
    let guard = "[[apps]]\napp = 'loop-guard'\nmax_messages = 1\nmax_repeats = 1\n";
    for (file, text, message) in [
        ("kannel_arabic_in_two_parts", format!("{KANNEL}{ECHO}"), arabic.trim()),
        ("kannel_in_a_coding", format!("{KANNEL}coding = 2\n{ECHO}"), &format!("echo {}", "x".repeat(71))),
        ("twilio", format!("{TWILIO}{ECHO}"), "ECHO a & b"),
        ("http_json", format!("{HTTP}{ECHO}"), "what?"),
        ("unclaimed", format!("{TESTER}{guard}[[apps]]\napp = 'ping'\n"), "hello"),
        ("webhook", format!("{TESTER}{HOOKS}{ECHO}"), "echo hello"),
        ("refused", format!("{KANNEL}max_parts = 2\n{ECHO}"), &format!("echo {}", "x".repeat(307))),
        ("refused_by_the_engine", format!("{TWILIO}{ECHO}"), &format!("echo {}", "x".repeat(1601))),
    ] {
        let told = told(&text, &trial(message), apps::build).await;
        assert!(!told.replace("--show-secrets", "").contains("secret"), "{told}");
        assert_golden(&format!("{file}.txt"), &told);
    }
}

/// Does in its phase what the text says.
struct Odd;

impl App for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, apps::Filter> {
        let stops = context.message.text == "stop";
        Step::ready(if stops { apps::Filter::Stop } else { apps::Filter::Pass })
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        if context.message.text == "fail" {
            return Step::Ready(Err("no database".into()));
        }
        let people = ["1", "2", "1"].map(Identity::from).to_vec();
        context.send("b".parse().unwrap(), people, "to two");
        context.send("c".parse().unwrap(), vec!["3".into()], "elsewhere");
        context.respond("cancel\n\u{1b}[2Jit");
        Step::ready(Claim::Handled)
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        Step::ready(if draft.text().starts_with("cancel") { Outgoing::Cancel } else { Outgoing::Send })
    }
}

#[tokio::test]
async fn apps_of_a_programs_own_are_told_of_as_well() {
    let odd: apps::Build = |_, _| Ok(vec![Box::new(Odd)]);
    for (file, message) in [("cancelled", "x"), ("filtered", "stop"), ("failed", "fail")] {
        assert_golden(&format!("{file}.txt"), &told(TESTER, &trial(message), odd).await);
    }
}

#[tokio::test]
async fn secrets_are_shown_when_asked_for() {
    for (file, text) in [("twilio_with_secrets", TWILIO), ("http_json_with_secrets", HTTP)] {
        let trial = Trial { show_secrets: true, ..trial("echo hello") };
        assert_golden(&format!("{file}.txt"), &told(&format!("{text}{ECHO}"), &trial, apps::build).await);
    }
}

/// Every value is hidden, that of the header which cannot be sent too.
#[tokio::test]
async fn what_is_hidden_is_judged_all_the_same() {
    let backend = "[backends.b]\nengine = 'http'\nurl = 'https://h/'\nheaders = { A = \"sec\\nret\" }\n";
    let told = told(&format!("{backend}{ECHO}"), &trial("echo hello"), apps::build).await;
    let refused = "refused    rejected: the header A cannot be made with this message's values\n";
    assert!(told.ends_with(refused) && !told.contains("ret"), "{told}");
}

/// Nobody listens on the port 9 of the webhook's URL.
#[tokio::test]
async fn apps_are_called_when_asked_for() {
    let hook = "[[apps]]\napp = 'webhook'\nurl = 'http://127.0.0.1:9/secret'\n";
    let trial = Trial { call_apps: true, ..trial("hello") };
    let told = told(&format!("{TESTER}{hook}"), &trial, apps::build).await;
    assert!(
        told.contains("failed     the app `webhook 127.0.0.1:9` failed in handle: no connection"),
        "{told}"
    );
    assert!(told.ends_with("; nothing is sent, and it is tried again later\n"), "{told}");
    assert!(!told.contains("not called"), "{told}");
}

#[tokio::test]
async fn what_the_configuration_does_not_have_is_told() {
    let text = format!("{TESTER}[backends.unheard]\nengine = 'httptester'\n");
    let unheard = Trial { backend: "unheard".parse().unwrap(), ..trial("x") };
    let told = told(&text, &unheard, apps::build).await;
    assert!(told.contains("no endpoint of the configuration takes messages for unheard\n"), "{told}");
    let unknown = Trial { backend: "B".parse().unwrap(), ..trial("x") };
    let failure = run(&config(&text), &unknown, apps::build, UnixMillis(0)).await.unwrap_err();
    let expected = "there is no backend `B`; give --backend one of the configuration's: b, unheard";
    assert_eq!((failure.exit, failure.message.as_str()), (Exit::Usage, expected));
}

proptest! {
    // Each makes HTTP clients, which takes its time.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_text_and_no_number_can_move_a_terminal(text in any::<String>(), from in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let trial = Trial { from, ..trial(&format!("echo {text}")) };
        for backend in [TESTER, KANNEL, TWILIO, HTTP] {
            let told = runtime.block_on(told(&format!("{backend}{ECHO}"), &trial, apps::build));
            prop_assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{told:?}");
        }
    }
}
