//! The broker is killed while the messages on a rung of the retry ladder expire: each arrives back in its queue.

use std::{collections::HashMap, fs};

use anyhow::{Result, anyhow, ensure};
use integration_tests::{Broker, Queues, Service, client::client, eventually, stack::DEADLINE};
use lapin::BasicProperties;

const MESSAGES: u32 = 8_000;

/// The rung's delay: all messages are on it before the first one expires.
const RUNG: &str = "4s";

/// How many have moved when the broker is killed, at least.
const MOVED: u32 = MESSAGES / 20;

fn config(broker: &Broker) -> String {
    format!(
        "[backends.b]\nengine = 'httptester'\n[[endpoints]]\nbackend = 'b'\n\
         [queue]\nurl = '{}'\nprefix = 'ladder'\nretry = ['{RUNG}']\n\
         [ingress]\nlisten = '127.0.0.1:0'\nadmin_listen = '127.0.0.1:0'\n",
        broker.url()
    )
}

async fn connect(broker: &Broker) -> Result<Queues> {
    Queues::connect(&broker.url(), "ladder", &["b"], &[RUNG]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_while_8000_messages_expire_on_the_ladder_loses_none() -> Result<()> {
    let mut broker = Broker::start().await?;
    // An ingress declares the queues and consumes none of them.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("gateway.toml");
    fs::write(&file, config(&broker))?;
    let ingress = Service::start("ingress", &[], &file, &[]).await?;
    let ready = ingress.admin_url("/health/ready");
    let client = client()?;
    eventually("the queues are declared", DEADLINE, async || {
        client.get(&ready).send().await?.error_for_status()
    })
    .await?;

    let queues = connect(&broker).await?;
    let message = |id: u32| {
        let id = id.to_string();
        let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(id.as_str().into());
        (properties, id.into_bytes())
    };
    queues.publish_all(&format!("retry.{RUNG}"), "outgoing.b", (0..MESSAGES).map(message)).await?;
    let moved = eventually("some have moved", DEADLINE, async || match queues.depth("outgoing.b").await? {
        Some(moved) if moved >= MOVED => Ok(moved),
        other => Err(anyhow!("{other:?} of {MESSAGES}")),
    })
    .await?;
    broker.kill().await?;
    ensure!(moved < MESSAGES * 3 / 4, "{moved} had moved before the kill: too late to show anything");
    broker.restart().await?;

    let queues = connect(&broker).await?;
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    eventually("every message is back in its queue", DEADLINE * 2, async || {
        for taken in queues.take_all("outgoing.b").await? {
            ensure!(taken.routing_key == "outgoing.b", "it came back as {}", taken.routing_key);
            *seen.entry(taken.body).or_default() += 1;
        }
        let missing: Vec<u32> =
            (0..MESSAGES).filter(|id| !seen.contains_key(id.to_string().as_bytes())).collect();
        let depths = queues.depths().await?;
        if missing.is_empty() {
            return Ok(());
        }
        let first = &missing[..missing.len().min(20)];
        Err(anyhow!("{} are missing, among them {first:?}; the queues have {depths:?}", missing.len()))
    })
    .await?;
    let doubled = seen.values().filter(|count| **count > 1).count();
    println!("{moved} of {MESSAGES} had moved before the kill; {doubled} arrived more than once");
    Ok(())
}
