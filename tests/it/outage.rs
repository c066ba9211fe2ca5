//! The broker goes away and comes back: everything heals by itself, consumers included, and nothing accepted is lost.

use anyhow::{Result, anyhow, ensure};
use integration_tests::{
    Broker, eventually,
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
    broker.restart().await?;
    stack.resume_senders()?;

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
