//! Which queue a routing key leads to: the same bindings as on RabbitMQ. Pure.

use std::{collections::HashMap, sync::Arc};

use super::QueueName;
use crate::message::BackendName;

/// The bindings of one configuration, with every queue's name made once.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    incoming: Arc<str>,
    reports: Arc<str>,
    dead: Arc<str>,
    unrouted: Arc<str>,
    /// By backend.
    outgoing: HashMap<String, Arc<str>>,
}

impl Routes {
    /// The bindings with one queue a backend.
    pub(super) fn new(backends: &[BackendName]) -> Self {
        let name = |queue: QueueName| Arc::<str>::from(queue.to_string());
        let outgoing =
            |backend: &BackendName| (backend.as_str().to_owned(), name(QueueName::Outgoing(backend.clone())));
        Self {
            incoming: name(QueueName::Incoming),
            reports: name(QueueName::Reports),
            dead: name(QueueName::Dead),
            unrouted: name(QueueName::Unrouted),
            outgoing: backends.iter().map(outgoing).collect(),
        }
    }

    /// The queue that `route` leads to.
    pub(super) fn queue(&self, route: &str) -> Arc<str> {
        let (first, rest) = route.split_once('.').unwrap_or((route, ""));
        let queue = match first {
            "incoming" | "submit" => &self.incoming,
            "report" => &self.reports,
            "outgoing" => self.outgoing.get(rest).unwrap_or(&self.unrouted),
            _ => &self.unrouted,
        };
        Arc::clone(queue)
    }

    /// Whether a queue is bound for `route`.
    pub(super) fn leads(&self, route: &str) -> bool {
        !Arc::ptr_eq(&self.queue(route), &self.unrouted)
    }

    /// Where dead letters are kept.
    pub(super) fn dead(&self) -> Arc<str> {
        Arc::clone(&self.dead)
    }

    /// Whether the outgoing queue `name` belongs to a backend.
    pub(super) fn has(&self, name: &str) -> bool {
        self.outgoing.values().any(|queue| &**queue == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_leads_to_one_queue() {
        let routes = Routes::new(&["a".parse().unwrap(), "b-c".parse().unwrap()]);
        for (route, queue) in [
            ("incoming.a", "incoming"),
            ("incoming.gone", "incoming"),
            ("submit.a", "incoming"),
            ("report.a", "reports"),
            ("outgoing.a", "outgoing.a"),
            ("outgoing.b-c", "outgoing.b-c"),
            ("outgoing.gone", "unrouted"),
            ("outgoing.a.b", "unrouted"),
            ("outgoing", "unrouted"),
            ("dead", "unrouted"),
            ("", "unrouted"),
        ] {
            assert_eq!(&*routes.queue(route), queue, "{route}");
            assert_eq!(routes.leads(route), queue != "unrouted", "{route}");
        }
        assert!(routes.has("outgoing.a") && !routes.has("outgoing.gone"));
    }
}
