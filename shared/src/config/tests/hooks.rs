//! The apps that call a URL, and the guard: their defaults, and what is refused.

use super::*;
use crate::config::apps::{
    Phase,
    hook::{Hook, OnError},
};

/// The only app of this configuration.
fn app(keys: &str) -> App {
    parse(&format!("{MINIMAL}[[apps]]\n{keys}")).unwrap().apps.remove(0)
}

fn hook(keys: &str) -> Hook {
    let (App::Webhook(hook) | App::Forward(hook)) = app(keys) else { panic!("{keys}") };
    *hook
}

#[test]
fn a_webhook_needs_its_url_only() {
    let hook = hook("app = 'webhook'\nurl = 'https://example.org:8443/sms?key=K'\n");
    assert_eq!(hook.url.get().as_str(), "https://example.org:8443/sms?key=K");
    assert_eq!((hook.url.peer(), hook.timeout), ("example.org:8443", Duration::from_secs(10)));
    assert_eq!((&hook.phases[..], hook.on_error), (&[Phase::Handle][..], OnError::Retry));
    assert!(hook.secret.is_none() && hook.headers.is_empty());
    let shown = format!("{hook:?}");
    assert!(!shown.contains("key=K"), "{shown}");
}

#[test]
fn the_apps_that_call_one_host_are_counted() {
    let text = "[[apps]]\napp = 'webhook'\nurl = 'http://h/a'\ntimeout = '1s'\n\
                [[apps]]\napp = 'webhook'\nurl = 'http://h:81/a'\ntimeout = '1s'\n\
                [[apps]]\napp = 'forward'\nurl = 'http://h/b'\ntimeout = '1s'\n";
    let config = parse(&format!("{MINIMAL}{text}")).unwrap();
    let number = |app: &App| {
        let (App::Webhook(hook) | App::Forward(hook)) = app else { panic!("{app:?}") };
        hook.number
    };
    assert_eq!(config.apps.iter().map(number).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn a_forward_copies_what_comes_in_unless_it_shall_copy_more() {
    assert_eq!(hook("app = 'forward'\nurl = 'http://h/'\n").phases, [Phase::Parse]);
    let keys = "app = 'forward'\nurl = 'http://h/'\nphases = ['outgoing', 'parse']\non_error = 'ignore'\n";
    let hook = hook(keys);
    assert_eq!((&hook.phases[..], hook.on_error), (&[Phase::Outgoing, Phase::Parse][..], OnError::Ignore));
    one_problem(
        "[[apps]]\napp = 'forward'\nurl = 'http://h/'\nphases = ['handle']\n",
        "g.toml:8: apps[0].phases: `handle` is not among its phases: parse, outgoing, report",
    );
}

#[test]
fn a_hook_that_cannot_be_called_is_refused() {
    for (keys, expected) in [
        ("", "g.toml:5: apps[0]: `url` is missing"),
        ("url = 'example.org/sms'", "g.toml:7: apps[0].url: an http:// or https:// URL is wanted"),
        ("url = 'ftp://h/'", "g.toml:7: apps[0].url: an http:// or https:// URL is wanted"),
        (
            "url = 'http://u:p@h/'",
            "g.toml:7: apps[0].url: a user and a password in the URL would not be sent; write them in their own keys, or headers",
        ),
        (
            "url = 'http://h/#x'",
            "g.toml:7: apps[0].url: what follows `#` in the URL would not be sent; write `%23` if it belongs to it",
        ),
        (
            "url = 'http://h/'\nphases = ['outgoing']\non_error = 'retry'",
            "g.toml:9: apps[0].on_error: `retry` has no effect: in `outgoing`, a message that a call fails for is sent as it is",
        ),
        (
            "url = 'http://h/'\nheaders = { X-Gateway-Attempt = 'a' }",
            "g.toml:8: apps[0].headers.X-Gateway-Attempt: every call has this header already, with a value of the gateway's",
        ),
        (
            "url = 'http://h/'\nphases = ['handel']",
            "g.toml:8: apps[0].phases[0]: `handel` is not known; did you mean `handle`?",
        ),
        (
            "url = 'http://h/'\nphases = []",
            "g.toml:8: apps[0].phases: at least one phase is wanted, else it is never called",
        ),
        (
            "url = 'http://h/'\nphases = ['handle', 'handle']",
            "g.toml:8: apps[0].phases: `handle` is named twice",
        ),
        ("url = 'http://h/'\nsecret = ''", "g.toml:8: apps[0].secret: the secret is empty"),
        (
            "url = 'http://h/'\nheaders = { 'X Y' = 'a' }",
            "g.toml:8: apps[0].headers.X Y: not a valid header name",
        ),
        (
            "url = 'http://h/'\nheaders = { Idempotency-Key = 'a' }",
            "g.toml:8: apps[0].headers.Idempotency-Key: every call has this header already, with a value of the \
             gateway's",
        ),
        (
            "url = 'http://h/'\nheaders = { X = \"a\\nb\" }",
            "g.toml:8: apps[0].headers.X: printable ASCII is wanted",
        ),
        (
            "url = 'http://h/'\non_error = 'drop'",
            "g.toml:8: apps[0].on_error: `drop` is not known; known: retry, ignore",
        ),
    ] {
        one_problem(&format!("[[apps]]\napp = 'webhook'\n{keys}\n"), expected);
    }
}

#[test]
fn all_calls_for_a_message_have_less_time_than_the_apps() {
    let webhooks = |timeouts: &[&str]| -> String {
        let webhook =
            |timeout: &&str| format!("[[apps]]\napp = 'webhook'\nurl = 'http://h/'\ntimeout = '{timeout}'\n");
        timeouts.iter().map(webhook).collect()
    };
    assert!(parse(&format!("{MINIMAL}{}", webhooks(&["14s", "15s"]))).is_ok());
    // Told once, of the app that is too much.
    one_problem(
        &webhooks(&["14s", "16s", "1s"]),
        "g.toml:12: apps[1].timeout: with this app, the calls for one message may take 30s; less than \
         dispatcher.app_timeout (30s) is wanted",
    );
    one_problem(
        "[[apps]]\napp = 'webhook'\nurl = 'http://h/'\nphases = ['filter', 'handle', 'cleanup']\n",
        "g.toml:5: apps[0].timeout: with this app, the calls for one message may take 30s; less than \
         dispatcher.app_timeout (30s) is wanted",
    );
    // A reply has the time anew, for those who are asked about it.
    let phases = "app = 'webhook'\nurl = 'http://h/'\nphases = ['filter', 'handle', 'outgoing']\n";
    assert_eq!(hook(phases).phases.len(), 3);
    one_problem(
        &"[[apps]]\napp = 'webhook'\nurl = 'http://h/'\nphases = ['outgoing']\n".repeat(3),
        "g.toml:13: apps[2].timeout: with this app, the calls for one reply may take 30s; less than \
         dispatcher.app_timeout (30s) is wanted",
    );
    assert!(
        parse(&format!("{MINIMAL}[dispatcher]\napp_timeout = '40s'\n{}", webhooks(&["20s", "19s"]))).is_ok()
    );
}

#[test]
fn a_webhook_behind_the_default_app_never_has_its_default_phase() {
    let with = |phases: &str| {
        format!(
            "[[apps]]\napp = 'default'\n[[apps]]\napp = 'webhook'\nurl = 'http://h/'\nphases = {phases}\n"
        )
    };
    assert!(parse(&format!("{MINIMAL}{}", with("['handle']"))).is_ok());
    one_problem(
        &with("['handle', 'default']"),
        "g.toml:10: apps[1].phases: `default` can never be reached: the `default` app at g.toml:5 claims every message",
    );
}

#[test]
fn the_guards_limits_can_be_reached() {
    let App::LoopGuard(guard) = app("app = 'loop-guard'\n") else { panic!() };
    let limits = (guard.window, guard.max_messages, guard.max_repeats);
    assert_eq!(limits, (Duration::from_secs(600), 30, 10));
    assert!(matches!(app("app = 'loop-guard'\nmax_messages = 5\n"), App::LoopGuard(_)));
    for (keys, expected) in [
        ("window = '0s'", "g.toml:7: apps[0].window: more than zero is wanted"),
        ("max_messages = 0", "g.toml:7: apps[0].max_messages: 1 to 1000 is wanted"),
        ("max_repeats = 1001", "g.toml:7: apps[0].max_repeats: 1 to 1000 is wanted"),
        ("max_repeats = 31", "g.toml:7: apps[0].max_repeats: can never be reached: `max_messages` is 30"),
        ("max_repeat = 3", "g.toml:7: apps[0].max_repeat: unknown key; did you mean `max_repeats`?"),
    ] {
        one_problem(&format!("[[apps]]\napp = 'loop-guard'\n{keys}\n"), expected);
    }
}
