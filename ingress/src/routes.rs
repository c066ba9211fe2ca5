//! The public listener: every path of every endpoint goes to one route function, and the API has its own.

pub mod messages;

mod reports;

pub mod submit;

use std::{collections::HashMap, sync::Arc};

use axum::{Router, http::Method};
use metrics::Counter;
use percent_encoding::percent_decode_str;
use shared::{
    config::{Config, auth::Auth},
    message::BackendName,
    metric,
    telemetry::Privacy,
};

use crate::{
    api, body,
    forms::{self, Answer, Form, params::Params, reports::ReportForm},
    publishing::Publisher,
    refusal::{Problem, refused_nothing_yet},
    request::Request,
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
    takes: Takes,
    accepted: Counter,
    /// Of whom it refuses.
    seldom: Seldom,
}

/// What an endpoint takes, and how that is read.
enum Takes {
    /// Messages.
    Messages(Box<dyn Form>),
    /// Delivery reports.
    Reports(Box<ReportForm>),
}

impl Takes {
    fn methods(&self) -> &[Method] {
        match self {
            Self::Messages(form) => form.methods(),
            Self::Reports(form) => form.methods(),
        }
    }

    fn params<'r>(&self, request: &'r Request) -> Result<Params<'r>, Problem> {
        match self {
            Self::Messages(form) => form.params(request),
            Self::Reports(form) => form.params(request),
        }
    }

    fn answer(&self) -> &Answer {
        match self {
            Self::Messages(form) => form.answer(),
            Self::Reports(form) => form.answer(),
        }
    }
}

impl Endpoint {
    fn new(backend: &BackendName, auth: &Auth, takes: Takes) -> Self {
        let accepted = match takes {
            Takes::Messages(_) => metric::ACCEPTED,
            Takes::Reports(_) => metric::REPORTS_ACCEPTED,
        };
        refused_nothing_yet(backend.as_str());
        Self {
            backend: backend.clone(),
            auth: auth.clone(),
            takes,
            accepted: metrics::counter!(accepted, "backend" => backend.to_string()),
            seldom: Seldom::default(),
        }
    }
}

impl Endpoints {
    /// The endpoints of `config`.
    fn new(config: &Config) -> Self {
        let mut by_path = HashMap::new();
        for settings in &config.endpoints {
            let takes = Takes::Messages(forms::build(settings, config));
            let endpoint = Arc::new(Endpoint::new(&settings.backend, &settings.auth, takes));
            by_path.extend(settings.paths.iter().map(|path| (path.clone(), Arc::clone(&endpoint))));
        }
        for (backend, settings) in &config.reports {
            let takes = Takes::Reports(Box::new(ReportForm::new(settings, config)));
            by_path.insert(settings.path.clone(), Arc::new(Endpoint::new(backend, &settings.auth, takes)));
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
    Router::new().fallback(messages::receive_message).with_state(state).merge(api)
}
