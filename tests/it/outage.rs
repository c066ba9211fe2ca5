//! The broker goes away and comes back: everything heals by itself, consumers included, and nothing accepted is lost.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail, ensure};
use integration_tests::{
    Broker, Provider, Service,
    client::client,
    eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};

const CONFIG: &str =
    "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n[[apps]]\napp = 'echo'\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_loses_nothing_that_was_accepted() -> Result<()> {
    let mut broker = Broker::start().await?;
    let mut stack = Stack::start_on(&broker, CONFIG, &["b"]).await?;
    stack.accept("/backends/b/", "1", "echo before").await?;
    stack.expect_sent("b", "1", &["before"]).await?;

    // Accepted while nobody consumes: only the broker's disk has it when the broker dies.
    stack.pause_senders()?;
    stack.accept("/backends/b/", "2", "echo waiting").await?;
    broker.kill().await?;
    let (status, _) = stack.post("/backends/b/", &[("identity", "3"), ("text", "echo refused")]).await?;
    ensure!(status == 503, "without a broker the answer was {status}");
    stack.resume_senders()?;
    let [ready] = &stack.admin_urls("/health/ready")[..] else { bail!("one dispatcher") };
    stack.wait_unready(ready, "consumers").await?;
    broker.restart().await?;

    stack.expect_sent("b", "2", &["waiting"]).await?;
    stack.wait_ready().await?;
    stack.accept("/backends/b/", "1", "echo after").await?;
    stack.expect_sent("b", "1", &["before", "after"]).await?;
    ensure!(
        stack.sent("b", "3").await?.is_empty(),
        "what was answered with 503 was sent without being asked again"
    );
    stack.reconnect(&broker, &["b"]).await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_is_declared_and_consumed_again() -> Result<()> {
    let stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, CONFIG, &["b"]).await?;
    let queues = stack.queues()?;
    queues.delete_all(&["incoming".to_owned(), "outgoing.b".to_owned()]).await?;
    eventually("the queues are back", DEADLINE, async || {
        let depths = (queues.depth("incoming").await?, queues.depth("outgoing.b").await?);
        if depths == (Some(0), Some(0)) { Ok(()) } else { Err(anyhow!("{depths:?}")) }
    })
    .await?;
    stack.wait_ready().await?;
    stack.accept("/backends/b/", "1", "echo hello").await?;
    stack.expect_sent("b", "1", &["hello"]).await?;
    stack.finish().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_killed_leaves_its_messages_to_the_next() -> Result<()> {
    let mut stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, CONFIG, &["b"]).await?;
    stack.kill_senders()?;
    for number in 0..20 {
        stack.accept("/backends/b/", &number.to_string(), "echo hello").await?;
    }
    stack.start_sender().await?;
    for number in 0..20 {
        stack.expect_sent("b", &number.to_string(), &["hello"]).await?;
    }
    stack.finish().await
}

/// A configuration of `ingress` on a broker that is not there, or says nothing.
fn without_broker(address: &str, connect_timeout: &str) -> String {
    format!(
        "{CONFIG}[queue]\nurl = 'amqp://{address}/%2f'\nconnect_timeout = '{connect_timeout}'\npublish_timeout = '300ms'\n\
         [ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn until_the_broker_is_there_messages_are_refused_and_a_stop_is_clean() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, without_broker("127.0.0.1:1", "10m"))?;
    let mut ingress = Service::start("ingress", &[], &file, &[]).await?;
    let client = client()?;
    let form = [("identity", "1"), ("text", "echo hello")];
    let answer = client.post(ingress.ingress_url("/backends/b/")?).form(&form).send().await?;
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str()?), (503, "5"));

    assert_eq!(client.get(ingress.admin_url("/health/live")).send().await?.status(), 200);
    let ready = client.get(ingress.admin_url("/health/ready")).send().await?;
    assert_eq!(ready.status(), 503);
    let ready: serde_json::Value = ready.json().await?;
    assert_eq!(ready["status"], "unavailable");
    assert_eq!(
        (&ready["checks"][0]["name"], &ready["checks"][0]["ok"]),
        (&"publisher".into(), &false.into())
    );
    ingress.terminate()?;
    assert_eq!(ingress.wait_exit(DEADLINE).await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_says_nothing_is_given_up_in_time() -> Result<()> {
    // The system accepts for a listener that nobody asks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, without_broker(&silent.local_addr()?.to_string(), "1s"))?;
    let mut ingress = Service::start("ingress", &[], &file, &[]).await?;
    assert_eq!(ingress.wait_exit(Duration::from_secs(10)).await?, 69);
    let told = ingress.stderr().into_iter().filter(|line| line.starts_with("ingress: ")).collect::<Vec<_>>();
    let [line] = &told[..] else { return Err(anyhow!("{told:?}")) };
    assert!(
        line.contains("cannot be reached for 1s: it does not answer in time; start it, or correct queue.url"),
        "{line}"
    );

    std::fs::write(&file, without_broker(&silent.local_addr()?.to_string(), "10m"))?;
    let mut ingress = Service::start("ingress", &[], &file, &[]).await?;
    ingress.terminate()?;
    assert_eq!(ingress.wait_exit(Duration::from_secs(10)).await?, 0);
    Ok(())
}

/// The `http` backend `p` at `provider`.
fn sending_to(provider: &Provider) -> String {
    format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\nconcurrency = 4\n\
         [[endpoints]]\nbackend = 'p'\n[[apps]]\napp = 'echo'\n",
        provider.url("/send")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_short_of_memory_is_told_at_once_and_doubles_nothing() -> Result<()> {
    let broker = Broker::start().await?;
    let provider = Provider::start()?;
    let mut stack = Stack::start_on(&broker, &sending_to(&provider), &["p"]).await?;
    stack.pause_senders()?;
    for number in 0..6 {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    broker.control(&["set_vm_memory_high_watermark", "0.00001"])?;
    stack.resume_senders()?;
    // The first publish makes the broker say that it is blocked; from then on nobody waits.
    eventually("the refusal comes at once", DEADLINE, async || {
        let begun = Instant::now();
        let (status, _) = stack.post("/backends/p/", &[("identity", "9"), ("text", "echo refused")]).await?;
        ensure!(status == 503, "a blocked broker was answered with {status}");
        let took = begun.elapsed();
        if took < Duration::from_secs(1) { Ok(()) } else { Err(anyhow!("it took {took:?}")) }
    })
    .await?;
    broker.control(&["set_vm_memory_high_watermark", "0.9"])?;
    provider.wait_for(6, DEADLINE).await?;
    stack.wait_ready().await?;
    stack.finish().await?;
    let sent = provider.texts("msg").into_iter().filter(|text| text != "refused").collect::<Vec<_>>();
    assert_eq!(sent.len(), 6, "{sent:?}");
    assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 6, "{sent:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_double_nothing() -> Result<()> {
    let broker = Broker::start().await?;
    let provider = Provider::start()?;
    provider.behave(Answer::new(200, "").after(Duration::from_millis(500)));
    let stack = Stack::start_on(&broker, &sending_to(&provider), &["p"]).await?;
    for number in 0..16 {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    // Some are being sent, others are only prefetched.
    provider.wait_for(6, DEADLINE).await?;
    broker.control(&["close_all_connections", "on purpose"])?;
    provider.wait_for(16, DEADLINE).await?;
    stack.wait_ready().await?;
    let mut stack = stack;
    stack.reconnect(&broker, &["p"]).await?;
    // What was sent when the connections were cut comes back, and is settled then.
    stack.wait_settled("outgoing.p").await?;
    stack.finish().await?;
    let texts = provider.texts("msg");
    assert_eq!(texts.len(), 16, "{texts:?}");
    assert_eq!(texts.iter().collect::<BTreeSet<_>>().len(), 16, "{texts:?}");
    Ok(())
}

/// What waits for a provider is given to another dispatcher when the connection is cut; the first one must not send it too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_during_a_pause_double_nothing() -> Result<()> {
    const COUNT: usize = 40;
    let broker = Broker::start().await?;
    let provider = Provider::start()?;
    let mut stack = Stack::start_on(&broker, &sending_to(&provider), &["p"]).await?;
    stack.start_sender().await?;
    // Both dispatchers come to hold more than one message.
    for number in 0..20 {
        stack.accept("/backends/p/", &number.to_string(), "echo warm").await?;
    }
    provider.wait_for(20, DEADLINE).await?;
    provider.behave(Answer::new(503, "").header("retry-after", "5"));
    for number in 0..COUNT {
        stack.accept("/backends/p/", &number.to_string(), &format!("echo {number}")).await?;
    }
    let paused = |count: f64| {
        let stack = &stack;
        eventually("both dispatchers are paused or not", DEADLINE, async move || {
            let paused = stack.metric("gateway_backend_paused", "backend=\"p\"").await?;
            if (paused - count).abs() < 0.1 { Ok(()) } else { Err(anyhow!("{paused}")) }
        })
    };
    paused(2.0).await?;
    broker.control(&["close_all_connections", "on purpose"])?;
    stack.wait_ready().await?;
    provider.behave(Answer::new(200, ""));
    let refused = provider.count();
    paused(0.0).await?;
    provider.wait_for(refused + COUNT, DEADLINE).await?;
    stack.reconnect(&broker, &["p"]).await?;
    stack.finish().await?;
    let sent: Vec<String> = provider.texts("msg").split_off(refused);
    assert_eq!((sent.len(), sent.iter().collect::<BTreeSet<_>>().len()), (COUNT, COUNT), "{sent:?}");
    Ok(())
}
