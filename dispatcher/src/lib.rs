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

pub mod gate;

mod lanes;

mod watchdog;

mod rate;

mod recent;

mod pages;

use std::sync::Arc;

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use shared::{
    admin::{self, Pages},
    cli::{self, Program},
    config::Config,
    lifecycle::{Failure, Lifecycle},
    queue::{self, Deliveries, Queue, QueueName, RetryPolicy},
};

use self::{
    apps::App, engines::Engines, inbound::Inbound, lanes::Work, outbound::Outbound, router::Router,
    watchdog::Watched,
};

/// The program.
pub const PROGRAM: Program = Program {
    name: "dispatcher",
    admin: |config| config.dispatcher.admin_listen,
    standalone: false,
    tools: true,
};

/// Serves as the program `dispatcher` does, with `apps` that may be a program's own.
pub async fn serve(config: Config, apps: Vec<Box<dyn App>>, lifecycle: Lifecycle) -> Result<(), Failure> {
    let listener = admin::bind(config.dispatcher.admin_listen, "dispatcher.admin_listen").await?;
    let dispatcher = Dispatcher::with_apps(&config, apps)?;
    let queue = queue::open(&config, &lifecycle)?;
    let address = listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    cli::print_line(&format!("listening admin={address}"));
    let pages = admin::routes(Arc::clone(&queue), lifecycle.clone(), dispatcher.pages());
    lifecycle.spawn("private listener", admin::serve(listener, pages, lifecycle.clone()));
    dispatcher.run(&queue, &lifecycle).await;
    queue.close().await;
    Ok(())
}

/// The service.
pub struct Dispatcher {
    config: Config,
    router: Arc<Router>,
    engines: Engines,
}

/// A queue that is to be consumed.
struct Wanted {
    queue: QueueName,
    prefetch: u16,
    concurrency: u16,
}

/// One queue's consumer, about to start.
struct Consumer {
    queue: QueueName,
    deliveries: Deliveries,
    concurrency: u16,
}

/// A consumer that runs.
struct Running {
    /// Ends when everything begun is settled.
    drained: BoxFuture<'static, ()>,
    watched: Watched,
}

impl Consumer {
    fn start<W: Work>(self, work: Arc<W>, config: &Config, lifecycle: &Lifecycle) -> Running {
        let Self { queue, deliveries, concurrency } = self;
        let policy = RetryPolicy::new(&config.queue);
        let (drained, pulse) = lanes::start(Arc::clone(&work), deliveries, concurrency, policy, lifecycle);
        let is_waiting = Box::new(move || work.is_waiting());
        Running { drained: drained.boxed(), watched: Watched { queue, pulse, is_waiting } }
    }
}

impl Dispatcher {
    /// Builds the apps and the engines.
    pub fn build(config: &Config) -> Result<Self, Failure> {
        Self::with_apps(config, apps::build(config))
    }

    /// As [`Dispatcher::build`], for a program that has apps of its own.
    pub fn with_apps(config: &Config, apps: Vec<Box<dyn App>>) -> Result<Self, Failure> {
        Ok(Self {
            config: config.clone(),
            router: Arc::new(Router::new(apps, config)),
            engines: Engines::build(config)?,
        })
    }

    /// The private pages of the engines, and what health pages tell of them.
    #[must_use]
    pub fn pages(&self) -> Pages {
        pages::all(&self.engines)
    }

    /// Consumes until a stop is asked for and everything begun is settled.
    pub async fn run(self, queue: &Arc<dyn Queue>, lifecycle: &Lifecycle) {
        let Config { dispatcher, .. } = &self.config;
        let mut wanted = vec![Wanted {
            queue: QueueName::Incoming,
            prefetch: lanes::prefetch(dispatcher.concurrency),
            concurrency: dispatcher.concurrency,
        }];
        wanted.extend(self.engines.iter().map(|(name, backend)| Wanted {
            queue: QueueName::Outgoing(name.clone()),
            prefetch: backend.prefetch(),
            concurrency: backend.concurrency,
        }));
        let subscriptions = wanted.iter().map(|wanted| (wanted.queue.clone(), wanted.prefetch)).collect();
        let mut consumers = wanted.into_iter().zip(queue.consume(subscriptions)).map(
            |(Wanted { queue, concurrency, .. }, deliveries)| Consumer { queue, deliveries, concurrency },
        );
        let mut running = Vec::new();
        if let Some(incoming) = consumers.next() {
            let inbound = Inbound::new(self.router, Arc::clone(queue) as _, &self.config, lifecycle);
            running.push(incoming.start(Arc::new(inbound), &self.config, lifecycle));
        }
        for ((name, backend), outgoing) in self.engines.into_iter().zip(consumers) {
            let outbound = Outbound::new(name, backend, &self.config, lifecycle);
            running.push(outgoing.start(Arc::new(outbound), &self.config, lifecycle));
        }
        let (drained, watched): (Vec<_>, Vec<_>) =
            running.into_iter().map(|running| (running.drained, running.watched)).unzip();
        watchdog::start(queue, watched, self.config.dispatcher.stuck_after, lifecycle);
        join_all(drained).await;
    }
}
