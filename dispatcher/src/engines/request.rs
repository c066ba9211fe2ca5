//! What the requests of all engines are made of. Pure.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};
use reqwest::{
    Body, Method, Request,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};
use shared::config::backends::{Basic, HttpUrl};
use url::Url;

/// What is encoded in a value within the URL: all but the unreserved characters.
pub(super) const IN_URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The content type of parameters in a body.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The content type of JSON.
pub(super) const JSON: &str = "application/json";

/// Gives the request a body.
pub(super) fn set_body(request: &mut Request, content_type: &'static str, body: impl Into<Body>) {
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *request.body_mut() = Some(body.into());
}

/// Where documents are posted, and the headers that all of these requests have.
pub(crate) struct JsonPost {
    url: Url,
    headers: HeaderMap,
}

impl JsonPost {
    /// Posts to `url`. Nothing when one of the headers cannot stand in a request.
    pub(crate) fn new(url: &HttpUrl, headers: &[(String, SecretString)]) -> Option<Self> {
        let mut made = HeaderMap::new();
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value.expose_secret()).ok()?;
            value.set_sensitive(true);
            made.append(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
        }
        Some(Self { url: url.get().clone(), headers: made })
    }

    /// The request with `document`, and with headers of its `own`. Nothing when one of them cannot stand in it.
    pub(crate) fn request(&self, own: Vec<(&'static str, String)>, document: Vec<u8>) -> Option<Request> {
        let mut request = Request::new(Method::POST, self.url.clone());
        request.headers_mut().clone_from(&self.headers);
        for (name, value) in own {
            request.headers_mut().insert(name, HeaderValue::try_from(value).ok()?);
        }
        set_body(&mut request, JSON, document);
        Some(request)
    }
}

/// The header of HTTP basic authentication.
pub(super) fn authorization(basic: &Basic) -> Option<HeaderValue> {
    let credentials = format!("{}:{}", basic.user, basic.password.expose_secret());
    let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, credentials);
    let mut value = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeMap, fs, path::Path};

    use shared::config::{App, Backend, Config, Reports};

    use super::*;

    /// The settings of a backend with these `keys`.
    pub(crate) fn backend(keys: &str) -> Backend {
        configured(keys).0
    }

    /// The same, and how its reports come in.
    pub(crate) fn configured(keys: &str) -> (Backend, Option<Reports>) {
        let text = format!("[queue]\nurl = 'embedded:x'\n[backends.b]\n{keys}\n");
        let config = Config::parse("test", &text, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
        (config.backends["b"].clone(), config.reports.get("b").cloned())
    }

    /// The request as it goes over the wire, without what the client adds.
    pub(crate) fn wire(request: &Request) -> String {
        let shown = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let mut headers: Vec<String> =
            request.headers().iter().map(|(name, value)| format!("{name}: {}\n", shown(value))).collect();
        headers.sort();
        let body = request.body().and_then(Body::as_bytes).map(String::from_utf8_lossy).unwrap_or_default();
        format!("{} {}\n{}\n{body}", request.method(), request.url(), headers.concat())
    }

    #[test]
    fn the_headers_of_a_post_are_sent_and_never_shown() {
        let text = "[queue]\nurl = 'embedded:x'\n[[apps]]\napp = 'webhook'\nurl = 'http://h/a?b=c'\n\
                    headers = { Authorization = 'Bearer T' }\n";
        let config = Config::parse("test", text, &BTreeMap::new()).unwrap();
        let [App::Webhook(hook)] = &config.apps[..] else { panic!() };
        let post = JsonPost::new(&hook.url, &hook.headers).unwrap();
        let request = post.request(vec![("x-own", "1".to_owned())], b"{}".to_vec()).unwrap();
        let expected =
            "POST http://h/a?b=c\nauthorization: Bearer T\ncontent-type: application/json\nx-own: 1\n\n{}";
        assert_eq!(wire(&request), expected);
        let shown = format!("{:?}", request.headers());
        assert!(!shown.contains("Bearer T"), "{shown}");
        assert!(post.request(vec![("x-own", "a\nb".to_owned())], Vec::new()).is_none());
    }

    /// Compares requests with the file that has them as they were once checked.
    #[track_caller]
    pub(crate) fn assert_golden(name: &str, requests: &[Request]) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
        let requests: Vec<String> =
            requests.iter().map(|request| wire(request).trim_end().to_owned()).collect();
        let actual = format!("{}\n", requests.join("\n\n"));
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(actual, expected, "{}", file.display());
    }
}
