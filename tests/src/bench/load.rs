//! The load: messages posted over many connections, each again as soon as the last one is answered (a closed loop), or at a
//! fixed rate, whatever the answers do (an open loop).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, header};
use hdrhistogram::Histogram;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::case::{Measure, Values};
use super::meter::float;

/// How often it is looked which messages are due.
const LOOK: Duration = Duration::from_micros(200);

/// How many bytes of an answer are read.
const ANSWER: usize = 1024;

/// Where is posted to, and how.
#[derive(Clone)]
pub(super) struct Load {
    pub(super) address: SocketAddr,
    /// In turn.
    pub(super) paths: Arc<[String]>,
    pub(super) connections: usize,
    /// How many characters a text has at least.
    pub(super) characters: usize,
}

/// When a message is posted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As soon as a connection is free, until this many are accepted.
    Most(u64),
    /// So many a second.
    PerSecond(u32),
}

/// What came of it.
pub(super) struct Posted {
    pub(super) accepted: u64,
    pub(super) seconds: f64,
    /// From the time when a message was to be posted until the answer.
    micros: Histogram<u64>,
}

impl Posted {
    /// The rate, and the latency.
    pub(super) fn values(&self) -> Values {
        let mut values = latency(&self.micros);
        values.insert(Measure::PerSecond, float(self.accepted) / self.seconds);
        values
    }
}

/// The quantiles that are told.
pub(super) fn latency(micros: &Histogram<u64>) -> Values {
    let ms = |quantile| float(micros.value_at_quantile(quantile)) / 1000.0;
    Values::from([(Measure::P50Ms, ms(0.5)), (Measure::P99Ms, ms(0.99))])
}

impl Load {
    /// Posts for `time`, or until all are posted that are to be. Anything but a 200 is an error.
    pub(super) async fn post(&self, pace: Pace, time: Duration) -> Result<Posted> {
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            callers.push(Caller::connect(self.clone()).await?);
        }
        let turns = Arc::new(Turns::new(pace, time));
        let (mut posting, begun) = (JoinSet::new(), turns.begun);
        for mut caller in callers {
            let turns = Arc::clone(&turns);
            posting.spawn(async move {
                let mut micros = Histogram::<u64>::new(3)?;
                while let Some((number, due)) = turns.next().await {
                    caller.ask(number).await?;
                    micros.record(u64::try_from(due.elapsed().as_micros())?)?;
                }
                anyhow::Ok(micros)
            });
        }
        if let Pace::PerSecond(_) = pace {
            thread::spawn(move || turns.keep());
        }
        let mut micros = Histogram::new(3)?;
        while let Some(part) = posting.join_next().await {
            micros.add(part??)?;
        }
        Ok(Posted { accepted: micros.len(), seconds: begun.elapsed().as_secs_f64(), micros })
    }
}

/// One connection.
pub(super) struct Caller {
    load: Load,
    sender: SendRequest<Body>,
    _driver: JoinSet<hyper::Result<()>>,
}

impl Caller {
    pub(super) async fn connect(load: Load) -> Result<Self> {
        let stream = TcpStream::connect(load.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { load, sender, _driver: driver })
    }

    /// Posts a message, and waits for its 200.
    pub(super) async fn ask(&mut self, number: u64) -> Result<()> {
        let Load { address, paths, characters, .. } = &self.load;
        let place = usize::try_from(number)? % paths.len();
        let request = Request::post(&paths[place]).header(header::HOST, address.to_string());
        let mut request = request.body(Body::from(form(number, *characters)))?;
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(header::CONTENT_TYPE, form);
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        to_bytes(Body::new(answer.into_body()), ANSWER).await?;
        ensure!(status == 200, "answered with {status}");
        Ok(())
    }
}

/// A message of somebody of his own.
fn form(number: u64, characters: usize) -> String {
    let text = format!("echo hello {number}").replace(' ', "+");
    let rest = characters.saturating_sub(text.len() + 1);
    let filling = if rest > 0 { format!("+{}", "x".repeat(rest)) } else { String::new() };
    format!("identity=%2B1{number:010}&text={text}{filling}")
}

/// Whose turn it is.
struct Turns {
    begun: Instant,
    time: Duration,
    pace: Pace,
    taken: AtomicU64,
    /// How many are due and not taken, where a rate says so.
    due: Semaphore,
}

impl Turns {
    fn new(pace: Pace, time: Duration) -> Self {
        Self { begun: Instant::now(), time, pace, taken: AtomicU64::new(0), due: Semaphore::new(0) }
    }

    /// The next message, as soon as it is due, and since when it is: one that had to wait for a free connection is late.
    async fn next(&self) -> Option<(u64, Instant)> {
        match self.pace {
            Pace::Most(most) => {
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                (number < most && self.begun.elapsed() < self.time).then(|| (number, Instant::now()))
            }
            Pace::PerSecond(rate) => {
                self.due.acquire().await.ok()?.forget();
                let number = self.taken.fetch_add(1, Ordering::Relaxed);
                Some((number, self.begun + due(number, rate)))
            }
        }
    }

    /// Says what is due until the time is over: on a thread, for the runtime's own clock goes by milliseconds.
    #[expect(clippy::disallowed_methods, reason = "the schedule of the load is what is waited for")]
    fn keep(&self) {
        let Pace::PerSecond(rate) = self.pace else { return };
        let mut told = 0;
        while self.begun.elapsed() < self.time {
            while self.begun + due(told, rate) <= Instant::now() {
                self.due.add_permits(1);
                told += 1;
            }
            thread::sleep(LOOK);
        }
        // What is still waiting then is beyond what can be done at this rate.
        self.due.close();
    }
}

/// How long after the beginning a message is due.
fn due(number: u64, rate: u32) -> Duration {
    Duration::from_nanos(number * 1_000_000_000 / u64::from(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_for_a_free_connection_is_late_since_it_was_due() {
        let turns = Turns::new(Pace::PerSecond(100), Duration::from_secs(1));
        turns.due.add_permits(3);
        let mut due = Vec::new();
        for _ in 0..3 {
            due.push(turns.next().await.unwrap());
        }
        let expected = [(0, 0), (1, 10), (2, 20)];
        assert_eq!(due, expected.map(|(number, ms)| (number, turns.begun + Duration::from_millis(ms))));
        turns.due.close();
        assert_eq!(turns.next().await, None, "the time is over");
    }

    #[tokio::test]
    async fn a_closed_loop_ends_with_the_last_message() {
        let turns = Turns::new(Pace::Most(1), Duration::from_secs(60));
        assert_eq!(turns.next().await.map(|(number, _)| number), Some(0));
        assert_eq!(turns.next().await, None);
    }

    #[test]
    fn a_text_is_as_long_as_it_is_to_be() {
        assert_eq!(form(7, 0), "identity=%2B10000000007&text=echo+hello+7");
        assert_eq!(form(7, 20), "identity=%2B10000000007&text=echo+hello+7+xxxxxxx");
        assert_eq!("echo hello 7 xxxxxxx".len(), 20);
    }
}
