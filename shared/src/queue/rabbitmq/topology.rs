//! Every exchange and queue on the broker, and why each has the arguments it has. Declared idempotently by everybody.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::super::{Destination, QueueName};
use crate::message::BackendName;

/// How often a message may come back unsettled before the broker takes it for poison. Never -1 (RabbitMQ 3.10
/// dead-letters at the first redelivery), never absent (4.0 deletes after 20).
const DELIVERY_LIMIT: i64 = 20;

/// The dead letters are read and replayed by people; they are never poison themselves.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// The names of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    prefix: String,
    backends: Vec<BackendName>,
    ladder: Vec<Duration>,
}

impl Topology {
    pub(super) fn new(prefix: &str, backends: &[BackendName], ladder: &[Duration]) -> Self {
        Self { prefix: prefix.to_owned(), backends: backends.to_vec(), ladder: ladder.to_vec() }
    }

    /// The topic exchange that everything is published to.
    pub(super) fn exchange(&self) -> ShortString {
        self.prefix.as_str().into()
    }

    /// The name of a queue on the broker.
    pub(super) fn queue(&self, name: &QueueName) -> ShortString {
        format!("{}.{name}", self.prefix).into()
    }

    /// The exchange that a message is published to; its routing key is always its own.
    pub(super) fn destination(&self, destination: Destination) -> ShortString {
        match destination {
            Destination::Back => self.exchange(),
            Destination::Retry(delay) => self.rung(delay).into(),
            Destination::Dead => self.queue(&QueueName::Dead),
        }
    }

    fn rung(&self, delay: Duration) -> String {
        let delay = humantime::format_duration(delay).to_string().replace(' ', "");
        format!("{}.retry.{delay}", self.prefix)
    }

    /// Declares everything. The order matters: what others refer to comes first.
    pub(super) async fn declare(&self, channel: &Channel) -> lapin::Result<()> {
        for name in [QueueName::Unrouted, QueueName::Dead] {
            let arguments = arguments([("x-delivery-limit", DEAD_DELIVERY_LIMIT.into())]);
            self.declare_pair(channel, &self.queue(&name), arguments).await?;
        }
        // What no queue is bound for goes to `unrouted`: lapin may give a `mandatory` return to the wrong confirm.
        let alternate =
            arguments_of([("alternate-exchange", text(self.queue(&QueueName::Unrouted).as_str()))]);
        declare_exchange(channel, &self.exchange(), ExchangeKind::Topic, alternate).await?;
        for (name, keys) in self.work_queues() {
            let queue = self.queue(&name);
            channel
                .queue_declare(queue.clone(), QueueDeclareOptions::durable(), self.work_arguments())
                .await?;
            for key in keys {
                let (exchange, key) = (self.exchange(), key.into());
                channel
                    .queue_bind(
                        queue.clone(),
                        exchange,
                        key,
                        QueueBindOptions::default(),
                        FieldTable::default(),
                    )
                    .await?;
            }
        }
        for delay in &self.ladder {
            self.declare_pair(channel, &self.rung(*delay).into(), self.rung_arguments(*delay)).await?;
        }
        Ok(())
    }

    /// The queues that are worked on, each with the routing keys bound to it.
    fn work_queues(&self) -> Vec<(QueueName, Vec<String>)> {
        let incoming = (QueueName::Incoming, vec!["incoming.#".to_owned(), "submit.#".to_owned()]);
        let reports = (QueueName::Reports, vec!["report.#".to_owned()]);
        let outgoing = self.backends.iter().map(|backend| {
            let key = format!("outgoing.{backend}");
            (QueueName::Outgoing(backend.clone()), vec![key])
        });
        [incoming, reports].into_iter().chain(outgoing).collect()
    }

    fn work_arguments(&self) -> FieldTable {
        let mut arguments = safe_dead_lettering(&self.queue(&QueueName::Dead));
        arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
        arguments
    }

    /// A rung keeps a message for `delay`, then gives it back to the topic exchange. No dead-letter routing key: the
    /// message's own key survives the way.
    fn rung_arguments(&self, delay: Duration) -> FieldTable {
        let mut arguments = safe_dead_lettering(&self.exchange());
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        arguments.insert("x-message-ttl".into(), delay.into());
        arguments
    }

    /// A fanout exchange and a queue of the same name.
    async fn declare_pair(
        &self,
        channel: &Channel,
        name: &ShortString,
        arguments: FieldTable,
    ) -> lapin::Result<()> {
        declare_exchange(channel, name, ExchangeKind::Fanout, FieldTable::default()).await?;
        channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), arguments).await?;
        let (key, options) = (ShortString::default(), QueueBindOptions::default());
        channel.queue_bind(name.clone(), name.clone(), key, options, FieldTable::default()).await
    }
}

async fn declare_exchange(
    channel: &Channel,
    name: &ShortString,
    kind: ExchangeKind,
    arguments: FieldTable,
) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.clone(), kind, options, arguments).await
}

/// Dead-lettering that survives the death of the broker: with the default strategy, killing it while messages expired
/// lost up to a quarter of them. It works only together with `reject-publish`.
fn safe_dead_lettering(exchange: &ShortString) -> FieldTable {
    arguments([
        ("x-dead-letter-exchange", text(exchange.as_str())),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ])
}

/// The arguments of a queue; each is a quorum queue.
fn arguments<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = arguments_of(pairs);
    table.insert("x-queue-type".into(), text("quorum"));
    table
}

fn arguments_of<const N: usize>(pairs: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in pairs {
        table.insert(name.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_queue_keeps_what_it_was_given() {
        let topology = Topology::new("sms", &[], &[Duration::from_secs(5)]);
        let has = |table: &FieldTable, name: &str, value: AMQPValue| {
            assert_eq!(table.inner().get(name), Some(&value), "{name}");
        };
        let (work, rung) = (topology.work_arguments(), topology.rung_arguments(Duration::from_secs(5)));
        for table in [&work, &rung] {
            has(table, "x-queue-type", text("quorum"));
            has(table, "x-dead-letter-strategy", text("at-least-once"));
            has(table, "x-overflow", text("reject-publish"));
        }
        has(&work, "x-dead-letter-exchange", text("sms.dead"));
        has(&work, "x-delivery-limit", AMQPValue::LongLongInt(20));
        has(&rung, "x-dead-letter-exchange", text("sms"));
        has(&rung, "x-message-ttl", AMQPValue::LongLongInt(5000));
        assert_eq!(rung.inner().get("x-dead-letter-routing-key"), None);
    }

    #[test]
    fn names_are_those_of_the_design() {
        let backend: BackendName = "kannel".parse().unwrap();
        let topology = Topology::new("sms", std::slice::from_ref(&backend), &[Duration::from_secs(300)]);
        assert_eq!(topology.exchange().as_str(), "sms");
        assert_eq!(topology.queue(&QueueName::Outgoing(backend)).as_str(), "sms.outgoing.kannel");
        assert_eq!(topology.destination(Destination::Dead).as_str(), "sms.dead");
        assert_eq!(
            topology.destination(Destination::Retry(Duration::from_secs(300))).as_str(),
            "sms.retry.5m"
        );
        assert_eq!(
            topology.destination(Destination::Retry(Duration::from_millis(90_500))).as_str(),
            "sms.retry.1m30s500ms"
        );
    }
}
