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

/// How many of so many messages, one a second, are let through.
fn let_through(guard: &LoopGuard, count: u64, text: impl Fn(u64) -> String) -> usize {
    let passes = |second: &u64| guard.judge(&message("1", &text(*second), *second)) == Filter::Pass;
    (0..count).filter(passes).count()
}

#[test]
fn by_default_a_person_is_not_in_the_way_and_a_robot_is() {
    let same = |_| "I am out of office".to_owned();
    assert_eq!(let_through(&guard(""), 60, same), 10);
    assert_eq!(let_through(&guard(""), 60, |second| format!("answer {second}")), 30);
    // Two robots' texts, in turns.
    assert_eq!(let_through(&guard(""), 60, |second| (second % 2).to_string()), 20);
    assert_eq!(let_through(&guard(""), 10, same), 10);
}

#[test]
fn a_connection_is_heard_again_when_the_window_has_passed() {
    let guard = guard("window = '60s'\nmax_messages = 3\nmax_repeats = 2\n");
    let judge = |identity, text, seconds| guard.judge(&message(identity, text, seconds));
    assert_eq!([0, 1, 2].map(|second| judge("1", "x", second)), [Filter::Pass, Filter::Pass, Filter::Stop]);
    assert_eq!(judge("2", "x", 3), Filter::Pass);
    assert_eq!(judge("1", "y", 4), Filter::Pass);
    assert_eq!(judge("1", "z", 5), Filter::Stop);
    // What was stopped does not count, so a robot that goes on all the time has its few answers a window.
    assert_eq!(judge("1", "x", 59), Filter::Stop);
    assert_eq!(judge("1", "x", 60), Filter::Pass);
    assert_eq!(judge("1", "x", 60), Filter::Stop);
    assert_eq!(judge("1", "x", 61), Filter::Pass);
}

#[test]
fn a_message_that_is_tried_again_is_neither_counted_again_nor_stopped() {
    let guard = guard("window = '60s'\nmax_messages = 1\n");
    let first = message("1", "x", 0);
    for _ in 0..12 {
        assert_eq!(guard.judge(&first), Filter::Pass);
    }
    assert_eq!(guard.judge(&message("1", "y", 1)), Filter::Stop);
    assert_eq!(guard.judge(&first), Filter::Pass);
}

#[test]
fn what_was_accepted_long_before_does_not_count_what_came_after() {
    let guard = guard("window = '60s'\nmax_messages = 2\n");
    let judge = |seconds: u64| guard.judge(&message("1", &seconds.to_string(), seconds));
    assert_eq!([500, 501, 502].map(judge), [Filter::Pass, Filter::Pass, Filter::Stop]);
    assert_eq!([0, 1].map(judge), [Filter::Pass, Filter::Pass]);
}

#[test]
fn one_number_on_two_backends_is_two_connections() {
    let guard = guard("max_messages = 1\n");
    let other = IncomingMessage { backend: "c".parse().unwrap(), ..message("1", "x", 0) };
    assert_eq!(guard.judge(&message("1", "x", 0)), Filter::Pass);
    assert_eq!(guard.judge(&other), Filter::Pass);
}

#[test]
fn memory_is_bounded_and_forgets_who_was_silent_for_longest() {
    let guard = guard("max_messages = 1\n");
    let judge = |identity: &str| guard.judge(&message(identity, "x", 0));
    assert_eq!(judge("talks"), Filter::Pass);
    assert_eq!(judge("silent"), Filter::Pass);
    for number in 0..2 * MAX_CONNECTIONS {
        judge(&number.to_string());
        if number % 1000 == 0 {
            assert_eq!(judge("talks"), Filter::Stop, "after {number}");
        }
    }
    assert_eq!(judge("silent"), Filter::Pass);
    let memory = guard.memory.lock().unwrap();
    assert!(memory.recent.len() + memory.before.len() <= MAX_CONNECTIONS);
}

proptest! {
    #[test]
    fn in_no_window_more_are_let_through_than_allowed(gaps in prop::collection::vec(0_u64..20, 0..100)) {
        let guard = guard("window = '30s'\nmax_messages = 4\nmax_repeats = 3\n");
        let (mut now, mut passed) = (0, Vec::new());
        for (place, gap) in gaps.into_iter().enumerate() {
            now += gap;
            let text = place % 2;
            if guard.judge(&message("1", &text.to_string(), now)) == Filter::Pass {
                passed.push((now, text));
            }
            let near: Vec<_> = passed.iter().filter(|(at, _)| now - at < 30).collect();
            prop_assert!(near.len() <= 4);
            prop_assert!(near.iter().filter(|(_, same)| *same == text).count() <= 3);
            // And nobody is stopped without a reason: the last one passed, or a limit is reached.
            let reached = near.len() == 4 || near.iter().filter(|(_, same)| *same == text).count() == 3;
            prop_assert!(reached || passed.last() == Some(&(now, text)));
        }
    }
}
