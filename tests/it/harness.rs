//! The harness itself: what it starts it also ends, and what it reports is so.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use integration_tests::broker::shared_url;
use integration_tests::client::client;
use integration_tests::owned::OwnedChild;
use integration_tests::processes::{binary, run_to_end};
use integration_tests::provider::{Answer, Behaviour};
use integration_tests::{Broker, Provider, Proxy, Queues, eventually};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use rustix::process::Signal;

const DEADLINE: Duration = Duration::from_secs(10);

/// The state of a process as `/proc` has it; a killed one that nobody has waited for counts as gone.
fn is_gone(id: &str) -> bool {
    std::fs::read_to_string(Path::new("/proc").join(id).join("stat"))
        .map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn eventually_tells_the_last_status() {
    let mut looks = 0;
    let third = eventually("three looks", DEADLINE, async || {
        looks += 1;
        if looks == 3 { Ok("seen") } else { Err("not yet") }
    });
    assert_eq!(third.await.unwrap(), "seen");

    let never = eventually("a miracle", Duration::from_millis(50), async || Err::<(), _>("still waiting"));
    let failure = never.await.unwrap_err().to_string();
    assert!(failure.contains("a miracle") && failure.contains("still waiting"), "{failure}");

    let hangs = eventually("an answer", Duration::from_millis(50), async || {
        std::future::pending::<Result<(), String>>().await
    });
    assert!(hangs.await.is_err());
}

#[tokio::test]
async fn a_child_ends_with_its_group_and_with_its_owner() {
    let mut owner = Command::new("sh");
    owner.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped());
    let mut dropped = OwnedChild::spawn(&mut owner).unwrap();
    let mut line = String::new();
    let pipe = dropped.child().stdout.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(pipe), &mut line).unwrap();
    let (child, grandchild) = (dropped.id().to_string(), line.trim().to_owned());
    assert!(!is_gone(&child) && !is_gone(&grandchild));
    drop(dropped);
    let ended = async || {
        let all = [&child, &grandchild].iter().all(|id| is_gone(id));
        all.then_some(()).ok_or("some run")
    };
    eventually("both are gone", DEADLINE, ended).await.unwrap();
}

#[tokio::test]
async fn a_signal_ends_a_child_and_its_status_is_kept() {
    let mut child = OwnedChild::spawn(Command::new("sleep").arg("1000")).unwrap();
    assert_eq!(child.exit_status().unwrap(), None);
    child.signal(Signal::TERM).unwrap();
    let status = child.wait(DEADLINE).await.unwrap();
    assert_eq!(status.code(), None);
    assert_eq!(child.exit_status().unwrap(), Some(status));
    assert!(child.signal(Signal::TERM).is_err(), "it has ended");
}

#[test]
fn a_missing_binary_says_how_to_build_it() {
    let error = binary("no-such-service").unwrap_err().to_string();
    assert!(error.contains("cargo build --workspace"), "{error}");
}

#[tokio::test]
async fn a_command_that_ends_gives_its_code_and_output() {
    let finished = run_to_end("with-broker", &[], &[], &env::temp_dir(), DEADLINE).await.unwrap();
    assert_eq!(finished.code, 2);
    assert_eq!(finished.stdout, "");
    assert!(finished.stderr.starts_with("usage: with-broker COMMAND"), "{}", finished.stderr);
}

#[tokio::test]
async fn with_broker_says_what_to_install() {
    let env = [("RABBITMQ_SERVER", "/no/such/rabbitmq-server")];
    let finished = run_to_end("with-broker", &["true"], &env, &env::temp_dir(), DEADLINE).await.unwrap();
    assert_eq!(finished.code, 69);
    assert!(finished.stderr.contains("apt-get install rabbitmq-server"), "{}", finished.stderr);
}

#[tokio::test]
async fn the_provider_records_what_it_was_sent() {
    let provider = Provider::start().unwrap();
    let url = provider.url("/send%20it?to=%2B1&text=caf%E9+x");
    client()
        .unwrap()
        .post(url)
        .header("x-id", "7")
        .form(&[("text", "later"), ("a", "ü")])
        .send()
        .await
        .unwrap();
    let requests = provider.wait_for(1, DEADLINE).await.unwrap();
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/send%20it"));
    assert_eq!(request.query, "to=%2B1&text=caf%E9+x");
    assert_eq!(request.body, b"text=later&a=%C3%BC");
    assert_eq!(request.header("X-Id"), Some("7"));
    assert_eq!(request.field("to").as_deref(), Some("+1"));
    assert_eq!(request.field_bytes("text").as_deref(), Some(&b"caf\xE9 x"[..]));
    assert_eq!(provider.texts("a"), ["ü"]);
    assert_eq!(provider.count(), 1);
}

#[tokio::test]
async fn the_provider_behaves_as_told() {
    let provider = Provider::start().unwrap();
    let (client, url) = (client().unwrap(), provider.url("/"));
    provider.behave(Answer::new(503, "busy").header("retry-after", "7"));
    provider.behave_once(Answer::new(202, "taken").after(Duration::from_millis(100)));
    provider.behave_once(Behaviour::Close);

    let started = Instant::now();
    let first = client.get(&url).send().await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert_eq!((first.status().as_u16(), first.text().await.unwrap().as_str()), (202, "taken"));
    // Unlike a GET on a reused connection, a POST is not sent again by the client.
    let closed = client.post(&url).body("x").send().await.unwrap_err();
    assert!(!closed.is_connect() && !closed.is_timeout(), "{closed:?}");
    let standing = client.get(&url).send().await.unwrap();
    assert_eq!(standing.status().as_u16(), 503);
    assert_eq!(standing.headers()["retry-after"], "7");
    provider.decide(|request| Answer::new(200, request.query.clone()).into());
    assert_eq!(client.get(format!("{url}?q")).send().await.unwrap().text().await.unwrap(), "q");
    assert_eq!(provider.count(), 4);
}

#[tokio::test]
async fn the_provider_hangs_counts_and_stops() {
    let mut provider = Provider::start().unwrap();
    let (client, url) = (client().unwrap(), provider.url("/"));
    provider.behave(Behaviour::Hang);
    let (left, right) = (client.get(&url).send(), client.get(&url).send());
    let stop = async {
        provider.wait_for(2, DEADLINE).await.unwrap();
        assert_eq!(provider.most_at_once(), 2);
        provider.stop();
    };
    let (left, right, ()) = tokio::join!(left, right, stop);
    assert!(left.is_err() && right.is_err(), "a stop closes what hangs");
    assert!(client.get(&url).send().await.unwrap_err().is_connect());
    provider.restart().unwrap();
    provider.behave(Behaviour::default());
    assert_eq!(client.get(&url).send().await.unwrap().status().as_u16(), 200);
    assert_eq!(provider.count(), 3);
}

/// Declares the exchange of `prefix` and its quorum queue of incoming messages, as a service would.
async fn declare_incoming(url: &str, prefix: &str) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default;
    channel.exchange_declare(prefix.into(), ExchangeKind::Topic, durable, none()).await?;
    let queue = format!("{prefix}.incoming");
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), quorum).await?;
    let bind = QueueBindOptions::default();
    channel.queue_bind(queue.into(), prefix.into(), "incoming.#".into(), bind, none()).await?;
    Ok(connection.close(200, "done".into()).await?)
}

#[tokio::test]
async fn queues_under_a_prefix_are_seen_and_cleared() {
    let (url, prefix) = (shared_url().unwrap(), format!("harness-{}", std::process::id()));
    let queues = Queues::connect(&url, &prefix, &["one"], &["5s"]).await.unwrap();
    assert_eq!(queues.depth("incoming").await.unwrap(), None);
    declare_incoming(&url, &prefix).await.unwrap();

    let mut headers = FieldTable::default();
    headers.insert("attempts".into(), 3_i32.into());
    let properties = BasicProperties::default().with_headers(headers);
    queues.publish("incoming.one", properties, b"not JSON").await.unwrap();
    queues.wait_depth("incoming", 1, DEADLINE).await.unwrap();
    let failure = queues.assert_empty().await.unwrap_err().to_string();
    assert!(failure.contains("\"incoming\": 1"), "{failure}");
    let taken = queues.take_all("incoming").await.unwrap();
    assert_eq!((taken.len(), taken[0].routing_key.as_str()), (1, "incoming.one"));
    assert_eq!((taken[0].headers["attempts"].as_str(), taken[0].body.as_slice()), ("3", &b"not JSON"[..]));
    queues.assert_empty().await.unwrap();
    queues.delete_everything().await.unwrap();
    assert_eq!(queues.depth("incoming").await.unwrap(), None);
}

#[tokio::test]
async fn the_proxy_passes_on_cuts_and_stalls() {
    let mut server = Provider::start().unwrap();
    let proxy = Proxy::start(server.address()).unwrap();
    let (client, url) = (client().unwrap(), format!("http://{}/", proxy.address()));
    let post = async || client.post(&url).body("x").timeout(DEADLINE).send().await;
    assert_eq!(post().await.unwrap().status(), 200);

    server.behave(Behaviour::Hang);
    let cut = async {
        server.wait_for(2, DEADLINE).await.unwrap();
        proxy.cut();
    };
    let (broken, ()) = tokio::join!(post(), cut);
    let broken = broken.unwrap_err();
    assert!(!broken.is_connect() && !broken.is_timeout(), "{broken:?}");

    server.behave(Behaviour::default());
    assert_eq!(post().await.unwrap().status(), 200);
    proxy.stall();
    // One request on the connection that is open, one on a new one.
    let silent = async || client.post(&url).timeout(Duration::from_millis(200)).send().await.unwrap_err();
    let (first, second) = tokio::join!(silent(), silent());
    assert!(first.is_timeout() && second.is_timeout(), "{first:?} {second:?}");
    assert_eq!(server.count(), 3, "something passed");
    proxy.resume();
    assert_eq!(post().await.unwrap().status(), 200);

    server.stop();
    assert!(post().await.is_err(), "nobody is behind it");
}

#[tokio::test]
async fn a_broker_keeps_its_messages_over_a_kill_and_leaves_no_process() {
    let mut broker = Broker::start().await.unwrap();
    let (url, ids) = (broker.url(), broker.process_ids());
    declare_incoming(&url, "kept").await.unwrap();
    let queues = Queues::connect(&url, "kept", &[], &[]).await.unwrap();
    let durable = BasicProperties::default().with_delivery_mode(2);
    queues.publish("incoming.one", durable, b"kept").await.unwrap();

    broker.kill().await.unwrap();
    assert!(Connection::connect(&url, ConnectionProperties::default()).await.is_err());
    broker.restart().await.unwrap();
    let queues = Queues::connect(&url, "kept", &[], &[]).await.unwrap();
    queues.wait_depth("incoming", 1, DEADLINE).await.unwrap();
    assert_eq!(queues.take_all("incoming").await.unwrap()[0].body, b"kept");

    let all: Vec<_> = ids.into_iter().chain(broker.process_ids()).collect();
    drop(broker);
    assert!(all.iter().all(|id| is_gone(&id.to_string())), "{all:?}");
}
