//! The medians of all measurements, and their ratios to the floors.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::load::Load;
use super::meter::{Costs, float};
use super::subject::Subject;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Accepts { connections: usize },
    RoundTrips,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(super) struct Measurement {
    subject: Subject,
    kind: Kind,
    values: Values,
}

/// What was measured, or the medians of it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Values {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Of its own processes, for each message.
    cpu_us: f64,
    /// The same of the broker.
    broker_cpu_us: f64,
    resident_mib: f64,
}

impl Measurement {
    pub(super) fn new(subject: Subject, kind: Kind, load: &Load, per_second: f64, costs: &Costs) -> Self {
        let count = float(load.accepted);
        let ms = |quantile| float(load.micros.value_at_quantile(quantile)) / 1000.0;
        let values = Values {
            per_second,
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            cpu_us: costs.own / count,
            broker_cpu_us: costs.broker / count,
            resident_mib: float(costs.resident_kib) / 1024.0,
        };
        Self { subject, kind, values }
    }
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    subject: String,
    #[serde(flatten)]
    values: Values,
    /// Of the rate, to that of the prototype.
    ratio: Option<f64>,
    /// Of its CPU time.
    cpu_ratio: Option<f64>,
    /// Of the 99th percentile.
    p99_ratio: Option<f64>,
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(measurements: &[Measurement]) -> Self {
        let mut groups: BTreeMap<(Kind, Subject), Vec<Values>> = BTreeMap::new();
        for Measurement { subject, kind, values } in measurements {
            groups.entry((*kind, *subject)).or_default().push(*values);
        }
        let medians: BTreeMap<_, _> =
            groups.into_iter().map(|(key, values)| (key, medians(&values))).collect();
        let row = |((kind, subject), values): (&(Kind, Subject), &Values)| {
            let floor = medians.get(&(*kind, Subject::Prototype)).filter(|_| *subject != Subject::Prototype);
            let ratio = |of: fn(&Values) -> f64| floor.map(|floor| of(values) / of(floor));
            Row {
                what: match kind {
                    Kind::Accepts { connections } => format!("accepts, {connections} connections"),
                    Kind::RoundTrips => "round trips".to_owned(),
                },
                subject: format!("{subject:?}").to_lowercase(),
                values: *values,
                ratio: ratio(|values| values.per_second),
                cpu_ratio: ratio(|values| values.cpu_us),
                p99_ratio: ratio(|values| values.p99_ms),
            }
        };
        Self { rows: medians.iter().map(row).collect() }
    }
}

fn medians(all: &[Values]) -> Values {
    let of = |value: fn(&Values) -> f64| {
        let mut values: Vec<f64> = all.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Values {
        per_second: of(|values| values.per_second),
        p50_ms: of(|values| values.p50_ms),
        p99_ms: of(|values| values.p99_ms),
        cpu_us: of(|values| values.cpu_us),
        broker_cpu_us: of(|values| values.broker_cpu_us),
        resident_mib: of(|values| values.resident_mib),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | subject | a second | p50 ms | p99 ms | CPU us | broker CPU us | RSS MiB | rate | CPU | p99 |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|---|")?;
        for Row { what, subject, values, ratio, cpu_ratio, p99_ratio } in &self.rows {
            let Values { per_second, p50_ms, p99_ms, cpu_us, broker_cpu_us, resident_mib } = values;
            write!(f, "| {what} | {subject} | {per_second:.0} | {p50_ms:.1} | {p99_ms:.1} | {cpu_us:.1} ")?;
            write!(f, "| {broker_cpu_us:.1} | {resident_mib:.0} ")?;
            for ratio in [ratio, cpu_ratio, p99_ratio] {
                match ratio {
                    Some(ratio) => write!(f, "| {ratio:.2} ")?,
                    None => write!(f, "| ")?,
                }
            }
            writeln!(f, "|")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_medians_are_compared_with_the_prototype() {
        let measured = |subject, per_second| {
            let values = Values {
                per_second,
                p50_ms: 1.0,
                p99_ms: 2.0,
                cpu_us: 3.0,
                broker_cpu_us: 4.0,
                resident_mib: 5.0,
            };
            Measurement { subject, kind: Kind::RoundTrips, values }
        };
        let report = Report::new(&[
            measured(Subject::Prototype, 100.0),
            measured(Subject::Pair, 10.0),
            measured(Subject::Pair, 80.0),
            measured(Subject::Pair, 90.0),
        ]);
        let told = report.to_string();
        assert!(
            told.contains("| round trips | prototype | 100 | 1.0 | 2.0 | 3.0 | 4.0 | 5 | | | |\n"),
            "{told}"
        );
        assert!(
            told.ends_with("| round trips | pair | 80 | 1.0 | 2.0 | 3.0 | 4.0 | 5 | 0.80 | 1.00 | 1.00 |\n"),
            "{told}"
        );
    }
}
