//! The load: messages posted over many connections at a time, each again as soon as the last one is answered.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use axum::body::{Body, to_bytes};
use axum::http::{HeaderValue, Request, header};
use hdrhistogram::Histogram;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::meter::float;

/// What came of it.
pub(super) struct Load {
    pub(super) accepted: u64,
    pub(super) seconds: f64,
    /// From a request to its answer.
    pub(super) micros: Histogram<u64>,
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        float(self.accepted) / self.seconds
    }
}

/// Posts for `time`, or until `most` are accepted. Anything but a 200 is an error.
pub(super) async fn post(
    address: SocketAddr,
    path: &str,
    connections: usize,
    time: Duration,
    most: u64,
) -> Result<Load> {
    let mut drivers = JoinSet::new();
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(connect(address, &mut drivers).await?);
    }
    let (begun, share) = (Instant::now(), most.div_ceil(connections as u64));
    let mut posting = JoinSet::new();
    for (mut sender, connection) in senders.into_iter().zip(0_u64..) {
        let path = path.to_owned();
        posting.spawn(async move {
            let (mut micros, mut number) = (Histogram::<u64>::new(3)?, 0);
            while begun.elapsed() < time && number < share {
                let sent = Instant::now();
                ask(&mut sender, address, &path, connection * 10_000_000 + number).await?;
                micros.record(u64::try_from(sent.elapsed().as_micros())?)?;
                number += 1;
            }
            anyhow::Ok(micros)
        });
    }
    let mut micros = Histogram::new(3)?;
    while let Some(part) = posting.join_next().await {
        micros.add(part??)?;
    }
    Ok(Load { accepted: micros.len(), seconds: begun.elapsed().as_secs_f64(), micros })
}

async fn connect(address: SocketAddr, drivers: &mut JoinSet<hyper::Result<()>>) -> Result<SendRequest<Body>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    drivers.spawn(connection);
    Ok(sender)
}

async fn ask(sender: &mut SendRequest<Body>, address: SocketAddr, path: &str, number: u64) -> Result<()> {
    let body = format!("identity=%2B1{number:010}&text=echo+hello+{number}");
    let mut request = Request::post(path).header(header::HOST, address.to_string()).body(Body::from(body))?;
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    to_bytes(Body::new(answer.into_body()), 1024).await?;
    ensure!(status == 200, "answered with {status}");
    Ok(())
}
