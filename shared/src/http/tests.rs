//! Real connections, over the loopback.

use std::time::Instant;

use axum::{
    extract::State,
    routing::{get, post},
};
use tokio::{io::AsyncReadExt, sync::Notify};

use super::*;

/// Longer than any test shall take.
const LONG: Duration = Duration::from_secs(30);

/// The page `/` tells who asks; `/read` repeats a body; `/slow` says that it has begun, and ends when it is told to.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<Notify>,
    end: Arc<Notify>,
}

async fn start(head_timeout: Duration) -> (SocketAddr, Slow, Lifecycle) {
    let slow = Slow::default();
    let page = |State(slow): State<Slow>| async move {
        slow.begun.notify_one();
        slow.end.notified().await;
        "slow"
    };
    let router = Router::new()
        .route("/", get(async |ConnectInfo(peer): ConnectInfo<SocketAddr>| peer.ip().to_string()))
        .route("/read", post(async |body: String| body))
        .route("/slow", get(page))
        .with_state(slow.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, lifecycle) = (listener.local_addr().unwrap(), Lifecycle::default());
    let served = lifecycle.clone();
    lifecycle.spawn("server", async move { serve(listener, router, head_timeout, &served).await });
    (address, slow, lifecycle)
}

async fn connect(address: SocketAddr, bytes: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream
}

/// What comes until it ends with `end`, or until the connection is closed.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while end.is_empty() || !text.ends_with(end) {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await.unwrap_or(0) {
                0 => break,
                length => text.push_str(std::str::from_utf8(&buffer[..length]).unwrap()),
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("neither an answer nor a close");
    text
}

async fn finished(lifecycle: &Lifecycle) {
    tokio::time::timeout(LONG, lifecycle.finished()).await.expect("a connection held up the stop");
    assert!(lifecycle.failure().is_none());
}

#[tokio::test]
async fn a_head_that_is_never_ended_is_given_up() {
    let (address, _, lifecycle) = start(Duration::from_millis(100)).await;
    for head in ["", "GET", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let begun = Instant::now();
        assert_eq!(read_to(&mut connect(address, head).await, "").await, "", "{head:?}");
        // The peer sees it before we are done with it, so that it sends no other request.
        assert!(begun.elapsed() < LINGER, "{head:?}: {:?}", begun.elapsed());
    }
    lifecycle.stop();
    finished(&lifecycle).await;
}

#[tokio::test]
async fn a_stop_waits_for_no_connection_without_a_request() {
    let (address, _, lifecycle) = start(2 * LONG).await;
    let mut kept = connect(address, "GET / HTTP/1.1\r\n\r\n").await;
    read_to(&mut kept, "127.0.0.1").await;
    let mut open = [connect(address, "").await, connect(address, "GET / HTTP/1.1\r\nHost:").await, kept];
    // Answered after the others were accepted.
    read_to(&mut connect(address, "GET / HTTP/1.0\r\n\r\n").await, "").await;
    lifecycle.stop();
    finished(&lifecycle).await;
    for stream in &mut open {
        assert_eq!(read_to(stream, "").await, "");
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_answer_of_a_request_in_hand() {
    let (address, slow, lifecycle) = start(LONG).await;
    let mut idle = connect(address, "GET / HTTP/1.1\r\n").await;
    let mut stream = connect(address, "GET /slow HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n").await;
    slow.begun.notified().await;
    lifecycle.stop();
    // Closed when a stop has waited for heads as long as it does.
    assert_eq!(read_to(&mut idle, "").await, "");
    assert!(TcpStream::connect(address).await.is_err());
    slow.end.notify_one();
    let answer = read_to(&mut stream, "").await;
    assert!(answer.ends_with("\r\n\r\nslow") && answer.contains("connection: close"), "{answer}");
    finished(&lifecycle).await;
}

#[tokio::test]
async fn a_refusal_reaches_a_peer_whose_body_is_not_read() {
    let (address, _, lifecycle) = start(LONG).await;
    let body = "x".repeat(8 << 20);
    for _ in 0..5 {
        let head = format!("PUT /none HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        let mut stream = connect(address, &(head + &body)).await;
        assert!(read_to(&mut stream, "").await.starts_with("HTTP/1.1 404"));
    }
    lifecycle.stop();
    finished(&lifecycle).await;
}

#[tokio::test]
async fn only_a_body_that_nobody_reads_ends_the_connection() {
    let (address, _, lifecycle) = start(LONG).await;
    let mut stream = connect(address, "").await;
    let mut ask = async |head: &str, rest: &str, end: &str| {
        stream.write_all(format!("{head}\r\n\r\n{rest}").as_bytes()).await.unwrap();
        read_to(&mut stream, end).await
    };
    for (head, rest, end) in [
        ("POST /read HTTP/1.1\r\nContent-Length: 5", "hello", "hello"),
        ("POST /read HTTP/1.1\r\nTransfer-Encoding: chunked", "3\r\nhey\r\n0\r\n\r\n", "hey"),
        ("GET /none HTTP/1.1", "", "\r\n\r\n"),
        ("PUT /none HTTP/1.1\r\nContent-Length: 0", "", "\r\n\r\n"),
    ] {
        assert!(!ask(head, rest, end).await.contains("connection:"), "{head}");
    }
    let answer = ask("PUT /none HTTP/1.1\r\nContent-Length: 5", "hello", "").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    lifecycle.stop();
    finished(&lifecycle).await;
}

#[tokio::test]
async fn a_connection_takes_requests_one_after_the_other_and_at_once() {
    let (address, _, lifecycle) = start(LONG).await;
    let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut stream = connect(address, request).await;
    assert!(read_to(&mut stream, "\r\n\r\n127.0.0.1").await.starts_with("HTTP/1.1 200"));
    stream.write_all(format!("{request}{request}GET /none HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let answers = read_to(&mut stream, "").await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    assert_eq!(answers.matches("HTTP/1.0 404").count(), 1, "{answers}");
    lifecycle.stop();
    finished(&lifecycle).await;
}

#[test]
fn the_process_may_open_as_many_files_as_it_is_allowed_to() {
    let limit = getrlimit(Resource::Nofile);
    let few = limit.maximum.map_or(4096, |most| most.min(4096));
    setrlimit(Resource::Nofile, Rlimit { current: Some(few), ..limit }).unwrap();
    assert_eq!(u64::from(max_connections()), few / 3);
    raise_open_files();
    assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
}
