use std::collections::BTreeMap;

use proptest::prelude::*;
use shared::config::{App as Configured, Config};

use super::*;

/// A guard with these keys.
fn guard(keys: &str) -> LoopGuard {
    let text = format!("[queue]\nurl = 'embedded:x'\n[[apps]]\napp = 'loop-guard'\n{keys}");
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let [Configured::LoopGuard(settings)] = &config.apps[..] else { panic!() };
    LoopGuard::new(settings.clone())
}

/// A message of `identity`, accepted after so many seconds.
fn message(identity: &str, text: &str, seconds: u64) -> IncomingMessage {
    IncomingMessage {
        id: MessageId::new(),
        accepted_at: UnixMillis(1_795_392_000_000 + seconds * 1000),
        backend: "b".parse().unwrap(),
        identity: identity.into(),
        text: text.to_owned(),
        fields: BTreeMap::new(),
        no_reply: false,
    }
}

/// Whether a message is answered.
fn answers(guard: &LoopGuard, message: &IncomingMessage) -> bool {
    guard.judge(message) == Verdict::Answer
}

/// How many of so many messages, one a second, are answered.
fn answered(guard: &LoopGuard, count: u64, text: impl Fn(u64) -> String) -> usize {
    (0..count).filter(|second| answers(guard, &message("1", &text(*second), *second))).count()
}

#[test]
fn by_default_a_person_is_answered_and_a_robot_is_not() {
    let same = |_| "I am out of office".to_owned();
    assert_eq!(answered(&guard(""), 60, same), 10);
    assert_eq!(answered(&guard(""), 60, |second| format!("answer {second}")), 30);
    // Two robots' texts, in turns.
    assert_eq!(answered(&guard(""), 60, |second| (second % 2).to_string()), 20);
    assert_eq!(answered(&guard(""), 10, same), 10);
}

#[test]
fn a_connection_is_heard_again_when_the_window_has_passed() {
    let guard = guard("window = '60s'\nmax_messages = 3\nmax_repeats = 2\n");
    let answers = |identity, text, seconds| answers(&guard, &message(identity, text, seconds));
    assert_eq!([0, 1, 2].map(|second| answers("1", "x", second)), [true, true, false]);
    assert!(answers("2", "x", 3));
    assert!(answers("1", "y", 4));
    assert!(!answers("1", "z", 5));
    // What is not answered does not count, so a robot that goes on all the time has its few answers a window.
    assert!(!answers("1", "x", 59));
    assert!(answers("1", "x", 60));
    assert!(!answers("1", "x", 60));
    assert!(answers("1", "x", 61));
}

#[test]
fn a_message_that_is_tried_again_is_neither_counted_again_nor_unanswered() {
    let guard = guard("window = '60s'\nmax_messages = 1\n");
    let first = message("1", "x", 0);
    for _ in 0..12 {
        assert!(answers(&guard, &first));
    }
    assert!(!answers(&guard, &message("1", "y", 1)));
    assert!(answers(&guard, &first));
}

#[test]
fn what_was_accepted_long_before_does_not_count_what_came_after() {
    let guard = guard("window = '60s'\nmax_messages = 2\n");
    let answers = |seconds: u64| answers(&guard, &message("1", &seconds.to_string(), seconds));
    assert_eq!([500, 501, 502].map(answers), [true, true, false]);
    assert_eq!([0, 1].map(answers), [true, true]);
}

#[test]
fn one_number_on_two_backends_is_two_connections() {
    let guard = guard("max_messages = 1\n");
    let other = IncomingMessage { backend: "c".parse().unwrap(), ..message("1", "x", 0) };
    assert!(answers(&guard, &message("1", "x", 0)));
    assert!(answers(&guard, &other));
}

#[test]
fn memory_is_bounded_and_forgets_who_was_silent_for_longest() {
    let guard = guard("max_messages = 1\n");
    let answers = |identity: &str| answers(&guard, &message(identity, "x", 0));
    assert!(answers("talks") && answers("silent"));
    for number in 0..2 * MAX_CONNECTIONS {
        answers(&number.to_string());
        if number % 1000 == 0 {
            assert!(!answers("talks"), "after {number}");
        }
    }
    assert!(answers("silent"));
    let memory = guard.memory.lock().unwrap();
    assert!(memory.recent.len() + memory.before.len() <= MAX_CONNECTIONS);
}

#[test]
fn what_is_too_many_is_told_once_a_window() {
    use Verdict::{Answer, FirstOfTooMany, TooMany};
    let guard = guard("window = '60s'\nmax_messages = 1\n");
    let judge = |seconds: u64| guard.judge(&message("1", &seconds.to_string(), seconds));
    assert_eq!([0, 1, 2, 59].map(judge), [Answer, FirstOfTooMany, TooMany, TooMany]);
    assert_eq!([60, 61, 62].map(judge), [Answer, FirstOfTooMany, TooMany]);
}

/// The eleventh "1" of a survey counts, as the first does.
#[test]
fn what_is_not_answered_goes_through_the_apps_all_the_same() {
    let guard = guard("max_repeats = 1\n");
    for (second, no_reply) in [(0, false), (1, true), (2, true)] {
        let mut context = Context::new(message("1", "1", second), 1, "P");
        let Step::Ready(Ok(filter)) = guard.filter(&mut context) else { panic!() };
        assert_eq!((filter, context.message.no_reply), (Filter::Pass, no_reply));
    }
}

proptest! {
    #[test]
    fn in_no_window_more_are_answered_than_allowed(gaps in prop::collection::vec(0_u64..20, 0..100)) {
        let guard = guard("window = '30s'\nmax_messages = 4\nmax_repeats = 3\n");
        let (mut now, mut passed) = (0, Vec::new());
        for (place, gap) in gaps.into_iter().enumerate() {
            now += gap;
            let text = place % 2;
            if answers(&guard, &message("1", &text.to_string(), now)) {
                passed.push((now, text));
            }
            let near: Vec<_> = passed.iter().filter(|(at, _)| now - at < 30).collect();
            prop_assert!(near.len() <= 4);
            prop_assert!(near.iter().filter(|(_, same)| *same == text).count() <= 3);
            // And nobody is left unanswered without a reason: the last one passed, or a limit is reached.
            let reached = near.len() == 4 || near.iter().filter(|(_, same)| *same == text).count() == 3;
            prop_assert!(reached || passed.last() == Some(&(now, text)));
        }
    }
}
