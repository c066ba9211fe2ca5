//! What lies in RabbitMQ under a test's prefix: looked at, taken out, put in, and cleared away.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ErrorKind, PublisherConfirm,
};

use shared::{
    clock, envelope,
    message::{Identity, MessageId, OutgoingMessage},
};
use tokio::time::timeout;

use crate::eventually;

/// How long a message that was counted may take to come.
const TAKE_DEADLINE: Duration = Duration::from_secs(10);

/// How many messages are acknowledged together; a quorum queue gives out 2,000 at most that are not.
const TAKEN_TOGETHER: usize = 1000;

/// AMQP's reply code for a queue that does not exist.
const NOT_FOUND: u16 = 404;

/// The queues and exchanges whose names start with `{prefix}.`; the names in calls are without it.
///
/// The counts are of messages that are ready: those that a consumer holds unacknowledged are not among them.
pub struct Queues {
    connection: Connection,
    prefix: String,
    backends: Vec<String>,
    delays: Vec<String>,
}

/// A message that was taken out of a queue.
#[derive(Debug)]
pub struct Taken {
    /// The key under which it was last published.
    pub routing_key: String,
    /// The headers, every value as text.
    pub headers: BTreeMap<String, String>,
    /// The other properties.
    pub properties: BasicProperties,
    /// The body.
    pub body: Vec<u8>,
}

impl Queues {
    /// Connects to the broker at `url`. `backends` and `delays` (the configuration's names and `queue.retry`)
    /// say which queues there can be: AMQP has no list of them.
    pub async fn connect(url: &str, prefix: &str, backends: &[&str], delays: &[&str]) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Ok(Self { connection, prefix: prefix.to_owned(), backends: owned(backends), delays: owned(delays) })
    }

    /// What every name starts with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The name of every queue that this prefix can have.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let fixed = ["incoming", "reports", "dead", "unrouted"].map(str::to_owned).into_iter();
        let outgoing = self
            .backends
            .iter()
            .flat_map(|backend| [format!("outgoing.{backend}"), format!("outgoing.{backend}.single")]);
        let retry = self.delays.iter().map(|delay| format!("retry.{delay}"));
        fixed.chain(outgoing).chain(retry).collect()
    }

    /// How many messages are ready in the queue, or `None` when there is no such queue.
    pub async fn depth(&self, name: &str) -> Result<Option<u32>> {
        // A refused declaration closes its channel, so each look has its own.
        let channel = self.connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        match channel.queue_declare(self.full(name).into(), options, FieldTable::default()).await {
            Ok(queue) => {
                channel.close(200, "done".into()).await?;
                Ok(Some(queue.message_count()))
            }
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The depth of every queue that exists.
    pub async fn depths(&self) -> Result<BTreeMap<String, u32>> {
        let mut depths = BTreeMap::new();
        for name in self.names() {
            if let Some(depth) = self.depth(&name).await? {
                depths.insert(name, depth);
            }
        }
        Ok(depths)
    }

    /// Waits until exactly `depth` messages are ready in the queue. After a restart of the broker it can be 0 for a
    /// while although the messages are there.
    pub async fn wait_depth(&self, name: &str, depth: u32, deadline: Duration) -> Result<()> {
        eventually(&format!("{depth} messages in {name}"), deadline, async || {
            match self.depth(name).await? {
                Some(seen) if seen == depth => Ok(()),
                other => Err(anyhow!("depth {other:?}")),
            }
        })
        .await
    }

    /// Fails with the depth of every queue that has messages.
    pub async fn assert_empty(&self) -> Result<()> {
        let mut depths = self.depths().await?;
        depths.retain(|_, depth| *depth > 0);
        ensure!(depths.is_empty(), "messages are left under the prefix {}: {depths:?}", self.prefix);
        Ok(())
    }

    /// Takes all messages that are ready out of the queue, of which nobody else may be a consumer.
    pub async fn take_all(&self, name: &str) -> Result<Vec<Taken>> {
        let ready = self.depth(name).await?.unwrap_or(0);
        let channel = self.connection.create_channel().await?;
        // Not `basic.get`, which a queue with a single active consumer refuses.
        let (queue, options) = (self.full(name).into(), BasicConsumeOptions::default());
        let consumer = channel.basic_consume(queue, "taker".into(), options, FieldTable::default()).await?;
        let mut deliveries = consumer.take(ready as usize);
        let mut all = Vec::new();
        while let Some(delivery) = timeout(TAKE_DEADLINE, deliveries.next()).await? {
            let delivery = delivery?;
            // One for many: of more than thirty at a time the channel might still keep some when it is closed, and forget them.
            let taken = all.len() + 1;
            if taken.is_multiple_of(TAKEN_TOGETHER) || taken == ready as usize {
                channel.basic_ack(delivery.delivery_tag, BasicAckOptions { multiple: true }).await?;
            }
            all.push(Taken {
                routing_key: delivery.routing_key.to_string(),
                headers: delivery.properties.headers().as_ref().map(texts).unwrap_or_default(),
                properties: delivery.properties,
                body: delivery.data,
            });
        }
        channel.close(200, "done".into()).await?;
        Ok(all)
    }

    /// Publishes a message to the prefix's exchange and waits for the confirm: the way to bring in what no
    /// service of ours would publish.
    pub async fn publish(&self, routing_key: &str, properties: BasicProperties, body: &[u8]) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let confirm = send(&channel, &self.prefix, routing_key, properties, body).await?.await?;
        channel.close(200, "done".into()).await?;
        confirmed(confirm)
    }

    /// Publishes an outgoing message under `key`, past ingress and router.
    pub async fn publish_outgoing(&self, key: &str, identities: Vec<Identity>, text: &str) -> Result<()> {
        let backend = key.split('.').nth(1).context("a key such as outgoing.b")?;
        let message = OutgoingMessage {
            id: MessageId::new(),
            accepted_at: clock::now(),
            backend: backend.parse()?,
            identities,
            text: text.to_owned(),
            in_response_to: None,
            fields: BTreeMap::new(),
        };
        let properties = BasicProperties::default().with_delivery_mode(2);
        self.publish(key, properties, &envelope::encode(&message)).await
    }

    /// Publishes all of `messages` to the exchange `{prefix}.{exchange}`, many on their way at a time, and waits for
    /// every confirm. One task publishes: several on one channel could mix up their confirms.
    pub async fn publish_all(
        &self,
        exchange: &str,
        routing_key: &str,
        messages: impl IntoIterator<Item = (BasicProperties, Vec<u8>)>,
    ) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let exchange = self.full(exchange);
        let mut confirms = Vec::new();
        for (properties, body) in messages {
            confirms.push(send(&channel, &exchange, routing_key, properties, &body).await?);
        }
        for confirm in confirms {
            confirmed(confirm.await?)?;
        }
        Ok(channel.close(200, "done".into()).await?)
    }

    /// Consumes the queue and settles nothing, until the channel is closed.
    pub async fn hold(&self, name: &str) -> Result<Channel> {
        let channel = self.connection.create_channel().await?;
        let options = BasicConsumeOptions::default();
        channel
            .basic_consume(self.full(name).into(), "holder".into(), options, FieldTable::default())
            .await?;
        Ok(channel)
    }

    /// Deletes the queues, whether they exist or not, with all their messages.
    pub async fn delete_all(&self, names: &[String]) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        for name in names {
            channel.queue_delete(self.full(name).into(), QueueDeleteOptions::default()).await?;
        }
        Ok(channel.close(200, "done".into()).await?)
    }

    /// Deletes every queue and exchange of the prefix, so that a shared broker stays small.
    pub async fn delete_everything(&self) -> Result<()> {
        self.delete_all(&self.names()).await?;
        self.delete_all(&["migrating".to_owned()]).await?;
        let channel = self.connection.create_channel().await?;
        let fronts = self.names().into_iter().map(|name| self.full(&name));
        for exchange in fronts.chain([self.prefix.clone(), self.full("events")]) {
            channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        }
        Ok(channel.close(200, "done".into()).await?)
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

#[expect(clippy::disallowed_methods, reason = "the harness brings in what shared::queue would never publish")]
async fn send(
    channel: &Channel,
    exchange: &str,
    routing_key: &str,
    properties: BasicProperties,
    body: &[u8],
) -> Result<PublisherConfirm> {
    let options = BasicPublishOptions::default();
    Ok(channel.basic_publish(exchange.into(), routing_key.into(), options, body, properties).await?)
}

fn confirmed(confirm: Confirmation) -> Result<()> {
    match confirm {
        Confirmation::Ack(None) => Ok(()),
        refused @ (Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested) => {
            bail!("not confirmed: {refused:?}")
        }
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(refusal) if refusal.get_id() == NOT_FOUND)
}

fn texts(headers: &FieldTable) -> BTreeMap<String, String> {
    headers.inner().iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// A header's value as a person would write it; what is no text, number or truth value in its debug form.
fn text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(truth) => truth.to_string(),
        AMQPValue::ShortShortInt(number) => number.to_string(),
        AMQPValue::ShortShortUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::ShortUInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Timestamp(seconds) => seconds.to_string(),
        AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::ByteArray(_)
        | AMQPValue::Void => format!("{value:?}"),
    }
}
