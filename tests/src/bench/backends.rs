//! Many backends, each with an endpoint and a queue: round trips and accepts spread over them, and how long a start takes
//! when their queues exist.

use futures_util::FutureExt;

use super::accepts::{CLOSED, post};
use super::case::{Case, Group, Measure, Part, Subject};
use super::round_trips::{self, turn_round};
use super::sink::Sink;
use super::site::{Running, Site};

const COUNTS: [usize; 4] = [1, 10, 100, 500];

const ACCEPTING: usize = 256;

pub(super) static ACCEPTS: Group =
    Group { name: "accepts by backends", axis: "backends", plot: &[&[Measure::PerSecond]] };

pub(super) static ROUND_TRIPS: Group =
    Group { name: "round trips by backends", axis: "backends", plot: &[&[Measure::PerSecond]] };

pub(super) static READY: Group = Group {
    name: "ready",
    axis: "backends",
    plot: &[&[Measure::ReadyMs(Part::Ingress), Measure::ReadyMs(Part::Dispatcher)]],
};

pub(super) fn cases() -> Vec<Case> {
    COUNTS.map(case).into()
}

fn case(backends: usize) -> Case {
    let key = move |group: &'static Group| group.key(backends as u64, Subject::Pair);
    Case::new(key(&ACCEPTS), move |bench| {
        async move {
            let sink = Sink::start().await?;
            let site = Site { backends, ..Site::whole(Subject::Pair, &sink) };
            let mut running = Running::start(&site, &bench.broker).await?;
            let (load, count) = (running.load(round_trips::CONNECTIONS)?, bench.options.round_trips() / 2);
            let turned = turn_round(&running, &load, &sink, count).await?;
            let ready = running.restart().await?;
            running.stop_dispatchers().await?;
            let accepted = post(&running, &running.load(ACCEPTING)?, CLOSED, bench.options.time()).await?;
            running.clear().await?;
            Ok(vec![(key(&ACCEPTS), accepted), (key(&ROUND_TRIPS), turned), (key(&READY), ready)])
        }
        .boxed_local()
    })
}
