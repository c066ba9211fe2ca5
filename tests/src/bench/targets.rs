//! What is wanted of the gateway, and whether it was met.

use serde::Serialize;

use super::case::{Group, Key, Measure, Part, Subject};
use super::{accepts, apps, backends, lone, memory, round_trips, slow, waiting};

/// By how much memory may differ that stays.
const FLAT: f64 = 1.1;

/// A value of a measurement.
type Pick = (Key, Measure);

/// A bound on a value, or on its ratio to another one.
struct Target {
    name: String,
    wanted: Wanted,
    value: Pick,
    beside: Option<Pick>,
}

#[derive(Clone, Copy)]
enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

/// A target, with what was measured.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) name: String,
    pub(super) wanted: String,
    pub(super) measured: f64,
    pub(super) is_met: bool,
}

/// Judges every target of which `median` knows the values. `long` is when memory was looked at first and last.
pub(super) fn judge(median: impl Fn(Key, Measure) -> Option<f64>, long: [u64; 2]) -> Vec<Judged> {
    let judged = |Target { name, wanted, value: (key, measure), beside }: Target| {
        let value = median(key, measure)?;
        let measured = match beside {
            Some((key, measure)) => value / median(key, measure)?,
            None => value,
        };
        let unit = if beside.is_some() { "times" } else { unit(measure) };
        let (wanted, is_met) = match wanted {
            Wanted::AtLeast(least) => (format!("at least {least} {unit}"), measured >= least),
            Wanted::AtMost(most) => (format!("at most {most} {unit}"), measured <= most),
        };
        Some(Judged { name, wanted, measured, is_met })
    };
    targets(long).into_iter().filter_map(judged).collect()
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::PerSecond => "a second",
        Measure::P50Ms | Measure::P99Ms | Measure::ReadyMs(_) => "ms",
        Measure::RoutingUs | Measure::CpuUs(_) => "us",
        Measure::ResidentMib(_) | Measure::PeakMib(_) => "MiB",
    }
}

fn targets(long: [u64; 2]) -> Vec<Target> {
    use Measure::PerSecond;
    use Subject::{Pair, Router, Standalone};
    use Wanted::{AtLeast, AtMost};
    let mut targets: Vec<Target> = [32, 256].into_iter().flat_map(beside_prototype).collect();
    let turned = &round_trips::GROUP;
    targets.extend([
        to_prototype("round trips: rate beside the prototype", turned, 0, PerSecond, AtLeast(0.8)),
        to_prototype(
            "round trips: dispatcher's CPU",
            turned,
            0,
            Measure::CpuUs(Part::Dispatcher),
            AtMost(1.5),
        ),
        ratio(
            "round trips: standalone beside the pair",
            (turned.key(0, Standalone), PerSecond),
            turned.key(0, Pair),
            AtLeast(2.0),
        ),
    ]);
    for subject in [Pair, Standalone] {
        for (name, measure) in [("median", Measure::P50Ms), ("p99", Measure::P99Ms)] {
            let name = format!("a lone message, {subject}: {name}");
            targets.push(bound(&name, (lone::GROUP.key(0, subject), measure), AtMost(5.0)));
        }
        targets.push(to_first(&waiting::ROUND_TRIPS, [0, waiting::MANY], subject, AtLeast(0.8)));
    }
    targets.extend([
        to_first(&waiting::ACCEPTS, [0, waiting::MANY], Pair, AtLeast(0.8)),
        to_first(&backends::ACCEPTS, [1, 500], Pair, AtLeast(0.9)),
        to_first(&backends::ROUND_TRIPS, [1, 500], Pair, AtLeast(0.9)),
        to_first(&slow::GROUP, [0, 1], Pair, AtLeast(0.95)),
        bound(
            "routing through 100 keyword apps",
            (apps::GROUP.key(100, Router), Measure::RoutingUs),
            AtMost(3.0),
        ),
    ]);
    for part in [Part::Ingress, Part::Dispatcher] {
        for (count, most) in [(1, 200.0), (10, 200.0), (500, 2000.0)] {
            let name = format!("{part} ready with {count} backends");
            targets.push(bound(
                &name,
                (backends::READY.key(count, Pair), Measure::ReadyMs(part)),
                AtMost(most),
            ));
        }
    }
    let resident = |name, key, part, most| bound(name, (key, Measure::ResidentMib(part)), AtMost(most));
    let (crowded, busy) = (accepts::GROUP.key(1024, Pair), memory::BUSY.key(300, Pair));
    targets.push(resident("memory of ingress at 1024 connections", crowded, Part::Ingress, 60.0));
    targets.push(resident("memory of the dispatcher with 300 in flight", busy, Part::Dispatcher, 100.0));
    for (part, subject) in [(Part::Ingress, Pair), (Part::Dispatcher, Pair), (Part::Gateway, Standalone)] {
        let [first, last] = long.map(|at| memory::OVER_TIME.key(at, subject));
        let name = format!("memory of {part} at the end of the long run, beside its beginning");
        targets.push(ratio(&name, (last, Measure::ResidentMib(part)), first, AtMost(FLAT)));
    }
    targets
}

fn beside_prototype(connections: u64) -> [Target; 3] {
    let (group, name) = (&accepts::GROUP, |what: &str| format!("accepts, {connections} connections: {what}"));
    let target = |what, measure, wanted| to_prototype(&name(what), group, connections, measure, wanted);
    [
        target("rate beside the prototype", Measure::PerSecond, Wanted::AtLeast(0.85)),
        target("ingress's CPU", Measure::CpuUs(Part::Ingress), Wanted::AtMost(1.35)),
        target("p99", Measure::P99Ms, Wanted::AtMost(1.5)),
    ]
}

/// Of the pair to the prototype.
fn to_prototype(name: &str, group: &'static Group, at: u64, measure: Measure, wanted: Wanted) -> Target {
    ratio(name, (group.key(at, Subject::Pair), measure), group.key(at, Subject::Prototype), wanted)
}

/// Of the rate at the second number to that at the first.
fn to_first(group: &'static Group, [first, second]: [u64; 2], subject: Subject, wanted: Wanted) -> Target {
    let name = format!("{}, {subject}: {second} beside {first}", group.name);
    ratio(&name, (group.key(second, subject), Measure::PerSecond), group.key(first, subject), wanted)
}

fn ratio(name: &str, value: Pick, beside: Key, wanted: Wanted) -> Target {
    Target { name: name.to_owned(), wanted, value, beside: Some((beside, value.1)) }
}

fn bound(name: &str, value: Pick, wanted: Wanted) -> Target {
    Target { name: name.to_owned(), wanted, value, beside: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_bound_or_a_ratio_and_what_was_not_measured_is_not_told() {
        let judged = judge(
            |key, measure| match (key.group.name, key.subject, measure) {
                ("round trips", Subject::Pair, Measure::PerSecond) => Some(79.0),
                ("round trips", Subject::Prototype, Measure::PerSecond) => Some(100.0),
                ("lone", Subject::Standalone, Measure::P99Ms) => Some(5.0),
                _not_measured => None,
            },
            [0, 1],
        );
        let told: Vec<_> =
            judged.iter().map(|it| (it.name.as_str(), it.wanted.as_str(), it.measured, it.is_met)).collect();
        let expected = [
            ("round trips: rate beside the prototype", "at least 0.8 times", 0.79, false),
            ("a lone message, standalone: p99", "at most 5 ms", 5.0, true),
        ];
        assert_eq!(told, expected);
    }
}
