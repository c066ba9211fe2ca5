//! Takes the providers' HTTP requests and publishes each message to the queue.
//!
//! The way of a request: [`routes`] finds its endpoint by path, [`auth`] says whether its sender may post, a [form](forms)
//! decodes and validates it, the message is published, and 200 is answered when the queue has confirmed it, never before.
//! Every other answer is a [`refusal::Refusal`]. Programs that send have an [`api`] of their own.

pub mod routes;

pub mod forms;

pub mod api;

pub mod auth;

pub mod body;

pub mod publishing;

pub mod request;

pub mod refusal;

mod seldom;

mod traced;

use std::{net::SocketAddr, sync::Arc};

use shared::{
    admin::{self, Pages},
    config::Config,
    http,
    lifecycle::{Failure, Lifecycle},
    queue::Queue,
};
use tokio::net::TcpListener;

use self::publishing::Publisher;

/// The service, with its ports bound.
pub struct Ingress {
    public: TcpListener,
    admin: TcpListener,
    config: Config,
}

impl Ingress {
    /// Binds both listeners.
    pub async fn bind(config: &Config) -> Result<Self, Failure> {
        Ok(Self {
            public: admin::bind(config.ingress.listen, "ingress.listen").await?,
            admin: admin::bind(config.ingress.admin_listen, "ingress.admin_listen").await?,
            config: config.clone(),
        })
    }

    /// The address that providers reach.
    pub fn public_address(&self) -> Option<SocketAddr> {
        self.public.local_addr().ok()
    }

    /// The line that tells where the service listens.
    #[must_use]
    pub fn listening(&self) -> String {
        let shown = |listener: &TcpListener| {
            listener.local_addr().map_or_else(|_| "?".to_owned(), |at| at.to_string())
        };
        format!("listening ingress={} admin={}", shown(&self.public), shown(&self.admin))
    }

    /// Serves until a stop is asked for and every request is answered. `more` goes to the private pages.
    pub async fn run(self, queue: &Arc<dyn Queue>, more: Pages, lifecycle: &Lifecycle) {
        let publisher = Publisher::new(Arc::clone(queue) as _);
        let router = more.router.merge(api::private(&self.config, publisher.clone()));
        let more = Pages { router, ..more };
        let pages = admin::routes(Arc::clone(queue), lifecycle.clone(), more);
        lifecycle.spawn("private listener", admin::serve(self.admin, pages, lifecycle.clone()));
        let service = routes::router(&self.config, publisher);
        http::serve(self.public, service, self.config.ingress.request_timeout, lifecycle).await;
    }
}
