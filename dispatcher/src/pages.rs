//! The private pages of the engines: `GET /httptester/<backend>?identity=N`, what was sent by this process, and
//! `/httptester/`, which backends there are. And a line on the health page for each backend that is paused, and for each queue
//! that does not move.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::{
    admin::Pages,
    message::{BackendName, Identity},
    queue::Check,
};

use crate::{
    engines::{
        Engines,
        httptester::{HttpTester, Sent},
    },
    gate::Gate,
    watchdog::Stalls,
};

type Testers = Arc<BTreeMap<BackendName, Arc<HttpTester>>>;

#[derive(Deserialize)]
struct Selection {
    identity: Option<String>,
}

#[derive(Serialize)]
struct Page {
    messages: Vec<Sent>,
}

/// All pages.
pub(crate) fn all(engines: &Engines, stalls: &Arc<Stalls>) -> Pages {
    let gates: Vec<(BackendName, Arc<Gate>)> =
        engines.iter().map(|(name, backend)| (name.clone(), Arc::clone(&backend.gate))).collect();
    let stalls = Arc::clone(stalls);
    let checks = move || paused(&gates).into_iter().chain(stalls.checks()).collect();
    Pages { router: routes(engines), checks: Arc::new(checks) }
}

/// A paused backend makes nobody less ready: its messages wait, and the others are served.
fn paused(gates: &[(BackendName, Arc<Gate>)]) -> Vec<Check> {
    let check = |(name, gate): &(BackendName, Arc<Gate>)| {
        let detail = gate.told()?;
        Some(Check { name: format!("backend {name}"), ok: true, detail })
    };
    gates.iter().filter_map(check).collect()
}

fn routes(engines: &Engines) -> Router {
    let testers: Testers = Arc::new(engines.testers().clone());
    let pages = if testers.is_empty() {
        Router::new()
    } else {
        Router::new().route("/httptester", get(list_testers)).route("/httptester/", get(list_testers))
    };
    pages
        .route("/httptester/{backend}", get(list_sent))
        .route("/httptester/{backend}/", get(list_sent))
        .with_state(testers)
}

async fn list_testers(State(testers): State<Testers>) -> String {
    testers.keys().flat_map(|name| ["/httptester/", name.as_str(), "\n"]).collect()
}

async fn list_sent(
    State(testers): State<Testers>,
    Path(backend): Path<String>,
    Query(selection): Query<Selection>,
) -> Response {
    let tester = backend.parse::<BackendName>().ok().and_then(|name| testers.get(&name).cloned());
    let Some(tester) = tester else {
        let known: Vec<&str> = testers.keys().map(BackendName::as_str).collect();
        let error = format!(
            "no backend of that name has the engine httptester; those that have: {}",
            known.join(", ")
        );
        return (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response();
    };
    let identity = selection.identity.map(Identity::from);
    Json(Page { messages: tester.sent(identity.as_ref()) }).into_response()
}
