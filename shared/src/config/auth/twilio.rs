//! `auth = { twilio = ... }`: Twilio's signature over the URL, as Twilio knows it, and the parameters.

use secrecy::SecretString;
use url::Url;

use crate::config::reader::{Entry, Read, Section};

/// How Twilio signs.
#[derive(Clone, Debug)]
pub struct Twilio {
    /// The account's secret.
    pub auth_token: SecretString,
    /// What stands before the path in the URL that Twilio calls: without the port, and with it.
    pub public_urls: [String; 2],
}

impl Twilio {
    /// Whether `url` is the one that stands before the path, however its port is written.
    pub(in crate::config) fn is_at(&self, url: &Url) -> bool {
        self.public_urls.iter().any(|public| Url::parse(public).is_ok_and(|public| same_base(&public, url)))
    }

    /// Whether the path of an endpoint was written too, which is added to every URL anyway.
    pub(in crate::config) fn ends_with(&self, path: &str) -> bool {
        !path.is_empty() && self.public_urls[0].ends_with(path)
    }
}

pub(super) fn read(entry: Entry<'_>) -> Option<Twilio> {
    let mut section = Section::read(entry)?;
    let auth_token = section.required("auth_token");
    let public_urls = section.required_with("public_url", |entry| {
        let written = String::read(entry.clone())?;
        let wanted =
            r#"the URL that Twilio calls is wanted, up to the path and without a user: "https://sms.example.org""#;
        spellings(&written).or_else(|| entry.problem(wanted))
    });
    section.finish();
    Some(Twilio { auth_token: auth_token?, public_urls: public_urls? })
}

fn same_base(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin() && one.path().trim_end_matches('/') == other.path().trim_end_matches('/')
}

/// The URL without its port and with it: some of Twilio's signatures are over the one, some over the other. Otherwise
/// it stays as it was written, for it is compared byte by byte.
fn spellings(written: &str) -> Option<[String; 2]> {
    let url = Url::parse(written).ok()?;
    let is_base = url.has_host() && url.query().is_none() && url.fragment().is_none();
    let default_port = match url.scheme() {
        "https" if is_base => "443",
        "http" if is_base => "80",
        _ => return None,
    };
    let (scheme, rest) = written.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A password in it would be shown wherever the URL is; the signature is what Twilio has to show.
    if authority.contains('@') {
        return None;
    }
    let explicit =
        authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let (host, port) = explicit.unwrap_or((authority, default_port));
    let path = path.trim_end_matches('/');
    Some([format!("{scheme}://{host}{path}"), format!("{scheme}://{host}:{port}{path}")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_known_with_its_port_and_without() {
        for (written, without, with) in [
            ("https://sms.example.org", "https://sms.example.org", "https://sms.example.org:443"),
            ("https://sms.example.org/", "https://sms.example.org", "https://sms.example.org:443"),
            ("http://h/a/b/", "http://h/a/b", "http://h:80/a/b"),
            ("https://h:8443/sms", "https://h/sms", "https://h:8443/sms"),
            ("https://[::1]/x", "https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:444", "https://[::1]", "https://[::1]:444"),
        ] {
            assert_eq!(spellings(written).unwrap(), [without, with], "{written}");
        }
    }

    #[test]
    fn what_is_no_beginning_of_a_url_is_refused() {
        for written in [
            "",
            "sms.example.org",
            "ftp://h",
            "https://h/?a=b",
            "https://h/#a",
            "https:/h",
            "https://",
            "https://u:p@h",
            "https://@h",
        ] {
            assert_eq!(spellings(written), None, "{written}");
        }
    }
}
