//! Twilio's signature: over the URL as Twilio knows it, then each parameter of a form's body, sorted by name.
//!
//! <https://www.twilio.com/docs/usage/security#validating-requests>. The URL is not what arrives here, behind a proxy
//! that speaks TLS for us, so its beginning is configured.

use std::collections::BTreeSet;

use axum::http::Method;
use hmac::Hmac;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use shared::config::auth::Twilio;

use super::{same, signature};
use crate::{forms::params::Params, refusal::Refusal, request::Request};

const HEADER: &str = "x-twilio-signature";

const WRONG: Refusal =
    Refusal::Signature("X-Twilio-Signature does not match public_url, the request and auth_token");

pub(super) const UNREADABLE: Refusal =
    Refusal::Signature("the parameters cannot be read, and so X-Twilio-Signature cannot be checked");

/// Checks the signature of `request`, whose parameters are `params`.
pub(super) fn check(twilio: &Twilio, request: &Request, params: &Params<'_>) -> Result<(), Refusal> {
    let given = request.header(HEADER).ok_or(WRONG)?;
    // Each pair once, by name and then by value. A GET's parameters are in the URL already.
    let pairs: BTreeSet<_> =
        if request.method == Method::GET { BTreeSet::new() } else { params.pairs().collect() };
    let target = request.uri.path_and_query().map_or("", |target| target.as_str());
    let is_signed = twilio.public_urls.iter().any(|public_url| {
        let mut content = vec![public_url.as_bytes(), target.as_bytes()];
        content.extend(pairs.iter().flat_map(|(name, value)| [*name, *value]));
        signature::is_in(given, &signature::sign::<Hmac<Sha1>>(&twilio.auth_token, &content))
    });
    if is_signed && (matches!(params, Params::Pairs(_)) || has_body_hash(request)) {
        Ok(())
    } else {
        Err(WRONG)
    }
}

/// Whether the URL, which is signed, has the hash of the body: that is how Twilio signs a JSON document.
fn has_body_hash(request: &Request) -> bool {
    let query = Params::urlencoded(request.query().as_bytes(), encoding_rs::UTF_8).ok();
    let expected = hex::encode(Sha256::digest(&request.body));
    query
        .and_then(|query| query.raw("bodySHA256").map(|given| same(&given, expected.as_bytes())))
        .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::config::auth::Credentials;

    use super::*;
    use crate::forms::testing::{URLENCODED, auth, get, post, with};

    /// Whether `request` to `target`, signed so, is let through by an endpoint at `public_url`.
    fn passes(public_url: &str, target: &str, request: Request, signature: &str) -> bool {
        let auth = auth(&format!("{{ twilio = {{ auth_token = '12345', public_url = '{public_url}' }} }}"));
        let Credentials::Twilio(twilio) = &auth.credentials else { panic!() };
        let request = Request { uri: target.parse().unwrap(), ..with(request, HEADER, signature) };
        let params = if request.method == Method::GET {
            Params::urlencoded(request.query().as_bytes(), encoding_rs::UTF_8)
        } else {
            Params::body(&request, encoding_rs::UTF_8, true)
        };
        check(twilio, &request, &params.unwrap()).is_ok()
    }

    #[test]
    fn the_published_examples_pass() {
        for (number, signature) in [
            ("%2B12349013030", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="),
            ("%2B14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ] {
            let body = format!(
                "Digits=1234&To=%2B18005551212&From={number}&Caller={number}&CallSid=CA1234567890ABCDE"
            );
            let passes = |public_url, target, body: &str| {
                passes(public_url, target, post(URLENCODED, body), signature)
            };
            let target = "/myapp.php?foo=1&bar=2";
            for public_url in ["https://mycompany.com", "https://mycompany.com/", "https://mycompany.com:443"]
            {
                assert!(passes(public_url, target, &body), "{public_url}");
            }
            assert!(!passes("http://mycompany.com", target, &body));
            assert!(!passes("https://mycompany.com", "/myapp.php?bar=2&foo=1", &body));
            assert!(!passes("https://mycompany.com", "/myapp.php", &body));
            assert!(!passes("https://mycompany.com", target, &body.replace("1234&", "1235&")));
            assert!(!passes("https://mycompany.com", target, &format!("{body}&More=")));
        }
    }

    /// Blank and repeated values, characters beyond ASCII, and a query that is no tidy one.
    const ODD: &str = "From=%2B1&Tag=b&Empty=&Tag=a&Body=h%C3%A9llo+%E2%98%83+%26%20more&Tag=a";
    const TARGET: &str = "/in/b?x=%20y&z";

    #[test]
    fn the_url_is_signed_with_its_port_or_without() {
        for (signature, public_url) in [
            ("pIdrvSCKpTg6Usyc3QwQMtNaAJY=", "https://sms.example.org"),
            ("pIdrvSCKpTg6Usyc3QwQMtNaAJY=", "https://sms.example.org:443"),
            ("MVL8PZwM2sIUJn4FespHIk/T+vI=", "https://sms.example.org"),
            ("MVL8PZwM2sIUJn4FespHIk/T+vI=", "https://sms.example.org:443"),
            // What a proxy takes away from the path stands here.
            ("pIdrvSCKpTg6Usyc3QwQMtNaAJY=", "https://sms.example.org/in"),
        ] {
            let target = if public_url.ends_with("/in") { &TARGET[3..] } else { TARGET };
            assert!(passes(public_url, target, post(URLENCODED, ODD), signature), "{signature} {public_url}");
        }
        assert!(!passes(
            "https://sms.example.org:8443",
            TARGET,
            post(URLENCODED, ODD),
            "MVL8PZwM2sIUJn4FespHIk/T+vI="
        ));
    }

    #[test]
    fn of_a_get_the_url_is_all_and_of_json_the_url_has_the_hash() {
        let public_url = "https://sms.example.org";
        let target = "/in/b?identity=1&text=x";
        assert!(passes(public_url, target, get(""), "NCyF+UE3HrwALEVDG8twutwJlr4="));
        assert!(!passes(public_url, target, post(URLENCODED, "a=b"), "NCyF+UE3HrwALEVDG8twutwJlr4="));

        let json = |body: &str| post("application/json", body);
        let target = "/in/b?bodySHA256=d1643503064f63966a642d090a638e39f2abee15b4285996c244b93be58f797d";
        assert!(passes(public_url, target, json(r#"{"from":"1"}"#), "+2Nvq3By/x34HrfH9JhOymnk5rA="));
        assert!(!passes(public_url, target, json(r#"{"from":"2"}"#), "+2Nvq3By/x34HrfH9JhOymnk5rA="));
        assert!(!passes(public_url, "/in/b?a=b", json("{}"), "yxF+MB1BRlfnSfBOPAdQGHjA9tA="));
    }

    proptest! {
        #[test]
        fn no_request_panics_and_none_by_chance_is_right(
            body in any::<Vec<u8>>(),
            query in "[a-z0-9%&=/?:]{0,30}",
            signature in "[ -~]{0,60}",
        ) {
            let (target, request) = (format!("/?{query}"), post(URLENCODED, &body));
            prop_assert!(!passes("https://h", &target, request, &signature));
        }
    }
}
