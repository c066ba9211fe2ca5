//! The private pages that every process has: `/health/live`, `/health/ready`, `/metrics`, and `/`, the list of all.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::{
    http,
    lifecycle::{Exit, Failure, Lifecycle},
    queue::{Check, Queue},
    telemetry,
};

/// How long an operator's or a monitor's request may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The pages that a process may have.
const PAGES: [&str; 6] =
    ["/health/live", "/health/ready", "/metrics", "/httptester/", "/api/v1/messages", "/api/v1/openapi.json"];

/// Opens a listener. `key` is where the address came from, for the one line that a failure gets.
pub async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let advice = format!("stop what uses it, or write another address for {key} in the configuration");
        Failure::new(Exit::Unavailable, format!("cannot listen on {address}: {error}; {advice}"))
    })
}

/// What a service adds to the private pages of its process.
#[derive(Clone)]
pub struct Pages {
    /// More pages.
    pub router: Router,
    /// More lines of the health page.
    pub checks: Arc<dyn Fn() -> Vec<Check> + Send + Sync>,
}

impl Default for Pages {
    /// Nothing.
    fn default() -> Self {
        Self { router: Router::new(), checks: Arc::new(Vec::new) }
    }
}

/// The pages, for a process that stands on `queue` and has `more` to show.
pub fn routes(queue: Arc<dyn Queue>, lifecycle: Lifecycle, more: Pages) -> Router {
    let ready = move || {
        let mut checks = queue.checks();
        checks.extend((more.checks)());
        if lifecycle.is_stopping() {
            checks.push(Check {
                name: "stopping".to_owned(),
                ok: false,
                detail: "the process stops".to_owned(),
            });
        }
        std::future::ready(health(&checks))
    };
    Router::new()
        .route("/health/live", get(|| std::future::ready(health(&[]))))
        .route("/health/ready", get(ready))
        .route("/metrics", get(|| std::future::ready(metrics())))
        .merge(more.router)
}

/// Serves `pages` until a stop is asked for, and keeps what they show of moderate size.
pub async fn serve(listener: TcpListener, pages: Router, lifecycle: Lifecycle) {
    lifecycle.spawn("metrics upkeep", telemetry::keep_up(lifecycle.clone()));
    let index = index(&pages).await;
    let pages = pages.route("/", get(move || std::future::ready(index.clone())));
    http::serve(listener, pages, HEAD_TIMEOUT, &lifecycle).await;
}

/// The page `/`: a line for each of [`PAGES`] that this process has. Asked of the pages themselves, which are merged from
/// several services.
async fn index(pages: &Router) -> String {
    let mut index = String::new();
    let pages = TowerToHyperService::new(pages.clone());
    for page in PAGES {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = Uri::from_static(page);
        let Ok(answer) = pages.call(request).await;
        if answer.status() != StatusCode::NOT_FOUND {
            index += page;
            index.push('\n');
        }
    }
    index
}

fn health(checks: &[Check]) -> Response {
    let well = checks.iter().all(|check| check.ok);
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({ "status": if well { "ok" } else { "unavailable" }, "checks": checks });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn metrics() -> Response {
    let Some(metrics) = telemetry::metrics() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "another metrics recorder is installed\n").into_response();
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_pages_that_are_there_are_listed() {
        let page = || get(async || StatusCode::SERVICE_UNAVAILABLE);
        let pages = Router::new().route("/health/live", page()).route("/metrics", page());
        assert_eq!(index(&pages).await, "/health/live\n/metrics\n");
    }
}
