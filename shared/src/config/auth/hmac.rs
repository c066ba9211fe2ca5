//! `auth = { hmac = ... }`: a signature over the body, as most providers of today make one.

use std::time::Duration;

use secrecy::SecretString;

use super::HeaderName;
use crate::config::{
    Positive,
    reader::{Entry, Section, one_of},
};

/// How a signature is made, and where it stands.
#[derive(Clone, Debug)]
pub struct Hmac {
    /// The header, in lower case.
    pub header: String,
    /// The hash.
    pub algorithm: Algorithm,
    /// What both sides know.
    pub secret: SecretString,
    /// What stands before the signature.
    pub prefix: String,
    /// How far the time of the signature may be from ours; without it a signature has no time.
    pub tolerance: Option<Duration>,
}

/// The hash of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

const ALGORITHMS: [(&str, Algorithm); 3] =
    [("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];

pub(super) fn read(entry: Entry<'_>) -> Option<Hmac> {
    let mut section = Section::read(entry)?;
    let prefix_origin = section.origin_of("prefix");
    let header = section.required::<HeaderName>("header");
    let algorithm = section.optional_with("algorithm", |entry| one_of(&entry, &ALGORITHMS));
    let secret = section.required("secret");
    let prefix = section.or("prefix", String::new());
    let tolerance = section.optional::<Positive>("tolerance").map(|tolerance| tolerance.0);
    if tolerance.is_some() && !prefix.is_empty() {
        let message = "with `tolerance` the header is t=SECONDS,v1=SIGNATURE, which has no other prefix";
        section.problem_at(&prefix_origin, "prefix", message);
    }
    section.finish();
    let algorithm = algorithm.unwrap_or(Algorithm::Sha256);
    Some(Hmac { header: header?.0, algorithm, secret: secret?, prefix, tolerance })
}
