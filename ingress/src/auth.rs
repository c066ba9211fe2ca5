//! Who may post: `auth` of an endpoint. Secrets are compared in constant time.

use axum::http::HeaderValue;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use secrecy::{ExposeSecret, SecretString};
use shared::config::auth::{Auth, Credentials};
use subtle::ConstantTimeEq;

use crate::{forms::params::Params, refusal::Refusal, request::Request};

/// Checks what needs no parameters: the address, basic authentication, a token in a header. Runs before the body is read.
pub fn check_head(auth: &Auth, request: &Request) -> Result<(), Refusal> {
    // A socket that takes both families shows an IPv4 address as a mapped one.
    let peer = request.peer.to_canonical();
    if !auth.allow_ips.is_empty() && !auth.allow_ips.iter().any(|network| network.contains(&peer)) {
        return Err(Refusal::Address);
    }
    match &auth.credentials {
        Credentials::None | Credentials::Parameter { .. } => Ok(()),
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

/// Checks a token in a parameter.
pub fn check_parameters(auth: &Auth, params: &Params) -> Result<(), Refusal> {
    match &auth.credentials {
        Credentials::Parameter { name, value } => check_token(params.raw(name), value),
        Credentials::None | Credentials::Basic(_) | Credentials::Header { .. } => Ok(()),
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
mod tests {
    use axum::http::{HeaderMap, HeaderName, Method};
    use shared::config::backends::Basic;

    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let pairs = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        });
        Request {
            method: Method::GET,
            query: String::new(),
            headers: pairs.collect::<HeaderMap>(),
            body: bytes::Bytes::new(),
            peer: [10, 1, 2, 3].into(),
        }
    }

    fn auth(credentials: Credentials) -> Auth {
        Auth { credentials, allow_ips: Vec::new() }
    }

    #[test]
    fn basic_wants_the_exact_user_and_password() {
        let basic = Basic { user: "kannel".to_owned(), password: "p:w".into() };
        let auth = auth(Credentials::Basic(basic));
        let with = |credentials: &str| {
            check_head(
                &auth,
                &request(&[("authorization", &format!("bAsIc {}", BASE64_STANDARD.encode(credentials)))]),
            )
        };
        assert!(with("kannel:p:w").is_ok());
        for wrong in ["kannel:p", "Kannel:p:w", "kannel:p:w ", ":", ""] {
            assert!(matches!(with(wrong), Err(Refusal::Credentials { basic: true })), "{wrong:?}");
        }
        for header in ["Basic ###", "Bearer a2FubmVsOnA6dw==", "Basic", ""] {
            assert!(check_head(&auth, &request(&[("authorization", header)])).is_err(), "{header:?}");
        }
        assert!(check_head(&auth, &request(&[])).is_err());
    }

    #[test]
    fn a_token_stands_in_its_header_or_its_parameter_only() {
        let header = auth(Credentials::Header { name: "x-token".to_owned(), value: "t".into() });
        assert!(check_head(&header, &request(&[("X-Token", "t")])).is_ok());
        assert!(check_head(&header, &request(&[("X-Token", "T")])).is_err());
        assert!(check_head(&header, &request(&[])).is_err());
        let accented = auth(Credentials::Header { name: "x-token".to_owned(), value: "clé".into() });
        assert!(check_head(&accented, &request(&[("X-Token", "clé")])).is_ok());
        assert!(check_head(&accented, &request(&[("X-Token", "cle")])).is_err());

        let parameter = auth(Credentials::Parameter { name: "key".to_owned(), value: "t".into() });
        let params = |query: &str| Params::urlencoded(query.as_bytes(), encoding_rs::UTF_8).unwrap();
        assert!(check_parameters(&parameter, &params("key=t")).is_ok());
        assert!(check_parameters(&parameter, &params("key=t&key=x")).is_err());
        assert!(check_parameters(&parameter, &params("kex=t")).is_err());
    }

    #[test]
    fn an_address_must_be_in_a_network() {
        let auth = |network: &str| Auth {
            credentials: Credentials::None,
            allow_ips: vec![network.parse().unwrap()],
        };
        assert!(check_head(&auth("10.0.0.0/8"), &request(&[])).is_ok());
        assert!(matches!(check_head(&auth("192.168.0.0/16"), &request(&[])), Err(Refusal::Address)));
        let mut mapped = request(&[]);
        mapped.peer = "::ffff:10.1.2.3".parse().unwrap();
        assert!(check_head(&auth("10.0.0.0/8"), &mapped).is_ok());
    }
}
