//! [`Case`]: what is measured, and what comes of it, alike for all sections.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;
use serde::{Serialize, Serializer};

use super::Bench;

/// Cases that differ in one number: a table and, with more than two numbers, a chart.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// What the number counts; empty where there is none.
    pub(super) axis: &'static str,
    /// The charts, each with what is shown in it.
    pub(super) plot: &'static [&'static [Measure]],
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// The floor without a queue.
    Form,
    /// The floor without a request: confirms of RabbitMQ.
    Confirms,
    /// The floor of each service.
    Prototype,
    /// `ingress` and `dispatcher`.
    Pair,
    /// `gateway` on its file.
    Standalone,
    /// The dispatcher's router within the benchmark.
    Router,
}

/// A process that is accounted for. The processes of a floor are told as those whose work they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Ingress,
    Dispatcher,
    Gateway,
    Broker,
}

/// A quantity with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Measure {
    PerSecond,
    P50Ms,
    P99Ms,
    /// CPU time of routing one message.
    RoutingUs,
    /// From the start of the process until it says that it is ready.
    ReadyMs(Part),
    /// CPU time for each message, user and system.
    CpuUs(Part),
    /// Memory at the end.
    ResidentMib(Part),
    /// The most memory that it had.
    PeakMib(Part),
}

/// What was measured, or the medians of it.
pub(super) type Values = BTreeMap<Measure, f64>;

/// Which measurement it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) group: &'static Group,
    pub(super) at: u64,
    pub(super) subject: Subject,
}

/// What was measured of one thing, or of several that one start of a subject gives.
pub(super) type Measured = Vec<(Key, Values)>;

type Work = Box<dyn for<'a> Fn(&'a Bench) -> LocalBoxFuture<'a, Result<Measured>>>;

/// How something is measured once.
pub(super) struct Case {
    pub(super) key: Key,
    pub(super) measure: Work,
}

impl Case {
    pub(super) fn new(
        key: Key,
        measure: impl for<'a> Fn(&'a Bench) -> LocalBoxFuture<'a, Result<Measured>> + 'static,
    ) -> Self {
        Self { key, measure: Box::new(measure) }
    }
}

/// All measurements so far, in the order in which they were first made.
#[derive(Default)]
pub(super) struct Results(Vec<(Key, Vec<Values>)>);

impl Results {
    pub(super) fn has(&self, key: Key) -> bool {
        self.of(key).is_some()
    }

    /// Every measurement of it.
    pub(super) fn of(&self, key: Key) -> Option<&[Values]> {
        self.0.iter().find(|(it, _)| *it == key).map(|(_, all)| all.as_slice())
    }

    pub(super) fn extend(&mut self, measured: Measured) {
        for (key, values) in measured {
            match self.0.iter_mut().find(|(it, _)| *it == key) {
                Some((_, all)) => all.push(values),
                None => self.0.push((key, vec![values])),
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &[Values])> {
        self.0.iter().map(|(key, all)| (*key, all.as_slice()))
    }
}

impl Group {
    pub(super) const fn key(&'static self, at: u64, subject: Subject) -> Key {
        Key { group: self, at, subject }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        (self.group.name, self.at, self.subject) == (other.group.name, other.at, other.subject)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { group, at, subject } = self;
        match group.axis {
            "" => write!(f, "{}, {subject}", group.name),
            axis => write!(f, "{}, {at} {axis}, {subject}", group.name),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{self:?}").to_lowercase())
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerSecond => f.write_str("a second"),
            Self::P50Ms => f.write_str("p50 ms"),
            Self::P99Ms => f.write_str("p99 ms"),
            Self::RoutingUs => f.write_str("routing CPU us"),
            Self::ReadyMs(part) => write!(f, "{part} ready ms"),
            Self::CpuUs(part) => write!(f, "{part} CPU us"),
            Self::ResidentMib(part) => write!(f, "{part} MiB"),
            Self::PeakMib(part) => write!(f, "{part} peak MiB"),
        }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
