//! Messages that wait in `incoming`: what is accepted and turned round beside them.

use futures_util::FutureExt;

use super::accepts::{CLOSED, post};
use super::case::{Case, Group, Measure, Subject};
use super::round_trips::{self, turn_round};
use super::sink::Sink;
use super::site::{Running, Site};

const ACCEPTING: usize = 256;

pub(super) static ACCEPTS: Group =
    Group { name: "accepts by depth", axis: "waiting", plot: &[&[Measure::PerSecond]] };

pub(super) static ROUND_TRIPS: Group =
    Group { name: "round trips by depth", axis: "waiting", plot: &[&[Measure::PerSecond]] };

/// How many wait where many do.
pub(super) const MANY: u64 = 1_000_000;

pub(super) fn cases() -> Vec<Case> {
    let subjects = [Subject::Prototype, Subject::Pair, Subject::Standalone];
    [0, MANY].into_iter().flat_map(|count| subjects.map(|subject| case(count, subject))).collect()
}

/// The round trips first, which none shall wait for where none is to wait; and more than that wait, for those are taken.
pub(super) fn case(waiting: u64, subject: Subject) -> Case {
    let key = move |group: &'static Group| group.key(waiting, subject);
    Case::new(key(&ROUND_TRIPS), move |bench| {
        async move {
            let (sink, count) = (Sink::start().await?, bench.options.round_trips());
            let more = if waiting > 0 { count / 2 } else { 0 };
            let site = Site { waiting: waiting + more, ..Site::whole(subject, &sink) };
            let mut running = Running::start(&site, &bench.broker).await?;
            let load = running.load(round_trips::CONNECTIONS)?;
            let mut measured = vec![(key(&ROUND_TRIPS), turn_round(&running, &load, &sink, count).await?)];
            if subject != Subject::Standalone {
                running.stop_dispatchers().await?;
                let accepted =
                    post(&running, &running.load(ACCEPTING)?, CLOSED, bench.options.time()).await?;
                measured.push((key(&ACCEPTS), accepted));
            }
            running.clear().await?;
            Ok(measured)
        }
        .boxed_local()
    })
}
