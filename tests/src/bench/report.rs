//! The medians of all measurements, their ratios to the floors, and the targets: as tables, and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::Options;
use super::case::{Group, Key, Measure, Part, Results, Subject, Values};
use super::machine::Machine;
use super::memory::OVER_TIME;
use super::targets::{self, Judged};

/// Of a group with more numbers than this the table has the first and the last.
const MOST_ROWS: usize = 15;

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    machine: Machine,
    options: Options,
    pub(super) rows: Vec<Row>,
    targets: Vec<Judged>,
}

/// All measurements of one thing.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    #[serde(skip)]
    pub(super) key: Key,
    group: &'static str,
    axis: &'static str,
    at: u64,
    subject: Subject,
    pub(super) median: Values,
    least: Values,
    most: Values,
    rounds: Vec<Values>,
}

impl Row {
    fn new(key: Key, rounds: &[Values]) -> Self {
        Self {
            key,
            group: key.group.name,
            axis: key.group.axis,
            at: key.at,
            subject: key.subject,
            median: over(rounds, median),
            least: over(rounds, |sorted| sorted[0]),
            most: over(rounds, |sorted| sorted[sorted.len() - 1]),
            rounds: rounds.to_vec(),
        }
    }
}

/// What `of` gives of each measure's values, which are sorted.
fn over(rounds: &[Values], of: fn(&[f64]) -> f64) -> Values {
    let mut all: BTreeMap<Measure, Vec<f64>> = BTreeMap::new();
    for (measure, value) in rounds.iter().flatten() {
        all.entry(*measure).or_default().push(*value);
    }
    let one = |(measure, mut values): (Measure, Vec<f64>)| {
        values.sort_by(f64::total_cmp);
        (measure, of(&values))
    };
    all.into_iter().map(one).collect()
}

fn median(sorted: &[f64]) -> f64 {
    let (upper, lower) = (sorted.len() / 2, (sorted.len() - 1) / 2);
    f64::midpoint(sorted[lower], sorted[upper])
}

impl Report {
    pub(super) fn new(machine: Machine, options: Options, results: &Results) -> Self {
        let rows: Vec<Row> = results.iter().map(|(key, rounds)| Row::new(key, rounds)).collect();
        let median = |key, measure| rows.iter().find(|row| row.key == key)?.median.get(&measure).copied();
        let looks = || rows.iter().filter(|row| row.group == OVER_TIME.name).map(|row| row.at);
        let long = [looks().min().unwrap_or(0), looks().max().unwrap_or(0)];
        let targets = targets::judge(median, long);
        Self { machine, options, rows, targets }
    }

    /// The groups, in the order in which they were first measured, each with its rows by number and subject.
    pub(super) fn groups(&self) -> Vec<(&'static Group, Vec<&Row>)> {
        let mut groups: Vec<(&'static Group, Vec<&Row>)> = Vec::new();
        for row in &self.rows {
            match groups.iter_mut().find(|(group, _)| group.name == row.group) {
                Some((_, rows)) => rows.push(row),
                None => groups.push((row.key.group, vec![row])),
            }
        }
        for (_, rows) in &mut groups {
            rows.sort_by_key(|row| (row.at, row.subject));
        }
        groups
    }
}

/// A table with its columns.
struct Table<'a> {
    group: &'static Group,
    rows: Vec<&'a Row>,
    measures: BTreeSet<Measure>,
}

impl<'a> Table<'a> {
    fn new(group: &'static Group, mut rows: Vec<&'a Row>) -> Self {
        let numbers: BTreeSet<u64> = rows.iter().map(|row| row.at).collect();
        if numbers.len() > MOST_ROWS {
            rows.retain(|row| Some(&row.at) == numbers.first() || Some(&row.at) == numbers.last());
        }
        let measures = rows.iter().flat_map(|row| row.median.keys().copied());
        Self { group, measures: measures.collect(), rows }
    }

    /// What a row is compared with: the prototype, or where there is none, the first of its subject.
    fn floor(&self, row: &Row) -> Option<&Row> {
        let mut rows = self.rows.iter().copied();
        let floor = if self.rows.iter().any(|row| row.subject == Subject::Prototype) {
            rows.find(|it| (it.at, it.subject) == (row.at, Subject::Prototype))
        } else {
            rows.find(|it| it.subject == row.subject)
        };
        floor.filter(|floor| floor.key != row.key)
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = || self.measures.iter().filter(|measure| !matches!(measure, Measure::PeakMib(_)));
        let mut head: Vec<String> =
            Some(self.group.axis).filter(|axis| !axis.is_empty()).map(str::to_owned).into_iter().collect();
        head.push("subject".to_owned());
        head.extend(shown().map(|measure| heading(*measure)));
        let ratios =
            || RATIOS.iter().filter(|(_, of)| self.rows.iter().any(|row| self.ratio(row, *of).is_some()));
        head.extend(ratios().map(|(name, _)| (*name).to_owned()));
        writeln!(f, "| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()))?;
        for row in &self.rows {
            let mut cells: Vec<String> =
                (!self.group.axis.is_empty()).then(|| row.at.to_string()).into_iter().collect();
            cells.push(row.subject.to_string());
            cells.extend(shown().map(|measure| cell(row, *measure)));
            cells.extend(
                ratios()
                    .map(|(_, of)| self.ratio(row, *of).map_or_else(String::new, |it| format!("{it:.2}"))),
            );
            writeln!(f, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// A number of a row that is compared with that of its floor.
type Of = fn(&Values) -> Option<f64>;

const RATIOS: [(&str, Of); 3] = [
    ("rate x", |values| values.get(&Measure::PerSecond).copied()),
    ("CPU x", own_cpu),
    ("p99 x", |values| values.get(&Measure::P99Ms).copied()),
];

/// The CPU time of all processes but the broker.
fn own_cpu(values: &Values) -> Option<f64> {
    let is_own = |measure: &Measure| matches!(measure, Measure::CpuUs(part) if *part != Part::Broker);
    let own = values.iter().filter(|(measure, _)| is_own(measure)).map(|(_, value)| *value);
    own.reduce(|one, other| one + other)
}

impl Table<'_> {
    fn ratio(&self, row: &Row, of: Of) -> Option<f64> {
        Some(of(&row.median)? / of(&self.floor(row)?.median)?)
    }
}

fn heading(measure: Measure) -> String {
    if let Measure::ResidentMib(part) = measure {
        return format!("{part} MiB (peak)");
    }
    if measure == Measure::PerSecond { "a second (range)".to_owned() } else { measure.to_string() }
}

fn cell(row: &Row, measure: Measure) -> String {
    let value = |values: &Values, measure| values.get(&measure).map_or_else(String::new, |it| number(*it));
    let median = value(&row.median, measure);
    if measure == Measure::PerSecond && row.rounds.len() > 1 {
        return format!("{median} ({}..{})", value(&row.least, measure), value(&row.most, measure));
    }
    if let Measure::ResidentMib(part) = measure
        && !median.is_empty()
    {
        return format!("{median} ({})", value(&row.most, Measure::PeakMib(part)));
    }
    median
}

/// With three digits or more.
fn number(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { rounds, seconds, .. } = self.options;
        writeln!(f, "{}, `--rounds {rounds} --seconds {seconds}`.", self.machine)?;
        for (group, rows) in self.groups() {
            write!(f, "\n### {}\n\n{}", group.name, Table::new(group, rows))?;
        }
        if !self.targets.is_empty() {
            writeln!(f, "\n### Targets\n\n| target | wanted | measured | |\n|---|---|---|---|")?;
        }
        for Judged { name, wanted, measured, is_met } in &self.targets {
            let word = if *is_met { "met" } else { "missed" };
            writeln!(f, "| {name} | {wanted} | {} | {word} |", number(*measured))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GROUP: Group = Group { name: "round trips", axis: "waiting", plot: &[] };

    fn report(measured: &[(u64, Subject, f64)]) -> Report {
        let mut results = Results::default();
        for (at, subject, rate) in measured {
            let values = [
                (Measure::PerSecond, *rate),
                (Measure::CpuUs(Part::Ingress), 3.0),
                (Measure::CpuUs(Part::Broker), 4.0),
                (Measure::ResidentMib(Part::Ingress), 50.0),
                (Measure::PeakMib(Part::Ingress), 60.0),
            ];
            results.extend(vec![(GROUP.key(*at, *subject), Values::from(values))]);
        }
        let options = Options { only: Vec::new(), seconds: 1.0, rounds: 3, minutes: 1.0 };
        Report::new(Machine::default(), options, &results)
    }

    fn table(report: &Report) -> String {
        let mut groups = report.groups();
        let (group, rows) = groups.remove(0);
        Table::new(group, rows).to_string()
    }

    #[test]
    fn the_medians_are_compared_with_the_prototype() {
        let pair = |rate| (0, Subject::Pair, rate);
        let told = table(&report(&[(0, Subject::Prototype, 100.0), pair(10.0), pair(80.0), pair(90.0)]));
        let expected = "\
            | waiting | subject | a second (range) | ingress CPU us | broker CPU us | ingress MiB (peak) | rate x | CPU x |\n\
            |---|---|---|---|---|---|---|---|\n\
            | 0 | prototype | 100 | 3.00 | 4.00 | 50.0 (60.0) |  |  |\n\
            | 0 | pair | 80.0 (10.0..90.0) | 3.00 | 4.00 | 50.0 (60.0) | 0.80 | 1.00 |\n";
        assert_eq!(told, expected);
    }

    #[test]
    fn without_a_prototype_they_are_compared_with_the_first() {
        let told = table(&report(&[(9, Subject::Pair, 50.0), (0, Subject::Pair, 100.0)]));
        assert!(told.contains("| 0 | pair | 100 | 3.00 | 4.00 | 50.0 (60.0) |  |  |\n"), "{told}");
        assert!(told.ends_with("| 9 | pair | 50.0 | 3.00 | 4.00 | 50.0 (60.0) | 0.50 | 1.00 |\n"), "{told}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_in_the_middle() {
        assert!((median(&[1.0, 2.0, 4.0, 9.0]) - 3.0).abs() < 1e-9);
        assert!((median(&[7.0]) - 7.0).abs() < 1e-9);
    }
}
