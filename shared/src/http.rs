//! Serves a router on a listener until a stop: the one accept loop, of the public and of the private pages.
//!
//! Not `axum::serve`, which sets no timer: a peer that never ends the head of its request would keep its connection for
//! ever, and every stop waiting until the drain deadline.

mod unread;

use std::{
    convert::Infallible,
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use self::unread::Reading;
use crate::lifecycle::Lifecycle;

/// The most connections open at once; the next waits in the listener's backlog. Far more than providers hold, and few
/// enough that one peer cannot take all memory. Fewer where the process may not open so many files.
const MAX_CONNECTIONS: u32 = 4096;

/// How long a connection without a request in hand may go on when a stop is asked for: a head on its way still arrives.
const LAST_HEAD: Duration = Duration::from_secs(1);

/// How long the peer may go on sending after our last answer.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait after an accept that failed for want of descriptors or memory, which others must give back first.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves `router` until a stop is asked for and every request in hand is answered. A connection on which no whole head
/// comes within `head_timeout`, the first or the next, is closed.
pub async fn serve(listener: TcpListener, router: Router, head_timeout: Duration, lifecycle: &Lifecycle) {
    let most = max_connections();
    let open = Arc::new(Semaphore::new(most as usize));
    loop {
        let next = async { (Arc::clone(&open).acquire_owned().await, accept(&listener).await) };
        let (permit, (stream, peer)) = tokio::select! {
            next = next => next,
            () = lifecycle.stopping() => break,
        };
        let connection = converse(stream, peer, router.clone(), head_timeout, lifecycle.clone());
        lifecycle.spawn_work(async move {
            connection.await;
            drop(permit);
        });
    }
    drop(listener);
    // All permits are back when all connections have ended.
    drop(open.acquire_many(most).await);
}

/// There are two listeners, and the calls to providers, the broker and the queue file need descriptors too.
fn max_connections() -> u32 {
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(MAX_CONNECTIONS, |files| {
        u32::try_from(files / 3).map_or(MAX_CONNECTIONS, |most| most.min(MAX_CONNECTIONS))
    })
}

/// Lets the process open as many files as it may. The usual 1024 are a default for programs of another kind.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, files = limit.current, "the limit of open files stays as it is");
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // That connection is gone; the next may be well.
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
            Err(error) => {
                tracing::error!("cannot accept a connection, trying again: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    head_timeout: Duration,
    lifecycle: Lifecycle,
) {
    // An answer is one small write: waiting for more to send with it would only delay it.
    drop(stream.set_nodelay(true));
    let (in_hand, reading) = (AtomicBool::new(false), Reading::default());
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let mut request = reading.begin(request);
        request.extensions_mut().insert(ConnectInfo(peer));
        in_hand.store(true, Ordering::Relaxed);
        let answer = router.call(request);
        async {
            let Ok(mut answer) = answer.await;
            in_hand.store(false, Ordering::Relaxed);
            reading.end(&mut answer);
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the peer's affair: what counts is told where the request is handled.
    tokio::select! {
        _ = &mut connection => return linger(connection.into_parts().io.into_inner()).await,
        () = lifecycle.stopping() => {}
    }
    Pin::new(&mut connection).graceful_shutdown();
    let ended = tokio::time::timeout(LAST_HEAD, &mut connection).await.is_ok();
    if !ended && in_hand.load(Ordering::Relaxed) {
        drop(connection.await);
    }
}

/// Lets the peer of a connection that we have ended say the rest. Closed at once, a body that was refused unread would
/// break the connection under the peer's hands, and the refusal be lost. But first the peer is told that it has ended:
/// it might send its next request into a connection that was only idle for too long.
async fn linger(mut stream: TcpStream) {
    drop(stream.shutdown().await);
    drop(tokio::time::timeout(LINGER, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await);
}

#[cfg(test)]
mod tests;
