//! What the apps are told of delivery reports, and what becomes of those that nobody understands.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use shared::{
    clock::UnixMillis,
    config::Config,
    message::Identity,
    queue::{Route, header},
    report::{Reported, State},
};
use tokio::time::Instant;

use super::*;
use crate::{
    apps::{App, Step},
    lanes::tests::Session,
};

const REFERENCE: &str = "00000000-0000-0000-0000-000000000007.1.0";

type Told = (Option<Identity>, State);

/// Keeps what it is told, unless it fails or never ends.
#[derive(Clone, Default)]
struct Listener {
    told: Arc<Mutex<Vec<Told>>>,
    fails: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl App for Listener {
    fn name(&self) -> &'static str {
        "listener"
    }

    fn report<'a>(&'a self, report: &'a DeliveryReport) -> Step<'a, ()> {
        Step::later(async move {
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.fails.load(Ordering::Relaxed) {
                return Err("away".into());
            }
            self.told.lock().unwrap().push((report.identity.clone(), report.state));
            Ok(())
        })
    }
}

struct Bench {
    reports: Reports,
    listener: Listener,
}

impl Bench {
    fn new() -> Self {
        let config = Config::parse("test", "[queue]\nurl = 'embedded:x'\n", &BTreeMap::new()).unwrap();
        let listener = <Listener as Default>::default();
        let router = Router::new(vec![Box::new(listener.clone())], &config);
        Self { reports: Reports::new(Arc::new(router), &config), listener }
    }

    async fn run(&self, report: Report, attempts: u32) -> Disposition {
        let headers = Headers::from([(header::ATTEMPTS.to_owned(), attempts.to_string())]);
        let queued = Message::new(&Route::Report(report.backend.clone()), &report, headers);
        let receipt = Arc::<Session>::default().receipt();
        self.reports.run(&queued, report, Hold::new(&receipt, Instant::now())).await
    }

    async fn note(&self, external_id: Option<&str>) {
        let reported =
            Reported { identity: Some("+1".into()), ..reported(Some(REFERENCE), external_id, State::Queued) };
        let report = Report::of_gateway("b".parse().unwrap(), reported, UnixMillis(0));
        assert_eq!(self.run(report, 0).await, Disposition::Done);
    }

    async fn report(&self, reference: Option<&str>, external_id: Option<&str>, state: State) -> Disposition {
        self.run(provided(reported(reference, external_id, state)), 0).await
    }

    fn told(&self) -> Vec<State> {
        self.listener.told.lock().unwrap().iter().map(|(_, state)| *state).collect()
    }
}

fn reported(reference: Option<&str>, external_id: Option<&str>, state: State) -> Reported {
    let (reference, external_id) = (reference.map(str::to_owned), external_id.map(str::to_owned));
    Reported { reference, external_id, identity: None, state, detail: None }
}

fn provided(reported: Reported) -> Report {
    Report::of_provider("b".parse().unwrap(), reported, UnixMillis(0))
}

#[tokio::test]
async fn each_state_is_told_once_and_none_after_a_final_one() {
    let bench = Bench::new();
    bench.note(None).await;
    for state in [State::Sent, State::Sent, State::Delivered, State::Sent, State::Failed, State::Delivered] {
        assert_eq!(bench.report(Some(REFERENCE), None, state).await, Disposition::Done);
    }
    assert_eq!(bench.told(), [State::Queued, State::Sent, State::Delivered]);
    let told = bench.listener.told.lock().unwrap();
    assert!(told.iter().all(|(identity, _)| identity.as_ref().is_some_and(|one| one.as_str() == "+1")));
}

#[tokio::test]
async fn a_report_that_overtakes_the_note_is_told_and_the_note_is_late() {
    let bench = Bench::new();
    assert_eq!(bench.report(Some(REFERENCE), None, State::Delivered).await, Disposition::Done);
    bench.note(None).await;
    assert_eq!(bench.told(), [State::Delivered]);
}

#[tokio::test]
async fn a_provider_may_name_the_part_itself() {
    let bench = Bench::new();
    let early = bench.report(None, Some("x1"), State::Delivered).await;
    let Disposition::Retry { class, .. } = early else { panic!("{early:?}") };
    assert_eq!(class, "unmatched");
    bench.note(Some("x1")).await;
    assert_eq!(bench.report(None, Some("x1"), State::Delivered).await, Disposition::Done);
    assert_eq!(bench.told(), [State::Queued, State::Delivered]);
}

#[tokio::test]
async fn what_nobody_knows_is_kept() {
    let bench = Bench::new();
    let unknown = bench.run(provided(reported(None, Some("x1"), State::Sent)), PATIENCE).await;
    let foreign = bench.report(Some("someone-elses"), Some("x1"), State::Sent).await;
    for disposition in [unknown, foreign] {
        let Disposition::DeadLetter { class, .. } = disposition else { panic!("{disposition:?}") };
        assert_eq!(class, "unmatched");
    }
    assert!(bench.told().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_app_without_an_end_holds_up_the_others_once() {
    let bench = Bench::new();
    bench.listener.hangs.store(true, Ordering::Relaxed);
    let disposition = bench.report(Some(REFERENCE), None, State::Sent).await;
    let Disposition::DeadLetter { class, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!(class, "over_time");
}

#[tokio::test]
async fn what_an_app_could_not_take_is_told_again() {
    let bench = Bench::new();
    bench.listener.fails.store(true, Ordering::Relaxed);
    let failed = bench.report(Some(REFERENCE), None, State::Sent).await;
    let Disposition::Retry { class, reason, .. } = failed else { panic!("{failed:?}") };
    assert_eq!((class, reason.as_str()), ("app_failed", "the app `listener` failed in report: away"));
    bench.listener.fails.store(false, Ordering::Relaxed);
    assert_eq!(bench.report(Some(REFERENCE), None, State::Sent).await, Disposition::Done);
    assert_eq!(bench.told(), [State::Sent]);
}

#[tokio::test]
async fn an_app_that_is_away_keeps_nobody_from_knowing_what_the_provider_calls_a_part() {
    let bench = Bench::new();
    bench.listener.fails.store(true, Ordering::Relaxed);
    let note = reported(Some(REFERENCE), Some("x1"), State::Queued);
    let note = Report::of_gateway("b".parse().unwrap(), note, UnixMillis(0));
    assert!(matches!(bench.run(note, 0).await, Disposition::Retry { class: "app_failed", .. }));
    let disposition = bench.run(provided(reported(None, Some("x1"), State::Delivered)), PATIENCE).await;
    assert!(matches!(disposition, Disposition::Retry { class: "app_failed", .. }), "{disposition:?}");
}

#[tokio::test]
async fn an_app_that_fails_keeps_no_report_from_the_others() {
    let config = Config::parse("test", "[queue]\nurl = 'embedded:x'\n", &BTreeMap::new()).unwrap();
    let (failing, listener) = (<Listener as Default>::default(), <Listener as Default>::default());
    failing.fails.store(true, Ordering::Relaxed);
    let router = Router::new(vec![Box::new(failing), Box::new(listener.clone())], &config);
    let bench = Bench { reports: Reports::new(Arc::new(router), &config), listener };
    let disposition = bench.report(Some(REFERENCE), None, State::Sent).await;
    assert!(matches!(disposition, Disposition::Retry { .. }), "{disposition:?}");
    assert_eq!(bench.told(), [State::Sent]);
}
