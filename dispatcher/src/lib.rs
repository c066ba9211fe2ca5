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

mod depths;

mod age;

mod rate;

mod recent;

mod reports;

mod pages;

pub mod trial;

use std::{process::ExitCode, sync::Arc};

use futures_util::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use shared::{
    admin::{self, Pages},
    cli::{self, Program},
    config::Config,
    lifecycle::{Failure, Lifecycle},
    queue::{self, Deliveries, Prefetch, Publish, Queue, QueueName, RetryPolicy},
};

use self::{
    engines::{Engines, calls::Calls},
    inbound::Inbound,
    lanes::Work,
    outbound::Outbound,
    reports::Reports,
    router::Router,
    watchdog::{Stalls, Watched},
};

const PROGRAM: Program =
    Program { name: "dispatcher", admin: |config| config.dispatcher.admin_listen, standalone: false };

/// The program `dispatcher`, with `apps` that may be a program's own.
#[must_use]
pub fn main(apps: apps::Build) -> ExitCode {
    let serve = move |config, lifecycle| serve(config, apps, lifecycle);
    cli::main(PROGRAM, serve, Some(trial::tell(apps)))
}

async fn serve(config: Config, apps: apps::Build, lifecycle: Lifecycle) -> Result<(), Failure> {
    let listener = admin::bind(config.dispatcher.admin_listen, "dispatcher.admin_listen").await?;
    let dispatcher = Dispatcher::build(&config, apps)?;
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
    stalls: Arc<Stalls>,
}

/// One queue, and how it is consumed.
struct Consumer {
    queue: QueueName,
    prefetch: Prefetch,
    concurrency: u16,
}

/// Ends when everything begun is settled.
type Drained = BoxFuture<'static, ()>;

impl Consumer {
    fn start<W: Work>(
        self,
        deliveries: Deliveries,
        work: W,
        config: &Config,
        lifecycle: &Lifecycle,
    ) -> (Drained, Watched) {
        let (work, policy) = (Arc::new(work), RetryPolicy::new(&config.queue));
        let (drained, pulse) =
            lanes::start(Arc::clone(&work), deliveries, self.concurrency, policy, lifecycle);
        let is_waiting = Box::new(move || work.is_waiting());
        (drained.boxed(), Watched { queue: self.queue, pulse, is_waiting })
    }
}

impl Dispatcher {
    /// Builds the apps and the engines.
    pub fn build(config: &Config, apps: apps::Build) -> Result<Self, Failure> {
        Ok(Self {
            config: config.clone(),
            router: Arc::new(Router::new(apps(config, &Calls::Made)?, config)),
            engines: Engines::build(config, &Calls::Made)?,
            stalls: Arc::default(),
        })
    }

    /// The private pages of the engines, and what health pages tell of them and of the queues.
    #[must_use]
    pub fn pages(&self) -> Pages {
        pages::all(&self.engines, &self.stalls)
    }

    /// Consumes until a stop is asked for and everything begun is settled.
    pub async fn run(self, queue: &Arc<dyn Queue>, lifecycle: &Lifecycle) {
        let concurrency = self.config.dispatcher.concurrency;
        let prefetch = Prefetch::fixed(lanes::prefetch(concurrency));
        let mut consumers = vec![
            Consumer { queue: QueueName::Incoming, prefetch, concurrency },
            // One at a time: a consumer that asks for more has to attach again, and another process would go on meanwhile.
            Consumer { queue: QueueName::Reports, prefetch: Prefetch::fixed(1), concurrency: 1 },
        ];
        consumers.extend(self.engines.iter().map(|(name, backend)| Consumer {
            queue: QueueName::Outgoing(name.clone()),
            prefetch: backend.prefetch(),
            concurrency: backend.concurrency,
        }));
        let publish: Arc<dyn Publish> = Arc::clone(queue) as _;
        let wanted =
            consumers.iter().map(|consumer| (consumer.queue.clone(), consumer.prefetch.clone())).collect();
        let mut consumers = consumers.into_iter().zip(queue.consume(wanted));
        let mut running = Vec::new();
        if let Some((incoming, deliveries)) = consumers.next() {
            let inbound =
                Inbound::new(Arc::clone(&self.router), Arc::clone(&publish), &self.config, lifecycle);
            running.push(incoming.start(deliveries, inbound, &self.config, lifecycle));
        }
        if let Some((reports, deliveries)) = consumers.next() {
            let work = Reports::new(self.router, &self.config);
            running.push(reports.start(deliveries, work, &self.config, lifecycle));
        }
        for ((name, backend), (outgoing, deliveries)) in self.engines.into_iter().zip(consumers) {
            let outbound = Outbound::new(name, backend, &publish, &self.config, lifecycle);
            running.push(outgoing.start(deliveries, outbound, &self.config, lifecycle));
        }
        let (drained, watched): (Vec<_>, Vec<_>) = running.into_iter().unzip();
        depths::start(queue, watched.iter().map(|watched| watched.queue.clone()), lifecycle);
        watchdog::start(queue, watched, self.config.dispatcher.stuck_after, self.stalls, lifecycle);
        join_all(drained).await;
    }
}
