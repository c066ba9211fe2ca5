//! A signature over the body, in a header. Compared in constant time.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hmac::{KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use shared::config::auth::{Algorithm, Hmac};

use super::same;
use crate::{refusal::Refusal, request::Request};

const MISSING: Refusal = Refusal::Signature("the signature is missing, or not written as agreed");
const WRONG: Refusal = Refusal::Signature("the signature does not match");
const STALE: Refusal = Refusal::Signature("the time of the signature is too far from ours");

/// Checks the signature of `request`. One with a time is over `TIME.BODY`, so that an old request is not replayed.
pub(super) fn check(hmac: &Hmac, request: &Request) -> Result<(), Refusal> {
    let header = request.header(&hmac.header).ok_or(MISSING)?.trim();
    let Some(tolerance) = hmac.tolerance else {
        let signature = header.strip_prefix(&hmac.prefix).ok_or(MISSING)?;
        return if is_in(signature, &expected(hmac, &[request.content()])) { Ok(()) } else { Err(WRONG) };
    };
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let time = parts().find_map(|(key, value)| (key == "t").then_some(value)).ok_or(MISSING)?;
    let expected = expected(hmac, &[time.as_bytes(), b".", request.content()]);
    // A sender that changes its secret signs with both for a while.
    if !parts().any(|(key, signature)| key == "v1" && is_in(signature, &expected)) {
        return Err(WRONG);
    }
    let off = time.parse::<u64>().map_err(|_| MISSING)?.abs_diff(request.at.seconds());
    if off > tolerance.as_secs() { Err(STALE) } else { Ok(()) }
}

fn expected(hmac: &Hmac, content: &[&[u8]]) -> Vec<u8> {
    match hmac.algorithm {
        Algorithm::Sha1 => sign::<hmac::Hmac<Sha1>>(&hmac.secret, content),
        Algorithm::Sha256 => sign::<hmac::Hmac<Sha256>>(&hmac.secret, content),
        Algorithm::Sha512 => sign::<hmac::Hmac<Sha512>>(&hmac.secret, content),
    }
}

/// The signature of `content`, whose pieces follow each other.
pub(super) fn sign<M: Mac + KeyInit>(secret: &SecretString, content: &[&[u8]]) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "an HMAC takes a key of any length")]
    let mut mac = <M as KeyInit>::new_from_slice(secret.expose_secret().as_bytes()).expect("a key");
    for piece in content {
        mac.update(piece);
    }
    mac.finalize().into_bytes().to_vec()
}

/// Whether `written` is the signature `expected`: in hex, or in base64 of either alphabet, with its padding or without.
pub(super) fn is_in(written: &str, expected: &[u8]) -> bool {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let base64 = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(written).ok();
    let given = match hex::decode(written) {
        Ok(bytes) if bytes.len() == expected.len() => Some(bytes),
        _ => base64(&STANDARD).or_else(|| base64(&URL_SAFE)),
    };
    given.is_some_and(|given| same(&given, expected))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::{clock::UnixMillis, config::auth::Credentials};

    use super::*;
    use crate::forms::testing::{URLENCODED, auth, get, post, with};

    const BODY: &str = "identity=1&text=h%C3%A9llo";
    const SHA256: &str = "0ba5cf75a0a937f10fd5354fb19b534726632c6af6bffbdcdf9ff13fcd394573";
    /// Of `1790000000.BODY`, which is when the requests of the tests are made.
    const TIMED: &str = "fc00a14806b52f101f0ac1ac76eba39d200be051a8dce995ae2bf9ac8b2e2efc";

    /// Why `request` is refused where `hmac` has these keys; nothing when it is not.
    fn refused(keys: &str, request: &Request) -> Option<String> {
        let auth = auth(&format!("{{ hmac = {{ header = 'X-Signature', secret = 'k3y'{keys} }} }}"));
        let Credentials::Hmac(hmac) = &auth.credentials else { panic!() };
        let refusal = check(hmac, request).err()?;
        assert_eq!(refusal.status(), 403);
        Some(refusal.body().trim().to_owned())
    }

    fn signed(signature: &str) -> Request {
        with(post(URLENCODED, BODY), "x-signature", signature)
    }

    #[test]
    fn each_algorithm_is_checked_in_hex_and_in_base64() {
        for (keys, signatures) in [
            ("", &[SHA256, "C6XPdaCpN/EP1TVPsZtTRyZjLGr2v/vc35/xP805RXM="][..]),
            (
                ", algorithm = 'sha1'",
                &[
                    "a59f64ef1f14c65aeb8775f83c5af8f3f0a63007",
                    "A59F64EF1F14C65AEB8775F83C5AF8F3F0A63007",
                    "pZ9k7x8Uxlrrh3X4PFr48/CmMAc=",
                    "pZ9k7x8Uxlrrh3X4PFr48_CmMAc",
                ],
            ),
            (
                ", algorithm = 'sha512', prefix = 'v0='",
                &[
                    "v0=ERjRixqIX4wJM5XBLmdhF7IXPl5Ze62k9ySrpSFAhBughJj+0VqqomwVjC5khB7uRkfrji7Dp+uumIdCyN2aJA==",
                ],
            ),
        ] {
            for signature in signatures {
                assert_eq!(refused(keys, &signed(signature)), None, "{keys} {signature}");
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let wrong = Some("the signature does not match".to_owned());
        let missing = Some("the signature is missing, or not written as agreed".to_owned());
        for signature in ["", "x", &SHA256[2..], &SHA256.replace('0', "1"), "\u{e9}"] {
            assert_ne!(refused("", &signed(signature)), None, "{signature}");
        }
        assert_eq!(refused(", algorithm = 'sha512'", &signed(SHA256)), wrong);
        assert_eq!(refused("", &with(post(URLENCODED, format!("{BODY}&")), "x-signature", SHA256)), wrong);
        assert_eq!(refused("", &post(URLENCODED, BODY)), missing);
        assert_eq!(refused(", prefix = 'sha256='", &signed(SHA256)), missing);
        assert_eq!(refused(", prefix = 'sha256='", &signed(&format!("sha256={SHA256}"))), None);
    }

    #[test]
    fn of_a_get_the_query_is_signed() {
        assert_eq!(refused("", &with(get(BODY), "x-signature", SHA256)), None);
        assert!(refused("", &with(get(&format!("{BODY}&a=b")), "x-signature", SHA256)).is_some());
    }

    #[test]
    fn a_signature_with_a_time_is_good_for_that_time() {
        let keys = ", tolerance = '5m'";
        let at = |seconds: u64, header: &str| {
            refused(keys, &Request { at: UnixMillis(seconds * 1000 + 999), ..signed(header) })
        };
        let good = format!("t=1790000000,v1={TIMED}");
        for seconds in [1_790_000_000, 1_790_000_300, 1_789_999_700] {
            assert_eq!(at(seconds, &good), None, "{seconds}");
        }
        for seconds in [1_790_000_301, 1_789_999_699, 0] {
            assert_eq!(at(seconds, &good), Some("the time of the signature is too far from ours".to_owned()));
        }
        let now = 1_790_000_000;
        // Spaces, other schemes beside, and the signature with another secret: Stripe's, for example.
        assert_eq!(at(now, &format!("t=1790000000, v0=x, v1={SHA256}, v1={TIMED}")), None);
        for header in [
            TIMED,
            &format!("v1={TIMED}"),
            "t=1790000000",
            &format!("t=1790000001,v1={TIMED}"),
            &format!("t=,v1={TIMED}"),
            &format!("t=1790000000,v0={TIMED}"),
            "",
        ] {
            assert!(at(now, header).is_some(), "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_and_none_by_chance_is_right(
            header in "[ -~]{0,80}",
            timed in "t=[0-9]{0,22},v1=[0-9a-f]{0,66}",
        ) {
            for keys in ["", ", prefix = 'a'", ", tolerance = '5m'"] {
                prop_assert!(refused(keys, &signed(&header)).is_some());
                prop_assert!(refused(keys, &signed(&timed)).is_some());
            }
        }
    }
}
