use proptest::prelude::*;
use shared::{clock::UnixMillis, report::Reported};
use uuid::Uuid;

use super::*;

fn report(reference: Option<Reference>, external_id: Option<&str>, identity: &str, state: State) -> Report {
    let reported = Reported {
        reference: reference.map(|reference| reference.to_string()),
        external_id: external_id.map(str::to_owned),
        identity: (!identity.is_empty()).then(|| identity.into()),
        state,
        detail: None,
    };
    Report::of_provider("b".parse().unwrap(), reported, UnixMillis(0))
}

fn reference(message: u128, place: Option<usize>) -> Reference {
    Reference { message_id: MessageId(Uuid::from_u128(message)), number: 1, place }
}

/// Enters what is new of `report`, and tells whether anything is.
fn take(ledger: &mut Ledger, report: &Report) -> bool {
    let Some(entry) = ledger.learn(report) else { return false };
    let Finding::New(_) = ledger.find(entry, report) else { return false };
    ledger.told(entry, report.state);
    true
}

/// Whether anybody knows what `report` is about.
fn is_known(ledger: &mut Ledger, report: &Report) -> bool {
    ledger.learn(report).is_some()
}

#[test]
fn of_a_call_to_many_each_is_known_by_its_number() {
    let mut ledger = Ledger::default();
    for (place, identity) in ["+1", "+2"].into_iter().enumerate() {
        assert!(take(&mut ledger, &report(Some(reference(7, Some(place))), None, identity, State::Queued)));
    }
    let all = reference(7, None);
    assert!(take(&mut ledger, &report(Some(all), None, "1", State::Delivered)));
    assert!(!take(&mut ledger, &report(Some(all), None, "+1", State::Delivered)));
    assert!(take(&mut ledger, &report(Some(all), None, "+2", State::Failed)));
    assert!(!take(&mut ledger, &report(Some(all), None, "2", State::Delivered)));
}

#[test]
fn memory_is_bounded_and_forgets_the_oldest_with_its_names() {
    let mut ledger = Ledger::default();
    for message in 0..10 {
        let id = format!("x{message}");
        assert!(take(&mut ledger, &report(Some(reference(message, Some(0))), Some(&id), "1", State::Queued)));
    }
    ledger.forget(4);
    assert_eq!((ledger.size, ledger.texts.len(), ledger.names.len()), (4, 4, 4));
    assert!(!is_known(&mut ledger, &report(None, Some("x5"), "", State::Sent)));
    assert!(is_known(&mut ledger, &report(None, Some("x6"), "", State::Sent)));
}

#[test]
fn the_provider_may_name_a_part_on_one_backend_only() {
    let mut ledger = Ledger::default();
    assert!(take(&mut ledger, &report(Some(reference(7, Some(0))), Some("x"), "1", State::Queued)));
    let mut other = report(None, Some("x"), "", State::Sent);
    other.backend = "c".parse().unwrap();
    assert!(!is_known(&mut ledger, &other));
    // Nor may one backend's provider speak of what was sent through another.
    let mut other = report(Some(reference(7, Some(0))), None, "", State::Failed);
    other.backend = "c".parse().unwrap();
    assert!(!is_known(&mut ledger, &other));
    assert!(take(&mut ledger, &report(None, Some("x"), "", State::Delivered)));
}

#[test]
fn names_are_learnt_from_what_tells_nothing_new() {
    let mut ledger = Ledger::default();
    let of = |id, state| report(Some(reference(7, Some(0))), id, "1", state);
    // A note that comes after a report, and that of a part that was sent again.
    assert!(take(&mut ledger, &of(None, State::Sent)));
    assert!(!take(&mut ledger, &of(Some("x1"), State::Queued)));
    assert!(!take(&mut ledger, &of(Some("x2"), State::Queued)));
    assert!(take(&mut ledger, &report(None, Some("x1"), "", State::Buffered)));
    assert!(take(&mut ledger, &report(None, Some("x2"), "", State::Delivered)));
}

#[test]
fn a_provider_with_a_name_for_each_report_fills_no_memory() {
    let mut ledger = Ledger::default();
    for message in 0..50 {
        for place in 0..10 {
            let id = format!("x{message}-{place}");
            ledger.learn(&report(Some(reference(message, Some(0))), Some(&id), "1", State::Sent));
        }
    }
    assert_eq!(ledger.names.len(), 50 * NAMES);
    ledger.forget(4);
    assert_eq!((ledger.size, ledger.texts.len(), ledger.names.len()), (4, 4, 4 * NAMES));
}

#[test]
fn a_name_that_was_given_to_another_part_since_is_that_ones() {
    let mut ledger = Ledger::default();
    for message in [1, 2] {
        assert!(take(&mut ledger, &report(Some(reference(message, Some(0))), Some("9"), "1", State::Queued)));
    }
    ledger.forget(1);
    assert!(is_known(&mut ledger, &report(None, Some("9"), "", State::Sent)));
}

#[test]
fn one_name_for_several_numbers_is_told_apart_by_the_number() {
    let mut ledger = Ledger::default();
    for (place, identity) in ["+1", "+2"].into_iter().enumerate() {
        let of = report(Some(reference(7, Some(place))), Some("x"), identity, State::Queued);
        assert!(take(&mut ledger, &of));
    }
    assert!(take(&mut ledger, &report(None, Some("x"), "1", State::Delivered)));
    let failed = report(None, Some("x"), "2", State::Failed);
    let entry = ledger.learn(&failed).unwrap();
    let Finding::New(told) = ledger.find(entry, &failed) else { panic!("taken for the other") };
    assert_eq!(told.identity.unwrap().as_str(), "+2");
}

proptest! {
    /// Whatever comes in whatever order: the states that are told of a part go on, and end with the first final one.
    #[test]
    fn no_state_goes_back(reports in proptest::collection::vec((0..2_u128, 0..5_usize, any::<bool>()), 0..40)) {
        let mut ledger = Ledger::default();
        let mut told: HashMap<u128, Vec<State>> = HashMap::new();
        for (message, state, by_external_id) in reports {
            let (id, state) = (format!("x{message}"), State::ALL[state]);
            let reference = (!by_external_id).then(|| reference(message, Some(0)));
            if take(&mut ledger, &report(reference, Some(&id), "1", state)) {
                told.entry(message).or_default().push(state);
            }
        }
        for states in told.values() {
            prop_assert!(states.windows(2).all(|pair| pair[0].leads_to(pair[1])), "{:?}", states);
        }
    }
}
