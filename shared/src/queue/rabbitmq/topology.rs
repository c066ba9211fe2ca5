//! Every exchange and queue on the broker, and why each has the arguments it has. Pure; `declaration.rs` declares them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use lapin::{
    ExchangeKind,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::super::{Destination, QueueName, routes::Routes};
use crate::{config::Config, message::BackendName};

/// How often a message may come back unsettled before the broker takes it for poison. Never -1 (RabbitMQ 3.10
/// dead-letters at the first redelivery), never absent (4.0 deletes after 20).
const DELIVERY_LIMIT: i64 = 20;

/// The dead letters are read and replayed by people; they are never poison themselves.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// What the route of an outgoing message starts with.
const OUTGOING: &str = "outgoing.";

/// What the queue of a backend with a rate ends with, and its routing key. No backend's name has a dot.
const SINGLE: &str = ".single";

/// The route of a message with this routing key.
pub(super) fn route(key: &str) -> &str {
    let route = key.strip_suffix(SINGLE).filter(|route| route.starts_with(OUTGOING));
    route.unwrap_or(key)
}

/// The names of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    prefix: String,
    backends: BTreeMap<BackendName, Consumers>,
    ladder: Vec<Duration>,
    routes: Routes,
    /// The exchange in front of each queue that is worked on, by the queue's name without the prefix.
    fronts: HashMap<Arc<str>, ShortString>,
}

/// How many processes may consume a backend's queue at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumers {
    /// All of them.
    Many,
    /// One, so that the backend's `rate` holds over all of them. The others wait for its end.
    Single,
}

impl Consumers {
    fn other(self) -> Self {
        match self {
            Self::Many => Self::Single,
            Self::Single => Self::Many,
        }
    }
}

/// Where the messages of a queue come from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) queue: ShortString,
    pub(super) exchange: ShortString,
    pub(super) keys: Vec<String>,
}

/// One thing to declare.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Exchange {
        name: ShortString,
        kind: ExchangeKind,
        arguments: FieldTable,
    },
    Queue {
        name: ShortString,
        arguments: FieldTable,
    },
    Bind(Binding),
    /// No error when there is no such queue or binding.
    Unbind(Binding),
}

/// That messages with a key go from an exchange to a queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Binding {
    pub(super) queue: ShortString,
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
}

impl Topology {
    pub(super) fn new(config: &Config) -> Self {
        let consumers = |limited: bool| if limited { Consumers::Single } else { Consumers::Many };
        let backends = config.backends.iter();
        let mut topology = Self {
            prefix: config.queue.prefix.clone(),
            backends: backends
                .map(|(name, backend)| (name.clone(), consumers(backend.rate.is_some())))
                .collect(),
            ladder: config.queue.retry.clone(),
            routes: Routes::new(&config.backends.keys().cloned().collect::<Vec<_>>()),
            fronts: HashMap::new(),
        };
        let front = |(name, _): (QueueName, _)| (name.to_string().into(), topology.queue(&name));
        topology.fronts = topology.work_queues().into_iter().map(front).collect();
        topology
    }

    /// The topic exchange, which leads to every queue that is worked on.
    pub(super) fn exchange(&self) -> ShortString {
        self.prefix.as_str().into()
    }

    /// The name of a queue on the broker.
    pub(super) fn queue(&self, name: &QueueName) -> ShortString {
        self.name(name, self.consumers(name))
    }

    /// The queue that would be used instead, if the backend's `rate` were added or removed.
    pub(super) fn other_queue(&self, name: &QueueName) -> ShortString {
        self.name(name, self.consumers(name).other())
    }

    /// The two of a backend have different arguments, which cannot be changed, and so they have different names.
    fn name(&self, name: &QueueName, consumers: Consumers) -> ShortString {
        let suffix = match (name, consumers) {
            (QueueName::Outgoing(_), Consumers::Single) => SINGLE,
            _ => "",
        };
        format!("{}.{name}{suffix}", self.prefix).into()
    }

    /// The routing key of a message with this route. Either queue of a backend has a key of its own, so that no binding is
    /// ever taken away (decision 0005).
    pub(super) fn key(&self, route: &str) -> ShortString {
        match route.strip_prefix(OUTGOING).and_then(|backend| self.backends.get(backend)) {
            Some(Consumers::Single) => format!("{route}{SINGLE}").into(),
            Some(Consumers::Many) | None => route.into(),
        }
    }

    /// True when one process at a time consumes the queue.
    pub(super) fn is_single(&self, name: &QueueName) -> bool {
        self.consumers(name) == Consumers::Single
    }

    fn consumers(&self, name: &QueueName) -> Consumers {
        match name {
            QueueName::Outgoing(backend) => self.backends.get(backend).copied().unwrap_or(Consumers::Many),
            // Whether a report tells anything new is known by who has seen those before (decision 0011).
            QueueName::Reports => Consumers::Single,
            QueueName::Incoming | QueueName::Dead | QueueName::Unrouted => Consumers::Many,
        }
    }

    /// The exchange that a message of this route is published to, always with its key.
    pub(super) fn destination(&self, destination: Destination, route: &str) -> ShortString {
        match destination {
            Destination::Back => self.front(route),
            Destination::Retry(delay) => self.rung(delay).into(),
            Destination::Dead => self.queue(&QueueName::Dead),
        }
    }

    /// The exchange in front of the queue that the route leads to. Through the topic exchange a message costs the broker nearly
    /// twice as much (decision 0013), so that one is for what has no queue here, for the ladder, and for others who publish.
    pub(super) fn front(&self, route: &str) -> ShortString {
        self.fronts.get(&*self.routes.queue(route)).cloned().unwrap_or_else(|| self.exchange())
    }

    /// Every queue in the order of its declaration, with its exchange and the keys that bind it.
    pub(super) fn sources(&self) -> Vec<Source> {
        let pair = |queue: ShortString| Source { exchange: queue.clone(), keys: vec![String::new()], queue };
        let first = [QueueName::Unrouted, QueueName::Dead].map(|name| pair(self.queue(&name)));
        let work = |(name, keys)| Source { queue: self.queue(&name), exchange: self.exchange(), keys };
        let rungs = self.ladder.iter().map(|delay| pair(self.rung(*delay).into()));
        first.into_iter().chain(self.work_queues().into_iter().map(work)).chain(rungs).collect()
    }

    /// The queue of each backend that it does not use, but would if its `rate` were added or removed.
    pub(super) fn unused(&self) -> Vec<Source> {
        let outgoing = self.backends.keys().map(|backend| QueueName::Outgoing(backend.clone()));
        let source = |name| {
            let queue = self.other_queue(&name);
            let key = queue.as_str()[self.prefix.len() + 1..].to_owned();
            Source { queue, exchange: self.exchange(), keys: vec![key] }
        };
        outgoing.map(source).collect()
    }

    /// Whether the queue is a rung of the ladder.
    pub(super) fn is_rung(&self, queue: &ShortString) -> bool {
        self.ladder.iter().any(|delay| self.rung(*delay) == queue.as_str())
    }

    fn rung(&self, delay: Duration) -> String {
        let delay = humantime::format_duration(delay).to_string().replace(' ', "");
        format!("{}.retry.{delay}", self.prefix)
    }

    /// What is declared first, in this order: all queues refer to it.
    pub(super) fn shared_steps(&self) -> Vec<Step> {
        let [unrouted, dead] = [QueueName::Unrouted, QueueName::Dead].map(|name| self.queue(&name));
        // What no queue is bound for goes to `unrouted`: lapin may give a `mandatory` return to the wrong confirm.
        let arguments = arguments_of([("alternate-exchange", text(unrouted.as_str()))]);
        let exchange = Step::Exchange { name: self.exchange(), kind: ExchangeKind::Topic, arguments };
        waiting(&unrouted).into_iter().chain(waiting(&dead)).chain([exchange]).collect()
    }

    /// What is declared then: of each queue its steps, which are in order. The queues know nothing of each other.
    pub(super) fn steps_of_queues(&self) -> Vec<Vec<Step>> {
        let work = self.work_queues().into_iter().map(|(name, keys)| self.work_steps(&name, keys));
        let rung =
            |delay| pair(&self.rung(delay).into(), FieldTable::default(), self.rung_arguments(delay)).into();
        work.chain(self.ladder.iter().copied().map(rung)).collect()
    }

    /// A queue that is worked on, and what leads to it.
    fn work_steps(&self, name: &QueueName, keys: Vec<String>) -> Vec<Step> {
        let queue = self.queue(name);
        // While there is no such queue, what comes goes to the topic exchange, and from there to `unrouted`.
        let alternate = arguments_of([("alternate-exchange", text(self.exchange().as_str()))]);
        let mut steps = pair(&queue, alternate, self.work_arguments(name)).to_vec();
        if matches!(name, QueueName::Outgoing(_)) && !self.is_single(name) {
            // First, so that no message goes to both queues of the backend.
            steps.push(Step::Unbind(self.binding(self.other_queue(name), name.to_string().into())));
        }
        steps.extend(keys.into_iter().map(|key| Step::Bind(self.binding(queue.clone(), key.into()))));
        steps
    }

    /// That the key leads from the topic exchange to the queue.
    pub(super) fn binding(&self, queue: ShortString, key: ShortString) -> Binding {
        Binding { queue, exchange: self.exchange(), key }
    }

    /// The queues that are worked on, each with the routing keys bound to it.
    fn work_queues(&self) -> Vec<(QueueName, Vec<String>)> {
        let incoming = (QueueName::Incoming, vec!["incoming.#".to_owned(), "submit.#".to_owned()]);
        let reports = (QueueName::Reports, vec!["report.#".to_owned()]);
        let outgoing = self.backends.keys().map(|backend| {
            let name = QueueName::Outgoing(backend.clone());
            let key = self.key(&name.to_string()).to_string();
            (name, vec![key])
        });
        [incoming, reports].into_iter().chain(outgoing).collect()
    }

    fn work_arguments(&self, name: &QueueName) -> FieldTable {
        let mut arguments = safe_dead_lettering(&self.queue(&QueueName::Dead));
        arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
        if self.is_single(name) {
            arguments.insert("x-single-active-consumer".into(), true.into());
        }
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
}

/// A queue whose messages wait for an operator, behind a fanout exchange.
pub(super) fn waiting(name: &ShortString) -> [Step; 3] {
    pair(name, FieldTable::default(), arguments([("x-delivery-limit", DEAD_DELIVERY_LIMIT.into())]))
}

/// A fanout exchange and a queue of the same name.
fn pair(name: &ShortString, of_exchange: FieldTable, of_queue: FieldTable) -> [Step; 3] {
    let (queue, exchange, key) = (name.clone(), name.clone(), ShortString::default());
    [
        Step::Exchange { name: name.clone(), kind: ExchangeKind::Fanout, arguments: of_exchange },
        Step::Queue { name: name.clone(), arguments: of_queue },
        Step::Bind(Binding { queue, exchange, key }),
    ]
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

/// The arguments of a queue that lives no longer than its connection.
pub(super) fn classic() -> FieldTable {
    arguments_of([("x-queue-type", text("classic"))])
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
mod tests;
