//! Which letters are meant, and what is decided about each. Pure.

use std::collections::HashSet;

use super::{Action, Discarded, Letter, Replayed, Visited};
use crate::queue::routes::Routes;

/// How often a letter is replayed without being named: what dies again and again is for a person to judge.
pub const MAX_REPLAYS: u32 = 5;

/// Which letters are meant: those that everything here is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of one backend.
    pub backend: Option<String>,
    /// Those of one class.
    pub class: Option<String>,
    /// Those with one of these ids; empty means all.
    pub ids: HashSet<String>,
}

impl Filter {
    /// Whether `letter` is meant.
    #[must_use]
    pub fn selects(&self, letter: &Letter) -> bool {
        let wanted = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
        wanted(&self.backend, letter.backend())
            && wanted(&self.class, letter.class())
            && (self.ids.is_empty() || self.ids.contains(&letter.message.id))
    }
}

/// Which letters are meant, and the most of them.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Which.
    pub filter: Filter,
    /// How many at most, the oldest ones.
    pub limit: Option<usize>,
}

/// A selection while it is gone through.
struct Selecting {
    filter: Filter,
    left: usize,
    missing: HashSet<String>,
}

impl Selecting {
    fn new(selection: Selection) -> Self {
        let Selection { filter, limit } = selection;
        Self { missing: filter.ids.clone(), filter, left: limit.unwrap_or(usize::MAX) }
    }

    /// The action for a letter that `chosen` decides about when it is meant.
    fn decide(&mut self, letter: &Letter, chosen: impl FnOnce(&Filter) -> Action) -> Action {
        if self.left == 0 {
            return Action::End;
        }
        self.missing.remove(&letter.message.id);
        if !self.filter.selects(letter) {
            return Action::Keep;
        }
        let action = chosen(&self.filter);
        if action != Action::Keep {
            self.left -= 1;
        }
        action
    }

    fn missing(self) -> Vec<String> {
        // With a limit, an id may be among those that nobody looked at.
        let mut missing: Vec<String> =
            if self.left == 0 { Vec::new() } else { self.missing.into_iter().collect() };
        missing.sort();
        missing
    }
}

/// Decides who is replayed.
pub(super) struct Replay {
    selecting: Selecting,
    routes: Routes,
    report: Replayed,
}

impl Replay {
    pub(super) fn new(selection: Selection, routes: Routes) -> Self {
        Self { selecting: Selecting::new(selection), routes, report: Replayed::default() }
    }

    pub(super) fn decide(&mut self, letter: &Letter) -> Action {
        let Self { selecting, routes, report } = self;
        selecting.decide(letter, |filter| {
            if !routes.leads(&letter.message.route) {
                report.unrouted += 1;
                return Action::Keep;
            }
            if letter.replays() >= MAX_REPLAYS && !filter.ids.contains(&letter.message.id) {
                report.too_often += 1;
                return Action::Keep;
            }
            Action::Replay
        })
    }

    pub(super) fn done(self, visited: Visited) -> Replayed {
        Replayed { replayed: visited.replayed, missing: self.selecting.missing(), ..self.report }
    }
}

/// Decides who is discarded.
pub(super) struct Discard(Selecting);

impl Discard {
    pub(super) fn new(selection: Selection) -> Self {
        Self(Selecting::new(selection))
    }

    pub(super) fn decide(&mut self, letter: &Letter) -> Action {
        self.0.decide(letter, |_| Action::Discard)
    }

    pub(super) fn done(self, visited: Visited) -> Discarded {
        Discarded { discarded: visited.discarded, missing: self.0.missing() }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    fn ids(ids: &[&str]) -> HashSet<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    fn replay(selection: Selection, letters: &[Letter]) -> (Vec<Action>, Replayed) {
        let mut replay = Replay::new(selection, Routes::new(&["a".parse().unwrap(), "b".parse().unwrap()]));
        let actions = letters.iter().map(|letter| replay.decide(letter)).collect();
        (actions, replay.done(Visited::default()))
    }

    #[test]
    fn a_filter_selects_what_all_of_it_is_true_of() {
        let letter = letter("1", "outgoing.a", &[("class", "rejected")]);
        let some = |text: &str| Some(text.to_owned());
        let filter = |backend, class, ids| Filter { backend, class, ids };
        assert!(Filter::default().selects(&letter));
        assert!(filter(some("a"), some("rejected"), ids(&["0", "1"])).selects(&letter));
        assert!(!filter(some("b"), None, ids(&[])).selects(&letter));
        assert!(!filter(None, some("unknown"), ids(&[])).selects(&letter));
        assert!(!filter(some("a"), some("rejected"), ids(&["2"])).selects(&letter));
    }

    #[test]
    fn a_limit_ends_the_visit_and_counts_only_what_is_done() {
        let letters =
            ["outgoing.gone", "outgoing.a", "incoming.b", "outgoing.a"].map(|route| letter("1", route, &[]));
        let (actions, report) = replay(Selection { limit: Some(2), ..Selection::default() }, &letters);
        assert_eq!(actions, [Action::Keep, Action::Replay, Action::Replay, Action::End]);
        assert_eq!(report.unrouted, 1);
    }

    #[test]
    fn what_was_replayed_often_must_be_named() {
        let letters =
            [letter("1", "outgoing.a", &[("replays", "5")]), letter("2", "outgoing.a", &[("replays", "4")])];
        let (actions, report) = replay(Selection::default(), &letters);
        assert_eq!((actions, report.too_often), (vec![Action::Keep, Action::Replay], 1));
        let filter = Filter { ids: ids(&["1"]), ..Filter::default() };
        let (actions, report) = replay(Selection { filter, limit: None }, &letters);
        assert_eq!((actions, report.too_often), (vec![Action::Replay, Action::Keep], 0));
    }

    #[test]
    fn an_id_that_is_nowhere_is_told() {
        let filter = Filter { ids: ids(&["1", "9", "8"]), ..Filter::default() };
        let selection = Selection { filter, limit: None };
        let letters = [letter("1", "outgoing.a", &[]), letter("2", "outgoing.a", &[])];
        assert_eq!(replay(selection.clone(), &letters).1.missing, ["8", "9"]);
        let mut discard = Discard::new(selection);
        let actions: Vec<Action> = letters.iter().map(|letter| discard.decide(letter)).collect();
        assert_eq!(actions, [Action::Discard, Action::Keep]);
        assert_eq!(discard.done(Visited::default()).missing, ["8", "9"]);

        let filter = Filter { ids: ids(&["1"]), class: Some("unknown".to_owned()), backend: None };
        let other_class = replay(Selection { filter, limit: None }, &letters);
        assert_eq!((other_class.0, other_class.1.missing), (vec![Action::Keep; 2], vec![]));
    }
}
