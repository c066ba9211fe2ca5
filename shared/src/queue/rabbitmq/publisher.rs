//! Publishes with confirms: everybody on one channel, each awaiting their own confirm.
//!
//! When several tasks publish on one lapin channel, tags and frames can swap, and a refused message is reported as
//! confirmed. lapin does both at the first poll of a publish, so that one is made under a lock (decision 0014).

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use deadpool_lapin::{Manager, Object, Pool, PoolError};
use futures_util::{
    FutureExt,
    future::BoxFuture,
    stream::{FuturesUnordered, StreamExt},
};
use lapin::{
    Channel, Confirmation, ConnectionStatus,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    link::{Link, Pauses, SessionError},
    wire,
};
use crate::{
    clock,
    lifecycle::{Exit, Failure},
    metric,
    queue::{Destination, Message, PublishError},
};

/// The name of the role on health pages and in logs.
const ROLE: &str = "publisher";

/// What health pages and senders are told of a broker that is connected.
const CONNECTED: &str = "connected";

/// What they are told of one that is connected and does not read.
const BLOCKED: &str = "blocked by the broker: it is short of memory or disk";

/// The most unconfirmed publishes; who finds no room waits. lapin scans all of them at each `multiple` confirm.
const MAX_IN_FLIGHT: u32 = 512;

/// How often an idle connection is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// A handle to the session of the moment.
#[derive(Clone)]
pub(super) struct Publisher {
    session: watch::Receiver<Option<Arc<Session>>>,
    link: Arc<Link>,
}

/// One connection to the broker, as those who publish see it.
struct Session {
    channel: Channel,
    status: ConnectionStatus,
    /// Held by who begins to publish, so that the order of tags is the order on the wire.
    order: Mutex<()>,
    room: Arc<Semaphore>,
    /// What nobody waits for any more.
    abandoned: mpsc::UnboundedSender<OnItsWay>,
    confirmed_some: AtomicBool,
    over: CancellationToken,
}

impl Publisher {
    /// Starts to connect.
    pub(super) fn start(link: &Arc<Link>) -> Self {
        let (sender, session) = watch::channel(None);
        link.note(ROLE, false, "connecting".to_owned());
        link.lifecycle.spawn(ROLE, link.tasks.track_future(run(Arc::clone(link), sender)));
        Self { session, link: Arc::clone(link) }
    }

    /// As [`Publisher::publish`] to where the message's route leads, but gives up waiting just before `queue.publish_timeout`
    /// is over, from the call on. What was not begun by then is not sent any more.
    pub(super) fn publish_in_time(&self, message: Message) -> impl Future<Output = Result<(), PublishError>> {
        let wait = self.link.publish_wait;
        let published = tokio::time::timeout(wait, self.publish(message, Destination::Back));
        published.map(move |in_time| in_time.unwrap_or(Err(PublishError::Timeout(wait))))
    }

    /// Returns when the message is confirmed at `destination`, or when nobody will ever know whether it is.
    pub(super) async fn publish(
        &self,
        message: Message,
        destination: Destination,
    ) -> Result<(), PublishError> {
        let (session, room) = self.room().await?;
        // lapin would keep the frames until the broker reads again, long after anybody waits for them.
        if session.status.blocked() {
            return Err(PublishError::Unavailable(BLOCKED.to_owned()));
        }
        let confirm = publish(Arc::clone(&session), &self.link, message, destination);
        let waiting =
            Waiting { session: &session, on_its_way: Some(OnItsWay { confirm, _room: room }), begun: false };
        tokio::select! {
            biased;
            confirmed = waiting => answer(confirmed, &session),
            () = session.over.cancelled() => Err(self.ended()),
        }
    }

    /// Waits for a session that has room for one more publish.
    async fn room(&self) -> Result<(Arc<Session>, OwnedSemaphorePermit), PublishError> {
        loop {
            let session = self.session.borrow().clone();
            let session = match session {
                Some(session) => session,
                // Seldom: the future of every publish need not have the room for it.
                None => Box::pin(self.next_session()).await?,
            };
            if let Ok(room) = Arc::clone(&session.room).acquire_owned().await {
                return Ok((session, room));
            }
        }
    }

    async fn next_session(&self) -> Result<Arc<Session>, PublishError> {
        let mut sessions = self.session.clone();
        let next = tokio::select! {
            next = sessions.wait_for(Option::is_some) => next.ok().and_then(|session| session.clone()),
            () = self.link.closing.cancelled() => None,
        };
        next.ok_or_else(|| self.ended())
    }

    fn ended(&self) -> PublishError {
        let stops = self.link.closing.is_cancelled();
        let why = if stops { "the process stops" } else { "the connection was lost before the confirm" };
        PublishError::Unavailable(why.to_owned())
    }
}

/// A publish, whose frames lapin has from the first poll on, with the room that it takes.
struct OnItsWay {
    confirm: BoxFuture<'static, lapin::Result<Confirmation>>,
    _room: OwnedSemaphorePermit,
}

/// Somebody who waits for a confirm. When they give up, the session waits instead: lapin keeps a confirm that was dropped.
struct Waiting<'s> {
    session: &'s Session,
    on_its_way: Option<OnItsWay>,
    begun: bool,
}

impl Future for Waiting<'_> {
    type Output = lapin::Result<Confirmation>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let first = !std::mem::replace(&mut self.begun, true);
        let _order = first.then(|| self.session.order.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(on_its_way) = &mut self.on_its_way else { return Poll::Pending };
        let polled = on_its_way.confirm.as_mut().poll(context);
        if polled.is_ready() {
            self.on_its_way = None;
        }
        polled
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(on_its_way) = self.on_its_way.take().filter(|_| self.begun) {
            // Nobody takes it when the session is over, and then it needs nobody.
            drop(self.session.abandoned.send(on_its_way));
        }
    }
}

fn publish(
    session: Arc<Session>,
    link: &Link,
    message: Message,
    destination: Destination,
) -> BoxFuture<'static, lapin::Result<Confirmation>> {
    let topology = &link.topology;
    let (exchange, key) = (topology.destination(destination, &message.route), topology.key(&message.route));
    let (body, properties) = wire::content(message);
    Box::pin(async move {
        let options = BasicPublishOptions::default();
        #[expect(clippy::disallowed_methods, reason = "this is the place the ban points to")]
        let written = session.channel.basic_publish(exchange, key, options, &body, properties).await;
        written?.await
    })
}

/// What the outcome means for who has published.
fn answer(outcome: lapin::Result<Confirmation>, session: &Session) -> Result<(), PublishError> {
    match outcome {
        Ok(Confirmation::Ack(None)) => {
            session.confirmed_some.store(true, Ordering::Relaxed);
            Ok(())
        }
        Ok(Confirmation::Ack(Some(_))) => Err(PublishError::Refused("returned as unroutable".to_owned())),
        Ok(Confirmation::Nack(_)) => {
            Err(PublishError::Refused("a queue is full or has lost its majority".to_owned()))
        }
        Ok(Confirmation::NotRequested) => {
            Err(PublishError::Refused("the channel does not confirm".to_owned()))
        }
        Err(error) => Err(PublishError::Unavailable(error.to_string())),
    }
}

async fn run(link: Arc<Link>, sessions: watch::Sender<Option<Arc<Session>>>) {
    let pool = match pool(&link) {
        Ok(pool) => pool,
        Err(error) => {
            return link.lifecycle.fail(Failure::new(Exit::Task, format!("no connection pool: {error}")));
        }
    };
    let mut pauses = Pauses::new(ROLE);
    while let Err(error) = serve(&link, &pool, &sessions).await {
        if !pauses.after(&error, &link).await {
            return;
        }
    }
}

/// The connection comes from a pool, which replaces it when it is dead; the task keeps it for a whole session.
fn pool(link: &Link) -> Result<Pool, Box<dyn std::error::Error>> {
    let manager = Manager::new(link.url(), || Link::properties(ROLE), lapin::runtime::default_runtime()?);
    Ok(Pool::builder(manager).max_size(1).build()?)
}

/// One session, from its connection to its end.
async fn serve(
    link: &Link,
    pool: &Pool,
    sessions: &watch::Sender<Option<Arc<Session>>>,
) -> Result<(), SessionError> {
    let (connection, channel) = link.open(open(link, pool)).await?;
    let (abandoned, left) = mpsc::unbounded_channel();
    let session = Arc::new(Session {
        channel,
        status: connection.status().clone(),
        order: Mutex::default(),
        room: Arc::new(Semaphore::new(MAX_IN_FLIGHT as usize)),
        abandoned,
        confirmed_some: AtomicBool::new(false),
        over: CancellationToken::new(),
    });
    sessions.send_replace(Some(Arc::clone(&session)));
    link.ready(ROLE, CONNECTED.to_owned());
    let ended = look_after(link, &session, left, sessions).await;
    sessions.send_replace(None);
    session.over.cancel();
    session.room.close();
    // It goes back to the pool, which does not give out what is closed.
    Link::close_connection(&connection).await;
    ended
}

async fn open(link: &Link, pool: &Pool) -> Result<(Object, Channel), SessionError> {
    let connection = pool.get().await.map_err(|error| match error {
        PoolError::Backend(error) => SessionError::Lapin(error),
        PoolError::Timeout(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_) => SessionError::Lost,
    })?;
    link.declare(&connection).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok((connection, channel))
}

/// Looks at the session until it is lost, or until a stop and the last confirm.
async fn look_after(
    link: &Link,
    session: &Session,
    mut left: mpsc::UnboundedReceiver<OnItsWay>,
    sessions: &watch::Sender<Option<Arc<Session>>>,
) -> Result<(), SessionError> {
    let mut abandoned = FuturesUnordered::new();
    let mut look = tokio::time::interval(LOOK);
    let last_publish = metrics::gauge!(metric::LAST_PUBLISH);
    let mut blocked = false;
    let drained = async {
        link.closing.cancelled().await;
        sessions.send_replace(None);
        let all = session.room.acquire_many(MAX_IN_FLIGHT).await;
        // Before it is given back: nothing begins any more.
        session.room.close();
        drop(all);
    };
    tokio::pin!(drained);
    loop {
        tokio::select! {
            () = &mut drained => return Ok(()),
            Some(OnItsWay { confirm, _room: room }) = left.recv() => {
                abandoned.push(async move { (confirm.await, room) });
            }
            Some((confirmed, _room)) = abandoned.next(), if !abandoned.is_empty() => {
                // Nobody is told any more.
                drop(answer(confirmed, session));
            }
            _ = look.tick() => {
                if !session.channel.status().connected() {
                    return Err(SessionError::Lost);
                }
                if session.confirmed_some.swap(false, Ordering::Relaxed) {
                    last_publish.set(Duration::from_secs(clock::now().seconds()).as_secs_f64());
                }
                note_blocked(link, &session.status, &mut blocked);
            }
        }
    }
}

/// A broker that is short of memory or disk stops reading; nothing is lost, but nothing is confirmed either.
fn note_blocked(link: &Link, status: &ConnectionStatus, blocked: &mut bool) {
    let now = status.blocked();
    if now != *blocked {
        *blocked = now;
        if now {
            tracing::warn!(role = ROLE, "{BLOCKED}");
        } else {
            tracing::info!(role = ROLE, "the broker takes messages again");
        }
        link.note(ROLE, !now, if now { BLOCKED } else { CONNECTED }.to_owned());
    }
}
