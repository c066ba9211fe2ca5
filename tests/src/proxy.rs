//! A TCP proxy in front of a server: a network that a test can cut, or let swallow everything.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::ports;

/// How much is passed on at a time.
const CHUNK: usize = 16 * 1024;

/// A proxy on a loopback port of its own; dropping it closes the port and every connection.
///
/// It runs in a thread of its own, so it passes on even while the test is busy.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    thread: Option<JoinHandle<()>>,
}

/// What the network does.
#[derive(Clone, Copy, Default)]
struct State {
    /// Nothing passes, and nobody is told.
    stalled: bool,
    /// How often all connections were cut.
    cuts: u64,
    /// The proxy is dropped.
    ended: bool,
}

impl Proxy {
    /// Starts a proxy that passes everything on to the server at `target`, which need not be there yet.
    pub fn start(target: SocketAddr) -> Result<Self> {
        let listener = ports::listen()?;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, state) = watch::channel(State::default());
        let thread = thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(serve(listener, target, state)))?;
        Ok(Self { address, state: Arc::new(sender), thread: Some(thread) })
    }

    /// Where clients connect instead of to the server.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets every connection, at both ends. New ones are passed on as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// Lets nothing pass until [`Proxy::resume`], as a firewall that drops packets: connections stay open, new ones are
    /// accepted, and nobody hears anything.
    pub fn stall(&self) {
        self.state.send_modify(|state| state.stalled = true);
    }

    /// Passes on again, what was written meanwhile first.
    pub fn resume(&self) {
        self.state.send_modify(|state| state.stalled = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.send_modify(|state| state.ended = true);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has shown itself already, in the connections that broke.
            drop(thread.join());
        }
    }
}

/// Serves until the proxy is dropped; with the runtime every connection ends.
async fn serve(listener: TcpListener, target: SocketAddr, state: watch::Receiver<State>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    let mut ended = state.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((client, _)) = accepted {
                connections.spawn(connection(client, target, state.clone()));
            },
            Some(_) = connections.join_next() => {}
            _ = ended.wait_for(|state| state.ended) => return,
        }
    }
}

/// Passes one connection on until it ends, breaks, or is cut. A peer that is gone is told to the other by a reset.
async fn connection(client: TcpStream, target: SocketAddr, mut state: watch::Receiver<State>) {
    let cuts = state.borrow().cuts;
    let mut gate = state.clone();
    let cut = state.wait_for(|state| state.cuts > cuts);
    tokio::pin!(cut);
    let server = tokio::select! {
        server = connect(target, &mut gate) => server,
        _ = &mut cut => return reset(&client),
    };
    let Ok(server) = server else { return reset(&client) };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let (mut client, mut server) = (client, server);
    let broken = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let both = async {
            tokio::try_join!(
                pass_on(from_client, to_server, gate.clone()),
                pass_on(from_server, to_client, gate.clone())
            )
        };
        tokio::select! {
            both = both => both.is_err(),
            _ = &mut cut => true,
        }
    };
    if broken {
        reset(&client);
        reset(&server);
    }
}

/// A network that swallows everything lets no connection through either.
async fn connect(target: SocketAddr, gate: &mut watch::Receiver<State>) -> io::Result<TcpStream> {
    flowing(gate).await;
    TcpStream::connect(target).await
}

/// Copies one direction to its end, while the network lets it.
async fn pass_on(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: watch::Receiver<State>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        flowing(&mut gate).await;
        let mut stalled = gate.clone();
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            _ = stalled.wait_for(|state| state.stalled) => continue,
        };
        flowing(&mut gate).await;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&chunk[..read]).await?;
    }
}

async fn flowing(gate: &mut watch::Receiver<State>) {
    // An error means that the proxy is dropped, which ends everything anyway.
    drop(gate.wait_for(|state| !state.stalled).await);
}

/// Makes the close that follows a reset instead of an orderly end.
fn reset(stream: &TcpStream) {
    // One that is closed already needs no reset.
    drop(stream.set_zero_linger());
}
