//! The API, by which programs send: `POST /api/v1/messages`, and `GET /api/v1/openapi.json`, which describes it.
//!
//! On the private listener it is for everybody who reaches it; on the public one, which has it only when `api.tokens` is
//! set, for those who show a token. Every answer that is no success is an [`error::ApiError`].

pub mod callers;

pub mod error;

pub mod submission;

mod openapi;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Request, State},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use shared::{
    config::{Config, api::PREFIX},
    telemetry::Privacy,
};

use self::{
    callers::{Caller, Callers},
    error::ApiError,
    submission::Limits,
};
use crate::{
    body,
    publishing::Publisher,
    refusal::{refused, refused_nothing_yet},
    routes::submit,
    traced,
};

/// What the route functions need.
pub struct Api {
    callers: Callers,
    pub(crate) limits: Limits,
    pub(crate) body: body::Limits,
    pub(crate) publisher: Publisher,
    pub(crate) privacy: Privacy,
}

impl Api {
    fn new(callers: Callers, config: &Config, publisher: Publisher) -> Self {
        refused_nothing_yet("");
        Self {
            callers,
            limits: Limits::of(&config.ingress),
            body: body::Limits::of(&config.ingress),
            publisher,
            privacy: Privacy::new(&config.logging),
        }
    }
}

/// The API of the private listener.
pub fn private(config: &Config, publisher: Publisher) -> Router {
    routes(Api::new(Callers::everybody(config), config, publisher))
}

/// The API of the public listener: without tokens, there is none.
pub fn public(config: &Config, publisher: Publisher) -> Router {
    if config.api.tokens.is_empty() {
        return Router::new();
    }
    routes(Api::new(Callers::with_tokens(config), config, publisher))
}

fn routes(api: Api) -> Router {
    let api = Arc::new(api);
    let mut routes = Router::new();
    for slash in ["", "/"] {
        routes = routes
            .route(&format!("{}{slash}", openapi::MESSAGES), post(submit::submit_message))
            .route(&format!("{}{slash}", openapi::DOCUMENT), get(openapi::show_document));
    }
    for path in [PREFIX.to_owned(), format!("{PREFIX}/"), format!("{PREFIX}/{{*path}}")] {
        routes = routes.route(&path, any(unknown_path));
    }
    routes
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&api), authenticate))
        .layer(middleware::from_fn(traced::layer))
        .with_state(api)
}

/// Before everything else: who does not show a token is not even told which paths there are.
async fn authenticate(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    // A browser adds it to what a page makes it send; and a page that lies about its own name reaches whatever its reader does.
    if matches!(api.callers, Callers::Everybody(_)) && request.headers().contains_key(header::ORIGIN) {
        return refuse("", ApiError::Origin);
    }
    match api.callers.find(request.headers().get(header::AUTHORIZATION)) {
        Ok(caller) => {
            request.extensions_mut().insert(Arc::clone(caller));
            next.run(request).await
        }
        Err(error) => refuse("", error),
    }
}

async fn unknown_path(Extension(caller): Extension<Arc<Caller>>) -> Response {
    refuse(&caller.name, ApiError::UnknownPath)
}

async fn wrong_method(Extension(caller): Extension<Arc<Caller>>) -> Response {
    refuse(&caller.name, ApiError::Method)
}

/// The answer to a request of `caller` that is no success. The only place that notes one.
pub(crate) fn refuse(caller: &str, error: ApiError) -> Response {
    let reason = error.code().as_str();
    refused(reason, "").increment(1);
    if let ApiError::Unavailable { cause, .. } = &error {
        tracing::error!(caller, reason, detail = %cause, "refused");
    } else if matches!(error, ApiError::Malformed { .. } | ApiError::Invalid(_) | ApiError::Backend(_)) {
        // A program whose messages are lost: its operator wants to know. What is wrong is told to the program alone, for it
        // repeats what was sent.
        tracing::warn!(caller, reason, "refused");
    } else {
        // Anybody can cause the others, as often as they like.
        tracing::debug!(caller, reason, "refused");
    }
    error.into_response()
}
