//! Fills the queue with messages that wait, as ingress would: by the queue's own library, or as the prototype does.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Result, anyhow, ensure};
use futures_util::stream::{self, TryStreamExt};
use shared::clock;
use shared::config::Config;
use shared::lifecycle::Lifecycle;
use shared::message::{BackendName, IncomingMessage, MessageId};
use shared::queue::{self, Message, Route};

use crate::eventually;
use crate::processes::binary;

use super::site::DEADLINE;

/// How many are on their way at a time.
const AT_A_TIME: usize = 1000;

/// Puts `count` messages into the queue of `configuration`, to its backends in turn.
pub(super) async fn fill(configuration: &str, count: u64) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    let config = Config::parse("gateway.toml", configuration, &BTreeMap::new());
    let config = config.map_err(|problems| anyhow!("{problems}"))?;
    let (lifecycle, backends) = (Lifecycle::default(), config.backends.keys().cycle());
    let queue = queue::open(&config, &lifecycle)?;
    eventually("the queue that is filled is there", DEADLINE, async || {
        let missing = queue.checks().into_iter().find(|check| !check.ok);
        missing.map_or(Ok(()), |check| Err(check.detail))
    })
    .await?;
    let messages = (0..count).zip(backends).map(|(number, backend)| Ok(incoming(number, backend)));
    stream::iter(messages)
        .map_ok(|message| queue.publish_patiently(message))
        .try_buffer_unordered(AT_A_TIME)
        .try_for_each(async |()| Ok(()))
        .await?;
    queue.close().await;
    lifecycle.stop();
    Ok(())
}

/// The same for the prototype's `queue`.
pub(super) async fn fill_prototype(url: &str, queue: &str, count: u64) -> Result<()> {
    if count > 0 {
        let arguments = ["fill", url, queue, &count.to_string()].map(str::to_owned);
        let mut filling = Command::new(binary("floor")?);
        filling.args(arguments);
        let filled = tokio::task::spawn_blocking(move || filling.status()).await??;
        ensure!(filled.success(), "the floor cannot fill the queue: {filled}");
    }
    Ok(())
}

fn incoming(number: u64, backend: &BackendName) -> Message {
    let payload = IncomingMessage {
        id: MessageId::new(),
        accepted_at: clock::now(),
        backend: backend.clone(),
        identity: format!("+2{number:010}").into(),
        text: format!("echo hello {number}"),
        fields: BTreeMap::new(),
        no_reply: false,
    };
    Message::new(&Route::Incoming(backend.clone()), &payload, queue::traced(None))
}
