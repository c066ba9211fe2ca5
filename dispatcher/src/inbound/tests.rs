use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use shared::{
    clock::UnixMillis,
    config::Config,
    envelope,
    message::MessageId,
    queue::{PublishError, Receipt},
};
use tokio::{sync::Notify, time::Instant};

use super::*;
use crate::{
    apps::{self, App, Claim, Context, Step},
    engines::calls::Calls,
    lanes::tests::Session,
};

/// Fails the first times, then records.
#[derive(Default)]
pub(crate) struct Recorder {
    failures: AtomicU32,
    pub(crate) published: Mutex<Vec<Message>>,
}

impl Publish for Recorder {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.publish_patiently(message)
    }

    fn publish_patiently(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        let fails = self
            .failures
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok();
        let answer = if fails {
            Err(PublishError::Unavailable("gone".to_owned()))
        } else {
            self.published.lock().unwrap().push(message);
            Ok(())
        };
        std::future::ready(answer).boxed()
    }
}

/// Answers when it is told to.
#[derive(Default)]
struct Silent(Notify);

impl Publish for Silent {
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.publish_patiently(message)
    }

    fn publish_patiently(&self, _message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
        self.0.notified().map(Ok).boxed()
    }
}

fn inbound(apps: Vec<Box<dyn App>>, queue: &Arc<impl Publish + 'static>) -> Inbound {
    let text = "[queue]\nurl = 'embedded:x'\n";
    let config = Config::parse("test", text, &BTreeMap::new()).unwrap();
    let router = Arc::new(Router::new(apps, &config));
    Inbound::new(router, Arc::clone(queue) as _, &config, &Lifecycle::default())
}

fn receipt() -> Receipt {
    Arc::<Session>::default().receipt()
}

fn echo() -> Vec<Box<dyn App>> {
    let text = "[queue]\nurl = 'embedded:x'\n[[apps]]\napp = 'echo'\n";
    apps::build(&Config::parse("test", text, &BTreeMap::new()).unwrap(), &Calls::Made).unwrap()
}

fn incoming() -> (Message, IncomingMessage) {
    let payload = IncomingMessage {
        id: MessageId::new(),
        accepted_at: UnixMillis(5),
        backend: "b".parse().unwrap(),
        identity: "1".into(),
        text: "echo hello".to_owned(),
        fields: BTreeMap::new(),
        no_reply: false,
    };
    (Message::new(&Route::Incoming(payload.backend.clone()), &payload, Headers::new()), payload)
}

fn submitted() -> (Message, SubmittedMessage) {
    let payload = SubmittedMessage {
        id: MessageId::new(),
        submission: MessageId::new(),
        caller: "survey".to_owned(),
        accepted_at: UnixMillis(5),
        backend: "b".parse().unwrap(),
        identities: vec!["1".into(), "2".into()],
        text: "news".to_owned(),
        fields: BTreeMap::new(),
    };
    let headers = Headers::from([
        (header::EXPIRES_AT.to_owned(), "9".to_owned()),
        (header::TRACEPARENT.to_owned(), shared::trace::child_of(None)),
    ]);
    (Message::new(&Route::Submit(payload.backend.clone()), &payload, headers), payload)
}

#[tokio::test]
async fn both_types_of_the_queue_are_read_and_no_other() {
    let (queued, _) = incoming();
    assert!(matches!(envelope::decode(&queued.body), Ok(Arrival::Incoming(_))));
    let (queued, payload) = submitted();
    let Ok(Arrival::Submitted(read)) = envelope::decode(&queued.body) else { panic!() };
    assert!(read == payload);
    let error = envelope::decode::<Arrival>(br#"{"type":"outgoing.v1"}"#).err().unwrap();
    let told = "unknown message type `outgoing.v1`, this program reads `incoming.v1` and `submit.v1`";
    assert_eq!(error.to_string(), told);
    assert!(envelope::decode::<Arrival>(br#"{"type":"submit.v1","id":7}"#).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_submitted_is_in_its_queue_before_it_is_done_with() {
    let queue = Arc::new(Recorder { failures: AtomicU32::new(3), ..Recorder::default() });
    let (queued, payload) = submitted();
    let inbound = inbound(echo(), &queue);
    assert_eq!(inbound.lanes(&Arrival::Submitted(payload.clone()), &RandomState::new()).len(), 2);
    let hold = receipt();
    let arrival = Arrival::Submitted(payload.clone());
    assert_eq!(inbound.run(&queued, arrival, Hold::new(&hold, Instant::now())).await, Disposition::Done);
    let published = queue.published.lock().unwrap();
    let [message] = &published[..] else { panic!("{published:?}") };
    assert_eq!((message.route.as_str(), message.id.clone()), ("outgoing.b", payload.id.to_string()));
    assert_eq!(message.expires_at(), Some(UnixMillis(9)));
    let (trace, parent) = (&message.headers[header::TRACEPARENT], &queued.headers[header::TRACEPARENT]);
    assert_eq!(shared::trace::trace_id(trace), shared::trace::trace_id(parent));
}

#[tokio::test(start_paused = true)]
async fn replies_are_in_the_queue_before_the_message_is_done_with() {
    let queue = Arc::new(Recorder { failures: AtomicU32::new(3), ..Recorder::default() });
    let (queued, payload) = incoming();
    let disposition = inbound(echo(), &queue)
        .run(&queued, Arrival::Incoming(payload.clone()), Hold::new(&receipt(), Instant::now()))
        .await;
    assert_eq!(disposition, Disposition::Done);
    let published = queue.published.lock().unwrap();
    let [reply] = &published[..] else { panic!("{published:?}") };
    assert_eq!((reply.route.as_str(), reply.id.clone()), ("outgoing.b", payload.id.response(0).to_string()));
    let reply: OutgoingMessage = envelope::decode(&reply.body).unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.in_response_to, reply.accepted_at),
        ("hello", Some(payload.id), UnixMillis(5))
    );
}

struct Failing;

impl App for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn handle<'a>(&'a self, context: &'a mut Context<'_>) -> Step<'a, Claim> {
        context.respond("not to be sent");
        Step::Ready(Err("no database".into()))
    }
}

#[tokio::test]
async fn a_failing_app_has_its_message_tried_again_without_replies() {
    let queue = Arc::<Recorder>::default();
    let (queued, payload) = incoming();
    let disposition = inbound(vec![Box::new(Failing)], &queue)
        .run(&queued, Arrival::Incoming(payload), Hold::new(&receipt(), Instant::now()))
        .await;
    let Disposition::Retry { class, reason, .. } = disposition else { panic!("{disposition:?}") };
    assert_eq!((class, reason.as_str()), ("app_failed", "the app `failing` failed in handle: no database"));
    assert!(queue.published.lock().unwrap().is_empty());
}

struct Endless;

impl App for Endless {
    fn name(&self) -> &'static str {
        "endless"
    }

    fn parse<'a>(&'a self, _context: &'a mut Context<'_>) -> Step<'a, ()> {
        Step::later(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn an_app_over_its_time_limit_has_its_message_dead_lettered() {
    let queue = Arc::<Recorder>::default();
    let (queued, payload) = incoming();
    let (begun, apps): (_, Vec<Box<dyn App>>) = (Instant::now(), vec![Box::new(Endless)]);
    let disposition =
        inbound(apps, &queue).run(&queued, Arrival::Incoming(payload), Hold::new(&receipt(), begun)).await;
    let Disposition::DeadLetter { class, reason, .. } = disposition else { panic!("{disposition:?}") };
    let told = "the app `endless` failed in parse: it is over the time limit, dispatcher.app_timeout";
    assert_eq!((class, reason.as_str()), ("over_time", told));
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_not_published_any_more_when_the_message_is_lost_to_another_process() {
    let queue = Arc::new(Recorder { failures: AtomicU32::new(u32::MAX), ..Recorder::default() });
    let (queued, payload) = incoming();
    let session = Arc::<Session>::default();
    let (receipt, inbound) = (session.receipt(), inbound(echo(), &queue));
    let mut running = inbound.run(&queued, Arrival::Incoming(payload), Hold::new(&receipt, Instant::now()));
    let published = tokio::time::timeout(Duration::from_secs(60), &mut running).await;
    assert!(published.is_err(), "{published:?}");
    session.lost.cancel();
    assert_eq!(running.await, Disposition::Leave);
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_the_answer_to_a_reply_that_is_on_its_way() {
    let queue = Arc::<Silent>::default();
    let (queued, payload) = incoming();
    let (receipt, inbound) = (receipt(), inbound(echo(), &queue));
    let mut running = inbound.run(&queued, Arrival::Incoming(payload), Hold::new(&receipt, Instant::now()));
    inbound.lifecycle.stop();
    let given_up = tokio::time::timeout(Duration::from_secs(60), &mut running).await;
    assert!(given_up.is_err(), "{given_up:?}: whoever gets the message would make the reply again");
    queue.0.notify_one();
    assert_eq!(running.await, Disposition::Done);
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_a_message_whose_reply_was_surely_not_taken() {
    let queue = Arc::new(Recorder { failures: AtomicU32::new(u32::MAX), ..Recorder::default() });
    let (queued, payload) = incoming();
    let (receipt, inbound) = (receipt(), inbound(echo(), &queue));
    let mut running = inbound.run(&queued, Arrival::Incoming(payload), Hold::new(&receipt, Instant::now()));
    assert!(tokio::time::timeout(Duration::from_secs(60), &mut running).await.is_err());
    inbound.lifecycle.stop();
    assert_eq!(running.await, Disposition::Leave);
}
