//! `auth` of an endpoint: who may post. Fails closed: half of a setting is a problem, never an open door.

mod hmac;

mod twilio;

use ipnet::{IpNet, Ipv4Net};
use secrecy::SecretString;

pub use self::{
    hmac::{Algorithm, Hmac},
    twilio::Twilio,
};
use super::{
    backends::{Basic, is_header_name, read_basic},
    reader::{Entry, Read, Section},
    tree::Value,
};

/// Who may post to an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// What a request must carry.
    pub credentials: Credentials,
    /// Where it must come from; empty means anywhere.
    pub allow_ips: Vec<IpNet>,
}

/// What a request must carry.
#[derive(Clone, Debug, Default)]
pub enum Credentials {
    /// Nothing.
    #[default]
    None,
    /// HTTP basic authentication.
    Basic(Basic),
    /// A shared secret in a header.
    Header {
        /// The header's name, in lower case.
        name: String,
        /// The secret.
        value: SecretString,
    },
    /// A shared secret in a parameter.
    Parameter {
        /// The parameter's name.
        name: String,
        /// The secret.
        value: SecretString,
    },
    /// A signature over the body.
    Hmac(Hmac),
    /// A signature over URL and parameters, as Twilio makes it.
    Twilio(Twilio),
}

impl Auth {
    /// The parameter in which a token stands.
    pub(super) fn token_parameter(&self) -> Option<&str> {
        if let Credentials::Parameter { name, .. } = &self.credentials { Some(name) } else { None }
    }

    /// Whether a signature says who has sent a request.
    #[must_use]
    pub fn is_by_signature(&self) -> bool {
        matches!(self.credentials, Credentials::Hmac(_) | Credentials::Twilio(_))
    }
}

/// The kinds of credentials; an endpoint has one of them.
const KINDS: [&str; 4] = ["basic", "token", "hmac", "twilio"];

/// Reads the `auth` of an endpoint.
pub(super) fn read(entry: Entry<'_>) -> Option<Auth> {
    let entry = entry.structured();
    if let Value::String(word) = &entry.node.value {
        return if word == "none" {
            Some(Auth::default())
        } else {
            entry.problem(r#"write "none", { basic = { user, password } } or { token = { header or parameter, value } }"#)
        };
    }
    let mut section = Section::read(entry)?;
    let written = KINDS.iter().any(|kind| section.has(kind));
    let allow_ips: Vec<IpNet> =
        section.or("allow_ips", Vec::<Network>::new()).into_iter().map(|net| net.0).collect();
    let read = [
        section.optional_with("basic", read_basic).map(Credentials::Basic),
        section.optional_with("token", read_token),
        section.optional_with("hmac", hmac::read).map(Credentials::Hmac),
        section.optional_with("twilio", twilio::read).map(Credentials::Twilio),
    ];
    let mut read = read.into_iter().flatten();
    let credentials = read.next();
    if read.next().is_some() {
        section.problem_here("only one of `basic`, `token`, `hmac` and `twilio` is wanted");
    }
    if !written && allow_ips.is_empty() && section.keys().is_empty() {
        section.problem_here(
            "`basic`, `token`, `hmac`, `twilio` or `allow_ips` is wanted; write auth = \"none\" to let everybody post",
        );
    }
    section.finish();
    Some(Auth { credentials: credentials.unwrap_or_default(), allow_ips })
}

fn read_token(entry: Entry<'_>) -> Option<Credentials> {
    let mut section = Section::read(entry)?;
    let header: Option<HeaderName> = section.optional("header");
    let parameter: Option<ParameterName> = section.optional("parameter");
    let value: Option<SecretString> = section.required("value");
    let token = match (header, parameter) {
        (Some(HeaderName(name)), None) => value.map(|value| Credentials::Header { name, value }),
        (None, Some(ParameterName(name))) => value.map(|value| Credentials::Parameter { name, value }),
        _ => {
            section.problem_here("either `header` or `parameter` is wanted: where the token stands");
            None
        }
    };
    section.finish();
    token
}

/// The name of a header, in lower case.
struct HeaderName(String);

impl Read for HeaderName {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let name = String::read(entry.clone())?;
        if !is_header_name(&name) {
            entry.note("not a valid header name");
        }
        Some(Self(name.to_ascii_lowercase()))
    }
}

/// The name of a parameter.
struct ParameterName(String);

impl Read for ParameterName {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let name = String::read(entry.clone())?;
        if name.is_empty() {
            entry.note("a name is wanted");
        }
        Some(Self(name))
    }
}

/// An address or a network.
struct Network(IpNet);

impl Read for Network {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let Value::String(text) = &entry.node.value else {
            return entry.problem("a network is wanted");
        };
        let network =
            text.parse::<IpNet>().or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from)).ok();
        let Some(network) = network.map(canonical) else {
            return entry.problem(r#"an address or a network is wanted, such as "10.0.0.0/8""#);
        };
        if network.prefix_len() == 0 {
            let told = r#"every address is in this network; leave it out, or write auth = "none" to let everybody post"#;
            entry.note(told);
        }
        Some(Self(network))
    }
}

/// The network that a peer is compared with: an IPv4 one, also where it is written as a mapped one.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else { return network };
    let address = mapped.addr().to_ipv4_mapped().zip(mapped.prefix_len().checked_sub(96));
    address.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}
