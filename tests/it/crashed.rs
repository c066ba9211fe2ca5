//! What the broker itself dead-letters: a message that was given back to its queue too often.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use integration_tests::{
    Provider, broker, eventually,
    provider::Answer,
    stack::{DEADLINE, Shape, Stack},
};
use lapin::{Connection, ConnectionProperties, options::BasicGetOptions};
use shared::{
    clock, envelope,
    message::{MessageId, OutgoingMessage},
};

/// The body of a message for one identity of `backend`.
pub(crate) fn outgoing(backend: &str, text: &str) -> Result<Vec<u8>> {
    let message = OutgoingMessage {
        id: MessageId::new(),
        accepted_at: clock::now(),
        backend: backend.parse()?,
        identities: vec!["1".into()],
        text: text.to_owned(),
        in_response_to: None,
        fields: BTreeMap::new(),
    };
    Ok(envelope::encode(&message).to_vec())
}

/// Takes the first message of the queue and dies with it. False when there is none.
async fn crash(queue: &str) -> Result<bool> {
    let connection = Connection::connect(&broker::shared_url()?, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await?;
    let is_there = got.is_some();
    connection.close(200, "as a crash would".into()).await?;
    Ok(is_there)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_killed_its_processes_is_listed_and_replayed_through_the_ladder() -> Result<()> {
    let provider = Provider::start()?;
    let config = format!(
        "[backends.p]\nengine = 'http'\nurl = '{}'\nquery = {{ msg = '{{text}}' }}\n[[endpoints]]\nbackend = 'p'\n",
        provider.url("/")
    );
    let mut stack = Stack::start(Shape::Pair { ingress: 1, dispatchers: 1 }, &config, &["p"]).await?;
    stack.kill_senders()?;
    let queues = stack.queues()?;
    let queue = format!("{}.outgoing.p", queues.prefix());
    let properties = lapin::BasicProperties::default().with_message_id("poison".into());
    queues.publish("outgoing.p", properties, &outgoing("p", "a")?).await?;
    for delivery in 0..=20 {
        eventually(&format!("delivery {delivery}"), DEADLINE, async || {
            if crash(&queue).await? { Ok(()) } else { Err(anyhow!("the queue is empty")) }
        })
        .await?;
    }
    stack.wait_dead(1).await?;

    let listed = stack.tool(&["dead-letters", "list", "--class", "crashed"]).await?.stdout;
    let line = listed.lines().nth(1).with_context(|| format!("not listed: {listed}"))?;
    ensure!(line.starts_with("poison ") && line.contains(" outgoing.p  crashed  0 "), "{listed}");
    ensure!(line.contains(&format!("given back to {queue} too often")), "{listed}");
    let since = line.split_whitespace().nth(1).context("no time")?;
    ensure!(since > "2026-09-22", "{since} is when it was accepted, not when it died");

    // Up the ladder and down again: with the broker's own header copied, RabbitMQ 3.10 would drop it on that way.
    provider.behave_once(Answer::new(500, ""));
    stack.start_sender().await?;
    let replayed = stack.tool(&["dead-letters", "replay"]).await?;
    ensure!(replayed.stdout == "replayed 1 dead letter\n", "{replayed:?}");
    provider.wait_for(2, DEADLINE).await?;
    stack.finish().await
}
