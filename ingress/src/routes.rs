//! The public listener: every path of every endpoint goes to one route function.

pub mod messages;

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::Router;
use metrics::{Counter, Histogram};
use percent_encoding::percent_decode_str;
use shared::{
    config::{Config, auth::Auth},
    message::BackendName,
    queue::Publish,
    telemetry::Privacy,
};

use crate::forms::{self, Form};

/// The endpoints by path, and the limits that hold for all.
pub struct Endpoints {
    by_path: HashMap<String, Arc<Endpoint>>,
    max_body_bytes: usize,
    request_timeout: Duration,
    privacy: Privacy,
}

/// One endpoint, ready to serve.
pub struct Endpoint {
    backend: BackendName,
    auth: Auth,
    form: Box<dyn Form>,
    accepted: Counter,
}

impl Endpoints {
    /// The endpoints of `config`.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut by_path = HashMap::new();
        for settings in &config.endpoints {
            let endpoint = Arc::new(Endpoint {
                backend: settings.backend.clone(),
                auth: settings.auth.clone(),
                form: forms::build(settings, config),
                accepted: metrics::counter!("gateway_accepted_total", "backend" => settings.backend.to_string()),
            });
            by_path.extend(settings.paths.iter().map(|path| (path.clone(), Arc::clone(&endpoint))));
        }
        Self {
            by_path,
            max_body_bytes: config.ingress.max_body_bytes,
            request_timeout: config.ingress.request_timeout,
            privacy: Privacy::new(&config.logging),
        }
    }

    /// The endpoint at `path`, with or without a trailing slash, however it is escaped.
    fn find(&self, path: &str) -> Option<&Arc<Endpoint>> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        self.by_path.get(path.strip_suffix('/').unwrap_or(&path))
    }
}

/// What the route function needs.
pub struct State {
    endpoints: Endpoints,
    queue: Arc<dyn Publish>,
    publishing: Histogram,
}

/// The public service. The paths are the operator's, so they are looked up in a map, not in a route table.
pub fn router(endpoints: Endpoints, queue: Arc<dyn Publish>) -> Router {
    let publishing = metrics::histogram!("gateway_publish_seconds");
    let state = Arc::new(State { endpoints, queue, publishing });
    Router::new().fallback(messages::receive_message).with_state(state)
}
