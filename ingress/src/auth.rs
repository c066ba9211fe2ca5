//! Who may post: `auth` of an endpoint, checked as soon as what it needs is there. Secrets are compared in constant
//! time.

mod signature;

mod twilio;

use axum::http::{HeaderMap, HeaderValue, header::CONTENT_TYPE};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use shared::config::auth::{Auth, Credentials};
use subtle::ConstantTimeEq;

use crate::{
    forms::params::{self, Params},
    refusal::Refusal,
    request::Request,
};

/// Checks what the head tells: the address, basic authentication, a token in a header. Runs before the body is read.
pub fn check_head(auth: &Auth, request: &Request) -> Result<(), Refusal> {
    // A socket that takes both families shows an IPv4 address as a mapped one.
    let peer = request.peer.to_canonical();
    if !auth.allow_ips.is_empty() && !auth.allow_ips.iter().any(|network| network.contains(&peer)) {
        return Err(Refusal::Address);
    }
    match &auth.credentials {
        Credentials::None | Credentials::Parameter { .. } | Credentials::Hmac(_) | Credentials::Twilio(_) => {
            Ok(())
        }
        Credentials::Basic(basic) => {
            let expected = format!("{}:{}", basic.user, basic.password.expose_secret());
            let given = request.header("authorization").and_then(basic_credentials);
            let given = given.is_some_and(|given| same(&given, expected.as_bytes()));
            given.then_some(()).ok_or(Refusal::Credentials { basic: true })
        }
        // As bytes, for a token need not be ASCII.
        Credentials::Header { name, value } => {
            check_token(request.headers.get(name).map(HeaderValue::as_bytes), value)
        }
    }
}

/// The headers of a request, without what no signature covers and what would change its text: the charset of the body.
#[must_use]
pub fn believed(auth: &Auth, mut headers: HeaderMap) -> HeaderMap {
    if auth.is_by_signature() {
        let named =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(params::without_charset);
        if let Some(Ok(content_type)) = named.map(HeaderValue::try_from) {
            headers.insert(CONTENT_TYPE, content_type);
        }
    }
    headers
}

/// Checks what the body tells: a signature over it. Runs before anything is decoded.
pub fn check_body(auth: &Auth, request: &Request) -> Result<(), Refusal> {
    match &auth.credentials {
        Credentials::Hmac(hmac) => signature::check(hmac, request),
        Credentials::None
        | Credentials::Basic(_)
        | Credentials::Header { .. }
        | Credentials::Parameter { .. }
        | Credentials::Twilio(_) => Ok(()),
    }
}

/// Checks what the parameters tell, if they can be read at all: a token among them or in the URL, a signature over them.
pub fn check_params(auth: &Auth, request: &Request, params: Option<&Params<'_>>) -> Result<(), Refusal> {
    match &auth.credentials {
        Credentials::Parameter { name, value } => {
            let query = Params::urlencoded(request.query().as_bytes(), encoding_rs::UTF_8).ok();
            let given = params.and_then(|params| params.raw(name)).or_else(|| query.as_ref()?.raw(name));
            check_token(given.as_deref(), value)
        }
        Credentials::Twilio(twilio) => twilio::check(twilio, request, params.ok_or(twilio::UNREADABLE)?),
        Credentials::None | Credentials::Basic(_) | Credentials::Header { .. } | Credentials::Hmac(_) => {
            Ok(())
        }
    }
}

fn check_token(given: Option<&[u8]>, expected: &SecretString) -> Result<(), Refusal> {
    let given = given.is_some_and(|given| same(given, expected.expose_secret().as_bytes()));
    given.then_some(()).ok_or(Refusal::Credentials { basic: false })
}

fn basic_credentials(header: &str) -> Option<Vec<u8>> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    BASE64_STANDARD.decode(encoded.trim()).ok()
}

fn same(given: &[u8], expected: &[u8]) -> bool {
    given.ct_eq(expected).into()
}

#[cfg(test)]
mod tests;
