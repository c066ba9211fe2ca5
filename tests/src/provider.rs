//! An SMS provider for the tests: a real HTTP server that keeps every request and answers as it is told.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use tokio::sync::oneshot;

use crate::eventually;
use crate::ports;

pub use self::answer::{Answer, Behaviour, Then};
pub use self::request::Request;

mod answer;
mod request;

/// A running provider; dropping it closes its port and every connection.
///
/// It answers `200` with an empty body until it is told otherwise. It runs in a thread of its own, so it
/// answers even while the test is busy.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: Option<Server>,
}

impl Provider {
    /// Starts a provider on a free loopback port.
    pub fn start() -> Result<Self> {
        let listener = ports::listen()?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let server = Some(Server::start(listener, Arc::clone(&shared))?);
        Ok(Self { address, shared, server })
    }

    /// Where it listens, the same before and after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path` at this provider, the same before and after a restart.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers all requests from now on by `behaviour`.
    pub fn behave(&self, behaviour: impl Into<Behaviour>) {
        let behaviour = behaviour.into();
        self.decide(move |_| behaviour.clone());
    }

    /// Answers all requests from now on by what `decide` says of each.
    pub fn decide(&self, decide: impl Fn(&Request) -> Behaviour + Send + 'static) {
        self.shared.lock().decide = Some(Box::new(decide));
    }

    /// Answers the next request by `behaviour`, before the standing behaviour applies again; calls add up.
    pub fn behave_once(&self, behaviour: impl Into<Behaviour>) {
        self.shared.lock().once.push_back(behaviour.into());
    }

    /// All requests so far, in the order of their arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.lock().requests.clone()
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.lock().requests.len()
    }

    /// The greatest number of requests that were being answered at once.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.lock().most_at_once
    }

    /// The value of the field `name` in every request that has it, in the order of their arrival.
    #[must_use]
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.shared.lock().requests.iter().filter_map(|request| request.field(name)).collect()
    }

    /// Waits until at least `count` requests have arrived, and gives them all.
    pub async fn wait_for(&self, count: usize, deadline: Duration) -> Result<Vec<Request>> {
        let what = format!("the provider has {count} requests");
        eventually(&what, deadline, async || match self.requests() {
            requests if requests.len() >= count => Ok(requests),
            requests => Err(format!("{} of {count}: {requests:?}", requests.len())),
        })
        .await
    }

    /// Closes the port and every connection, as a crash would; what it has recorded stays.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Listens again on the same port; a provider that runs is stopped first.
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let listener =
            TcpListener::bind(self.address).with_context(|| format!("port of {}", self.address))?;
        self.server = Some(Server::start(listener, Arc::clone(&self.shared))?);
        Ok(())
    }
}

/// The thread that serves, until this value is dropped.
struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        listener.set_nonblocking(true)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let router = Router::new().fallback(answer).with_state(shared);
        let thread = thread::Builder::new().name("provider".to_owned()).spawn(move || {
            // Whichever ends, the runtime is dropped with every connection that is open.
            runtime.block_on(async {
                tokio::select! {
                    _ = axum::serve(listener, router) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server has shown itself already, in the requests without an answer.
            drop(thread.join());
        }
    }
}

#[derive(Default)]
struct Shared(Mutex<Log>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Decide = Box<dyn Fn(&Request) -> Behaviour + Send>;

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    once: VecDeque<Behaviour>,
    decide: Option<Decide>,
    at_once: usize,
    most_at_once: usize,
}

/// A request that is being answered; the count goes down whichever way the answering ends.
struct InHand<'a>(&'a Shared);

impl<'a> InHand<'a> {
    fn record(shared: &'a Shared, request: Request) -> (Self, Behaviour) {
        let mut log = shared.lock();
        let standing = log.decide.as_ref().map_or_else(Behaviour::default, |decide| decide(&request));
        let behaviour = log.once.pop_front().unwrap_or(standing);
        log.requests.push(request);
        log.at_once += 1;
        log.most_at_once = log.most_at_once.max(log.at_once);
        (Self(shared), behaviour)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.lock().at_once -= 1;
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        method: method.to_string(),
        path: uri.path().to_owned(),
        query: uri.query().unwrap_or_default().to_owned(),
        headers,
        body: body.to_vec(),
        at: Instant::now(),
    };
    let (_in_hand, behaviour) = InHand::record(&shared, request);
    match behaviour {
        Behaviour::Answer(answer) => answer.respond().await,
        Behaviour::Hang => std::future::pending().await,
        // Unwinding ends the connection's task and so closes the connection; unlike a panic it prints nothing.
        Behaviour::Close => resume_unwind(Box::new("the provider closes the connection")),
    }
}
