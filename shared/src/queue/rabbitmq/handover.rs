//! Waits until a rung of the ladder has handed over everything that has expired in it.
//!
//! What has expired is in no count: the broker keeps it until the next queue has confirmed it. It hands over in order, so a
//! marker that expires last comes out last.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties,
    options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};

use super::{
    link::SessionError,
    operator::{Operator, patiently},
    topology::classic,
};

/// True when the marker that was put into `rung` has come out in time.
pub(super) async fn wait(
    operator: &Operator,
    rung: &ShortString,
    patience: Duration,
) -> Result<bool, SessionError> {
    let channel = operator.channel().await?;
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let declared = patiently(channel.queue_declare(ShortString::default(), options, classic())).await?;
    let (queue, exchange, none) =
        (declared.name().clone(), operator.topology.exchange(), FieldTable::default());
    // A rung keeps the key of its messages, and the default exchange takes the name of a queue for one.
    let binding =
        channel.queue_bind(queue.clone(), exchange, rung.clone(), QueueBindOptions::default(), none.clone());
    patiently(binding).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut markers = patiently(channel.basic_consume(queue, "marker".into(), options, none)).await?;
    let marker = BasicProperties::default().with_expiration("0".into());
    let (exchange, options) = (ShortString::default(), BasicPublishOptions::default());
    #[expect(clippy::disallowed_methods, reason = "the marker is waited for itself, in another queue")]
    let published = channel.basic_publish(exchange, rung.clone(), options, &[], marker);
    patiently(published).await?;
    let came = tokio::time::timeout(patience, markers.next()).await;
    let came = came.ok().flatten().transpose()?.is_some();
    patiently(channel.close(200, "done".into())).await?;
    Ok(came)
}
