//! Calls over the loopback that never get an answer, or half of one.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use shared::config::{Config, Engine as Settings};
use tokio::net::{TcpSocket, TcpStream};

use super::{super::part::tests::message, *};

/// How a call to `address` ends.
async fn class(address: SocketAddr, keys: &str) -> &'static str {
    let text = format!(
        "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'http'\nurl = 'http://{address}/'\n{keys}"
    );
    let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
    let (name, backend) = config.backends.iter().next().unwrap();
    let Settings::Http(http) = &backend.engine else { panic!() };
    let engine = HttpEngine::new(name, http, backend, &Calls::Made).unwrap();
    let message = message(&["1"], "x");
    engine.send(&Part::for_each_identity(&message)[0]).await.map_or_else(|error| error.class(), |_| "sent")
}

#[tokio::test]
async fn a_host_that_drops_packets_is_not_reached() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // Nobody accepts: when the backlog is full, the next connection is never answered.
    let mut waiting = Vec::new();
    let limit = Duration::from_millis(300);
    while let Ok(stream) = tokio::time::timeout(limit, TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    assert_eq!(class(address, "timeout = '1s'\n").await, "unavailable");
}

/// A provider that promises ten bytes and closes after two.
fn breaks_off() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        assert_ne!(length, 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nOK").unwrap();
    });
    address
}

#[tokio::test]
async fn an_answer_that_breaks_off_counts_as_far_as_its_rule_allows() {
    assert_eq!(class(breaks_off(), "").await, "sent");
    assert_eq!(class(breaks_off(), "success = { body = 'queued' }\n").await, "unknown");
}
