//! Routes each message through the apps and sends the replies through the backends' engines.
//!
//! The way of a message: [`inbound`] consumes it, the [`router`] runs its phases over the [`apps`], the replies are
//! published, and only then is it settled. [`outbound`] consumes each reply and sends it, part by part, through its
//! backend's [engine](engines). [`lanes`] keeps the messages of one connection in order.

// So that an example of the documentation is the same within the crate and outside of it.
extern crate self as dispatcher;

pub mod inbound;

pub mod router;

pub mod apps;

pub mod outbound;

pub mod engines;

mod lanes;

mod recent;

mod pages;

use std::sync::Arc;

use axum::Router as Pages;
use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use shared::{
    config::Config,
    lifecycle::{Failure, Lifecycle},
    queue::{Queue, QueueName, RetryPolicy},
    telemetry::Privacy,
};

use self::{engines::Engines, inbound::Inbound, outbound::Outbound, router::Router};

/// The service.
pub struct Dispatcher {
    router: Arc<Router>,
    engines: Engines,
    policy: RetryPolicy,
    concurrency: u16,
    privacy: Privacy,
}

impl Dispatcher {
    /// Builds the apps and the engines.
    pub fn build(config: &Config) -> Result<Self, Failure> {
        let policy =
            RetryPolicy { ladder: config.queue.retry.clone(), max_attempts: config.queue.max_attempts };
        Ok(Self {
            router: Arc::new(Router::new(apps::build(config), &config.project_name)),
            engines: Engines::build(config)?,
            policy,
            concurrency: config.dispatcher.concurrency,
            privacy: Privacy::new(&config.logging),
        })
    }

    /// The private pages of the engines.
    pub fn pages(&self) -> Pages {
        pages::routes(&self.engines)
    }

    /// Consumes until a stop is asked for and everything begun is settled.
    pub async fn run(self, queue: &Arc<dyn Queue>, lifecycle: &Lifecycle) {
        let mut subscriptions = vec![(QueueName::Incoming, lanes::prefetch(self.concurrency))];
        for (name, backend) in self.engines.iter() {
            subscriptions.push((QueueName::Outgoing(name.clone()), lanes::prefetch(backend.concurrency)));
        }
        let mut deliveries = queue.consume(subscriptions).into_iter();
        let mut consumers: Vec<BoxFuture<'_, ()>> = Vec::new();
        if let Some(incoming) = deliveries.next() {
            let inbound = Inbound::new(self.router, Arc::clone(queue) as _, self.privacy, lifecycle);
            let (concurrency, policy) = (self.concurrency, self.policy.clone());
            consumers.push(lanes::start(Arc::new(inbound), incoming, concurrency, policy, lifecycle).boxed());
        }
        for ((name, backend), outgoing) in self.engines.into_iter().zip(deliveries) {
            let concurrency = backend.concurrency;
            let outbound = Outbound::new(name, backend, self.privacy, lifecycle);
            let policy = self.policy.clone();
            consumers
                .push(lanes::start(Arc::new(outbound), outgoing, concurrency, policy, lifecycle).boxed());
        }
        join_all(consumers).await;
    }
}
