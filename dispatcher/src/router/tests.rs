use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex},
};

use proptest::prelude::*;
use shared::{clock::UnixMillis, config::Config, message::MessageId};

use super::*;
use crate::{
    apps::{self, Step},
    engines::calls::Calls,
};

mod outgoing;

mod partial;

fn incoming(text: &str) -> IncomingMessage {
    IncomingMessage {
        id: MessageId(uuid::Uuid::from_u128(7)),
        accepted_at: UnixMillis(1),
        backend: "b".parse().unwrap(),
        identity: "1112223333".into(),
        text: text.to_owned(),
        fields: BTreeMap::from([("external_id".to_owned(), "9".to_owned())]),
        no_reply: false,
    }
}

/// Notes its phases, and does in one of them what it was told.
struct Probe {
    name: &'static str,
    acts_in: &'static str,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Probe {
    /// True when the probe acts in this phase; then it has also replied.
    fn act(&self, phase: &str, context: &mut Context<'_>) -> bool {
        self.seen.lock().unwrap().push(format!("{} {phase}", self.name));
        if self.acts_in == phase {
            context.respond(format!("{} in {phase}", self.name));
        }
        self.acts_in == phase
    }
}

impl App for Probe {
    fn name(&self) -> &str {
        self.name
    }

    fn filter<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Filter> {
        Step::ready(if self.act("filter", context) { Filter::Stop } else { Filter::Pass })
    }

    fn parse<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        if self.acts_in == "fail" {
            return Step::later(async { Err("no database".into()) });
        }
        self.act("parse", context);
        Step::ready(())
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let claim = if self.act("handle", context) { Claim::Handled } else { Claim::Passed };
        Step::later(async move { Ok(claim) })
    }

    fn default<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        Step::ready(if self.act("default", context) { Claim::Handled } else { Claim::Passed })
    }

    fn cleanup<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, ()> {
        self.act("cleanup", context);
        Step::ready(())
    }

    fn outgoing<'a>(&'a self, draft: &'a mut Draft) -> Step<'a, Outgoing> {
        draft.set_text(format!("{}{}", draft.text(), self.name));
        match self.acts_in {
            "cancel" => Step::ready(Outgoing::Cancel),
            "fail outgoing" => Step::Ready(Err("broken".into())),
            _ => Step::ready(Outgoing::Send),
        }
    }
}

/// Routes "x" through apps that act in the phases given, and tells the outcome, the texts of the replies, and what ran.
async fn route(acts_in: &[&'static str]) -> (String, Vec<String>, Vec<String>) {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let names = ["A", "B", "C"];
    let probe = |(name, acts_in): (&&'static str, &&'static str)| {
        Box::new(Probe { name, acts_in, seen: Arc::clone(&seen) }) as Box<dyn App>
    };
    let apps = Router::new(names.iter().zip(acts_in).map(probe).collect(), &config(""));
    let (outcome, replies) = match apps.route(incoming("x"), 1).await {
        Ok(Routed { outcome, replies, cancelled, .. }) => {
            let mut outcome = format!("{outcome:?}");
            for Cancelled { app, draft } in cancelled {
                write!(outcome, ", cancelled by {app}: {}", draft.text()).unwrap();
            }
            (outcome, replies.into_iter().map(|reply| reply.text).collect())
        }
        Err(error) => (format!("{error}: {}", error.source), Vec::new()),
    };
    let seen = seen.lock().unwrap().clone();
    (outcome, replies, seen)
}

#[tokio::test]
async fn phases_run_in_order_and_each_over_all_apps() {
    let (outcome, _, seen) = route(&["", ""]).await;
    assert_eq!(outcome, "Unclaimed");
    let expected = ["filter", "parse", "handle", "default", "cleanup"];
    let expected: Vec<String> =
        expected.iter().flat_map(|phase| [format!("A {phase}"), format!("B {phase}")]).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_filtered_message_reaches_nothing_else_and_its_replies_are_sent() {
    let (outcome, replies, seen) = route(&["", "filter", ""]).await;
    assert_eq!(outcome, r#"Filtered("B")"#);
    assert_eq!(seen, ["A filter", "B filter"]);
    assert_eq!(replies, ["B in filterCBA"]);
}

#[tokio::test]
async fn the_first_app_that_handles_ends_the_phase_and_cleanup_still_runs() {
    let (outcome, replies, seen) = route(&["handle", "handle", "default"]).await;
    assert_eq!(outcome, r#"Handled { app: "A", phase: Handle }"#);
    assert_eq!(replies, ["A in handleCBA"]);
    assert!(
        !seen.contains(&"B handle".to_owned()) && !seen.iter().any(|line| line.contains("default")),
        "{seen:?}"
    );
    assert!(
        ["A cleanup", "B cleanup", "C cleanup"].iter().all(|line| seen.contains(&(*line).to_owned())),
        "{seen:?}"
    );
}

#[tokio::test]
async fn the_first_app_that_defaults_ends_that_phase() {
    let (outcome, replies, _) = route(&["", "default", "default"]).await;
    assert_eq!(
        (outcome.as_str(), replies),
        (r#"Handled { app: "B", phase: Default }"#, vec!["B in defaultCBA".to_owned()])
    );
}

#[tokio::test]
async fn replies_of_every_phase_are_sent_in_order() {
    let (_, replies, _) = route(&["parse", "handle", "cleanup"]).await;
    assert_eq!(replies, ["A in parseCBA", "B in handleCBA", "C in cleanupCBA"]);
}

#[tokio::test]
async fn outgoing_runs_in_reverse_may_cancel_and_an_app_that_fails_changes_nothing() {
    let (outcome, replies, _) = route(&["handle", "cancel", ""]).await;
    assert_eq!(outcome, r#"Handled { app: "A", phase: Handle }, cancelled by B: A in handleC"#);
    assert_eq!(replies, Vec::<String>::new());
    // What it had changed before it failed is undone.
    assert_eq!(route(&["handle", "fail outgoing", ""]).await.1, ["A in handleCA"]);
}

fn submitted(recipients: u16) -> SubmittedMessage {
    SubmittedMessage {
        id: MessageId(uuid::Uuid::from_u128(8)),
        submission: MessageId(uuid::Uuid::from_u128(9)),
        caller: "survey".to_owned(),
        accepted_at: UnixMillis(1),
        backend: "b".parse().unwrap(),
        identities: (0..recipients).map(|number| number.to_string().into()).collect(),
        text: "news".to_owned(),
        fields: BTreeMap::from([("sender".to_owned(), "CLINIC".to_owned())]),
    }
}

#[tokio::test]
async fn what_is_submitted_runs_through_outgoing_alone() {
    let seen = Arc::<Mutex<Vec<String>>>::default();
    let probe = |name, acts_in| Box::new(Probe { name, acts_in, seen: Arc::clone(&seen) }) as Box<dyn App>;
    let router = Router::new(vec![probe("A", "filter"), probe("B", "")], &config(""));
    let messages = router.submit(submitted(200)).await;
    let [message] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((message.text.as_str(), message.identities.len()), ("newsBA", 200));
    assert_eq!((message.id, message.in_response_to), (submitted(1).id, None));
    assert_eq!((message.accepted_at, message.fields["sender"].as_str()), (UnixMillis(1), "CLINIC"));
    assert!(seen.lock().unwrap().is_empty());
    let router = Router::new(vec![probe("A", "cancel")], &config(""));
    assert!(router.submit(submitted(1)).await.is_empty());
}

#[tokio::test]
async fn a_failing_app_is_named_with_its_phase() {
    let (outcome, replies, _) = route(&["handle", "fail"]).await;
    assert_eq!((outcome.as_str(), replies.len()), ("the app `B` failed in parse: no database", 0));
}

/// Sends one text to many, some of them twice.
struct Bulk;

impl App for Bulk {
    fn name(&self) -> &'static str {
        "bulk"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        let identities = (0..450).map(|number| (number % 401).to_string().into()).collect();
        context.send("other".parse().unwrap(), identities, "news");
        context.send("other".parse().unwrap(), Vec::new(), "to nobody");
        Step::ready(Claim::Handled)
    }
}

#[tokio::test]
async fn many_recipients_are_cut_into_batches_each_once() {
    let router = Router::new(vec![Box::new(Bulk)], &config(""));
    let replies = router.route(incoming("x"), 1).await.unwrap().replies;
    assert_eq!(replies.iter().map(|reply| reply.identities.len()).collect::<Vec<_>>(), [200, 200, 1]);
    let mut ids: Vec<_> = replies.iter().map(|reply| reply.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    assert!(
        replies.iter().all(|reply| reply.backend.as_str() == "other" && reply.fields["external_id"] == "9")
    );
}

/// Answers the sender, and tells the same to others: one who has the same number on another backend, and a third.
struct Tells;

impl App for Tells {
    fn name(&self) -> &'static str {
        "tells"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        context.respond("goodbye");
        let sender = context.message.identity.clone();
        context.send("other".parse().unwrap(), vec![sender.clone()], "it is over");
        context.send("b".parse().unwrap(), vec![sender, "3".into()], "it is over");
        Step::ready(Claim::Handled)
    }
}

#[tokio::test]
async fn who_cannot_be_answered_is_not_and_others_are_told_all_the_same() {
    let apps = Router::new(vec![Box::new(Tells)], &config(""));
    let closed = IncomingMessage { no_reply: true, ..incoming("x") };
    let Routed { outcome, replies, dropped, .. } = apps.route(closed, 1).await.unwrap();
    assert_eq!((outcome, dropped), (Outcome::Handled { app: "tells", phase: Phase::Handle }, 2));
    let told: Vec<_> = replies.iter().map(|reply| (reply.backend.as_str(), &reply.identities[..])).collect();
    assert_eq!(told, [("other", &["1112223333".into()][..]), ("b", &["3".into()])]);

    let open = apps.route(incoming("x"), 1).await.unwrap();
    assert_eq!((open.dropped, open.replies.len()), (0, 3));
}

/// The project `P` with these `apps`.
fn config(apps: &str) -> Config {
    let config = format!("project_name = 'P'\n[queue]\nurl = 'embedded:x'\n{apps}");
    Config::parse("test", &config, &BTreeMap::new()).unwrap()
}

/// What the configured `apps` reply to `text`.
async fn reply(apps: &str, text: &str) -> Option<String> {
    let config = config(apps);
    let router = Router::new(apps::build(&config, &Calls::Made).unwrap(), &config);
    let replies = router.route(incoming(text), 1).await.unwrap().replies;
    assert!(replies.len() <= 1);
    replies.into_iter().next().map(|reply| reply.text)
}

#[tokio::test]
async fn echo_and_ping_answer_as_rapidsms() {
    let apps = "[[apps]]\napp = 'echo'\n[[apps]]\napp = 'ping'\n";
    for (text, expected) in [
        ("echo hello", Some("hello")),
        ("ECHO, a\nb", Some("a\nb")),
        ("echo", Some("To echo some text, send: ECHO <ANYTHING>")),
        ("echoes of you", None),
        ("ping", Some("pong")),
        ("Ping", None),
        ("ping me", None),
    ] {
        assert_eq!(reply(apps, text).await.as_deref(), expected, "{text:?}");
    }
}

#[tokio::test]
async fn a_keyword_answers_with_help_or_with_its_reply() {
    let apps = "[[apps]]\napp = 'keyword'\nkeyword = 'register|reg|join'\nhelp = 'send JOIN <NAME>'\n\
                reply = 'Thank you, {text}! {identity} {backend} {project_name}'\n\
                [[apps]]\napp = 'keyword'\nkeyword = 'stop'\nreply = 'Stopped.{text}'\n";
    assert_eq!(reply(apps, "JOIN").await.as_deref(), Some("send JOIN <NAME>"));
    assert_eq!(reply(apps, "reg Bob").await.as_deref(), Some("Thank you, Bob! 1112223333 b P"));
    assert_eq!(reply(apps, "joinery").await, None);
    assert_eq!(reply(apps, "stop").await.as_deref(), Some("Stopped."));
}

#[tokio::test]
async fn a_pattern_answers_with_its_groups() {
    let apps = "[[apps]]\napp = 'pattern'\npattern = '^(\\d+) plus (?<second>\\d+)( now)?$'\n\
                reply = '{1}+{second}[{3}] of {text}'\n[[apps]]\napp = 'pattern'\npattern = 'b'\nreply = 'B'\n";
    assert_eq!(reply(apps, "1 PLUS 2").await.as_deref(), Some("1+2[] of 1 PLUS 2"));
    assert_eq!(
        reply(apps, "\u{661} plus \u{662}").await.as_deref(),
        Some("\u{661}+\u{662}[] of \u{661} plus \u{662}")
    );
    assert_eq!(reply(apps, "Bar").await.as_deref(), Some("B"));
    assert_eq!(reply(apps, "a b").await, None);
}

#[tokio::test]
async fn the_default_names_the_project_and_comes_after_all_handlers() {
    let apps = "[[apps]]\napp = 'default'\n[[apps]]\napp = 'ping'\n";
    assert_eq!(reply(apps, "?").await.as_deref(), Some("Sorry, P could not understand your message."));
    assert_eq!(reply(apps, "ping").await.as_deref(), Some("pong"));
}

proptest! {
    #[test]
    fn no_text_panics_and_echo_gives_back_what_it_got(text in any::<String>(), rest in "[^\\s,;:][^\u{0}]*") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all = "[[apps]]\napp = 'echo'\n[[apps]]\napp = 'keyword'\nkeyword = 'a.b|c+'\nreply = '{text}'\n\
                   [[apps]]\napp = 'pattern'\npattern = '(.)(x)?'\nreply = '{1}{2}'\n[[apps]]\napp = 'default'\n";
        drop(runtime.block_on(reply(all, &text)));
        prop_assert_eq!(runtime.block_on(reply(all, &format!("echo {rest}"))), Some(rest));
    }
}
