//! The public listener: every path of every endpoint goes to one route function, and the API has its own.

pub mod messages;

pub mod submit;

use std::{collections::HashMap, sync::Arc};

use axum::{Router, middleware};
use metrics::Counter;
use percent_encoding::percent_decode_str;
use shared::{
    config::{Config, auth::Auth},
    message::BackendName,
    telemetry::Privacy,
};

use crate::{
    api, body,
    forms::{self, Form},
    publishing::Publisher,
    seldom::Seldom,
};

/// The endpoints by path, and the limits that hold for all.
struct Endpoints {
    by_path: HashMap<String, Arc<Endpoint>>,
    body: body::Limits,
    privacy: Privacy,
}

/// One endpoint, ready to serve.
pub struct Endpoint {
    backend: BackendName,
    auth: Auth,
    form: Box<dyn Form>,
    accepted: Counter,
    /// Of whom it refuses.
    seldom: Seldom,
}

impl Endpoints {
    /// The endpoints of `config`.
    fn new(config: &Config) -> Self {
        let mut by_path = HashMap::new();
        for settings in &config.endpoints {
            let endpoint = Arc::new(Endpoint {
                backend: settings.backend.clone(),
                auth: settings.auth.clone(),
                form: forms::build(settings, config),
                accepted: metrics::counter!("gateway_accepted_total", "backend" => settings.backend.to_string()),
                seldom: Seldom::default(),
            });
            by_path.extend(settings.paths.iter().map(|path| (path.clone(), Arc::clone(&endpoint))));
        }
        Self { by_path, body: body::Limits::of(&config.ingress), privacy: Privacy::new(&config.logging) }
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
    publisher: Publisher,
}

/// The public service. The paths are the operator's, so they are looked up in a map, not in a route table; but for those of
/// the API, which no endpoint has.
pub fn router(config: &Config, publisher: Publisher) -> Router {
    let api = api::public(config, publisher.clone());
    let state = Arc::new(State { endpoints: Endpoints::new(config), publisher });
    Router::new()
        .fallback(messages::receive_message)
        .with_state(state)
        .merge(api)
        .layer(middleware::from_fn(body::close_unread))
}
