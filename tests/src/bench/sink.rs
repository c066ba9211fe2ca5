//! The provider: counts what it is sent, and says at once when enough has arrived.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// A provider on a thread of its own, which ends with it.
pub(super) struct Sink {
    address: SocketAddr,
    tally: Arc<Mutex<Tally>>,
    _stop: oneshot::Sender<()>,
}

#[derive(Default)]
struct Tally {
    count: u64,
    /// Who waits for how many.
    awaited: Option<(u64, oneshot::Sender<Instant>)>,
}

impl Sink {
    pub(super) async fn start() -> Result<Self> {
        let (tally, (stop, stopped)) = (Arc::<Mutex<Tally>>::default(), oneshot::channel());
        let routes = Router::new().route("/{kind}/{millis}", post(take)).with_state(Arc::clone(&tally));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (told, address) = oneshot::channel();
        thread::spawn(move || {
            let served = runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await?;
                // A benchmark that has ended does not listen any more.
                told.send(listener.local_addr()?).ok();
                tokio::select! {
                    served = axum::serve(listener, routes) => served,
                    _ended = stopped => Ok(()),
                }
            });
            drop(served);
        });
        Ok(Self { address: address.await.context("the sink has not started")?, tally, _stop: stop })
    }

    /// Where a provider is that answers after `delay`. What it is sent is counted if it `counts`.
    pub(super) fn url(&self, counts: bool, delay: Duration) -> String {
        let kind = if counts { "counted" } else { "aside" };
        format!("http://{}/{kind}/{}", self.address, delay.as_millis())
    }

    /// How many messages have arrived.
    pub(super) fn count(&self) -> u64 {
        lock(&self.tally).count
    }

    /// Waits until `count` have arrived, and says when the last of them did.
    pub(super) async fn reach(&self, count: u64, deadline: Duration) -> Result<Instant> {
        let (tell, told) = oneshot::channel();
        {
            let mut tally = lock(&self.tally);
            if tally.count >= count {
                return Ok(Instant::now());
            }
            tally.awaited = Some((count, tell));
        }
        let arrived = timeout(deadline, told).await;
        Ok(arrived.with_context(|| format!("{} of {count} have arrived", self.count()))??)
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(
    State(tally): State<Arc<Mutex<Tally>>>,
    Path((kind, millis)): Path<(String, u64)>,
    _text: Bytes,
) {
    if kind == "counted" {
        let mut tally = lock(&tally);
        tally.count += 1;
        let count = tally.count;
        if let Some((_, tell)) = tally.awaited.take_if(|(awaited, _)| *awaited <= count) {
            // Who has stopped waiting is told by the deadline.
            tell.send(Instant::now()).ok();
        }
    }
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_says_when_enough_has_arrived_and_counts_nothing_else() {
        let (sink, client) = (Sink::start().await.unwrap(), crate::client::client().unwrap());
        for counts in [true, false, true] {
            client.post(sink.url(counts, Duration::ZERO)).send().await.unwrap();
        }
        sink.reach(2, Duration::from_secs(5)).await.unwrap();
        assert_eq!(sink.count(), 2);
        assert!(sink.reach(3, Duration::from_millis(1)).await.is_err());
    }
}
