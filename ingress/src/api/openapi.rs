//! The description of the API, made from its types: `GET /api/v1/openapi.json`, the same as `docs/openapi.json`.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::routes::submit;

/// Where messages are submitted.
pub(super) const MESSAGES: &str = "/api/v1/messages";

/// Where the description is.
pub(super) const DOCUMENT: &str = "/api/v1/openapi.json";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "RapidSMS Gateway",
        description = "Sends text messages through the backends of a gateway.",
        version = "1",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(submit::submit_message),
    modifiers(&Token),
    // The private listener asks for none.
    security(("token" = []), ())
)]
struct Document;

/// How a token is shown.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "A token of `api.tokens`. The public listener wants one, the private one does not.",
        ));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme.build()));
    }
}

/// The description as JSON.
fn document() -> String {
    #[expect(clippy::expect_used, reason = "a document of strings and numbers is always JSON")]
    Document::openapi().to_pretty_json().expect("the description is always JSON")
}

/// Shows the description.
pub(super) async fn show_document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document() + "\n").into_response()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Who changes the API sees here what its callers will see.
    #[test]
    fn the_document_in_the_repository_is_that_of_the_types() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let (written, now) = (std::fs::read_to_string(&file).unwrap_or_default(), document() + "\n");
        if written != now {
            let new = file.with_extension("json.new");
            std::fs::write(&new, now).unwrap();
            panic!("the API has changed: compare {} and rename it", new.display());
        }
    }
}
