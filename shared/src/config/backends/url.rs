//! [`HttpUrl`]: where an engine with a fixed URL calls its provider, and an app its web application.

use std::fmt;

use url::{Position, Url};

use super::super::reader::{Entry, Read};

/// An `http://` or `https://` URL. `Debug` hides it: a query may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// The URL.
    #[must_use]
    pub fn get(&self) -> &Url {
        &self.0
    }

    /// Its host and port, for logs and metrics: the rest may hold credentials.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.0[Position::BeforeHost..Position::AfterPort]
    }

    /// The same with `path` after its own.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        let mut url = self.0.clone();
        url.set_path(&format!("{}/{path}", self.0.path().trim_end_matches('/')));
        Self(url)
    }

    /// The same with `change` made to its path.
    #[must_use]
    pub(in crate::config) fn map_path(&self, change: impl Fn(&str) -> String) -> Self {
        let mut url = self.0.clone();
        url.set_path(&change(self.0.path()));
        Self(url)
    }

    /// The same with `change` made to its query, if it has one.
    #[must_use]
    pub(in crate::config) fn map_query(&self, change: impl Fn(&str) -> String) -> Self {
        let mut url = self.0.clone();
        let query = url.query().map(change);
        url.set_query(query.as_deref());
        Self(url)
    }

    /// A URL of ours that stands for one that is not written.
    pub(super) fn fallback(url: &str) -> Option<Self> {
        Url::parse(url).ok().map(Self)
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpUrl(..)")
    }
}

impl Read for HttpUrl {
    fn read(entry: Entry<'_>) -> Option<Self> {
        match parse_http(&String::read(entry.clone())?) {
            Ok(url) => Some(Self(url)),
            Err(problem) => entry.problem(problem),
        }
    }
}

/// A URL that can be called as it is written, or what is wrong with it.
pub(super) fn parse_http(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("an http:// or https:// URL is wanted")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "a user and a password in the URL would not be sent; write them in their own keys, or headers",
        );
    }
    if url.fragment().is_some() {
        return Err("what follows `#` in the URL would not be sent; write `%23` if it belongs to it");
    }
    Ok(url)
}
