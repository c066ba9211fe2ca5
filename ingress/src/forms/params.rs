//! The parameters of a request: names and bytes, decoded to text only when a field is read.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::Encoding;
use futures_util::{FutureExt, stream};
use percent_encoding::percent_decode;

use crate::refusal::Problem;

/// The most parameters in one request, as many as Django takes.
const MAX_PARAMETERS: usize = 1000;

/// The parameters, in the order in which they came.
pub struct Params {
    pairs: Vec<(Vec<u8>, Value)>,
}

struct Value {
    bytes: Vec<u8>,
    charset: &'static Encoding,
}

impl Params {
    /// Parses `a=b&c=d`; the values are in `charset`.
    pub fn urlencoded(encoded: &[u8], charset: &'static Encoding) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(too_many());
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            pairs.push((unescape(name), Value { bytes: unescape(value), charset }));
        }
        Ok(Self { pairs })
    }

    /// Parses a body by its `Content-Type`, whose charset goes before `charset`.
    pub fn body(
        content_type: Option<&str>,
        body: &Bytes,
        charset: &'static Encoding,
    ) -> Result<Self, Problem> {
        let content_type = content_type.unwrap_or("");
        let charset = charset_of(content_type).unwrap_or(Ok(charset))?;
        let essence = content_type.split(';').next().unwrap_or("").trim();
        if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            Self::urlencoded(body, charset)
        } else if essence.eq_ignore_ascii_case("multipart/form-data") {
            Self::multipart(content_type, body, charset)
        } else {
            let wanted = "application/x-www-form-urlencoded or multipart/form-data is wanted";
            Err(Problem::new("Content-Type", wanted))
        }
    }

    fn multipart(content_type: &str, body: &Bytes, charset: &'static Encoding) -> Result<Self, Problem> {
        let malformed = || Problem::new("body", "not valid multipart/form-data");
        let boundary = multer::parse_boundary(content_type).map_err(|_| malformed())?;
        let whole = stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body.clone())));
        let parts = read_parts(multer::Multipart::new(whole, boundary), charset);
        // The body is in memory, so nothing is ever waited for.
        parts.now_or_never().unwrap_or_else(|| Err(malformed()))
    }

    /// The bytes of the last parameter of that name.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&[u8]> {
        self.last(name).map(|value| value.bytes.as_slice())
    }

    /// The text of the last parameter of that name. Never contains a replacement character that was not sent.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, String> {
        let Some(value) = self.last(name) else {
            return Ok(None);
        };
        let decoded = value.charset.decode_without_bom_handling_and_without_replacement(&value.bytes);
        decoded.map(Some).ok_or_else(|| format!("not valid {}", value.charset.name().to_lowercase()))
    }

    fn last(&self, name: &str) -> Option<&Value> {
        self.pairs.iter().rev().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value)
    }
}

async fn read_parts(
    mut multipart: multer::Multipart<'_>,
    charset: &'static Encoding,
) -> Result<Params, Problem> {
    let malformed = |error| {
        let ends_early = matches!(
            error,
            multer::Error::IncompleteFieldData { .. }
                | multer::Error::IncompleteHeaders
                | multer::Error::IncompleteStream
        );
        let rule = if ends_early { "the body ends too early" } else { "not valid multipart/form-data" };
        Problem::new("body", rule)
    };
    let mut pairs = Vec::new();
    while let Some(part) = multipart.next_field().await.map_err(malformed)? {
        if pairs.len() == MAX_PARAMETERS {
            return Err(too_many());
        }
        let Some(name) = part.name().map(|name| name.as_bytes().to_vec()) else {
            continue;
        };
        let charset =
            part.content_type().and_then(|kind| charset_of(kind.as_ref())).unwrap_or(Ok(charset))?;
        let is_file = part.file_name().is_some();
        let bytes = part.bytes().await.map_err(malformed)?;
        if !is_file {
            pairs.push((name, Value { bytes: bytes.to_vec(), charset }));
        }
    }
    Ok(Params { pairs })
}

fn too_many() -> Problem {
    Problem::new("parameters", format!("more than {MAX_PARAMETERS}"))
}

/// The charset that a content type names, if it does.
fn charset_of(content_type: &str) -> Option<Result<&'static Encoding, Problem>> {
    let parameter = |part: &str| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    };
    let label = content_type.split(';').skip(1).find_map(parameter)?;
    let known = Encoding::for_label_no_replacement(label.as_bytes());
    Some(known.ok_or_else(|| Problem::new("Content-Type", "the charset is not known")))
}

fn unescape(encoded: &[u8]) -> Vec<u8> {
    if !encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return encoded.to_vec();
    }
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).collect()
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn text(query: &str, name: &str) -> Option<String> {
        let params = Params::urlencoded(query.as_bytes(), encoding_rs::UTF_8).unwrap();
        params.text(name).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn the_last_of_a_repeated_parameter_wins() {
        assert_eq!(text("a=1&a=2&&b", "a").as_deref(), Some("2"));
        assert_eq!(text("a=1&b", "b").as_deref(), Some(""));
        assert_eq!(text("a=1", "c"), None);
    }

    #[test]
    fn plus_is_a_space_and_a_broken_escape_stands_for_itself() {
        assert_eq!(text("a=x+y%2Bz", "a").as_deref(), Some("x y+z"));
        assert_eq!(text("a=100%&b=%zz", "a").as_deref(), Some("100%"));
        assert_eq!(text("b=%zz", "b").as_deref(), Some("%zz"));
    }

    #[test]
    fn bytes_that_are_not_in_the_charset_are_refused_never_replaced() {
        let latin = Params::urlencoded(b"a=caf%E9&b=ok", encoding_rs::UTF_8).unwrap();
        assert_eq!(latin.text("a").unwrap_err(), "not valid utf-8");
        assert_eq!(latin.text("b").unwrap().as_deref(), Some("ok"));
    }

    #[test]
    fn the_charset_of_the_content_type_goes_before_the_endpoints() {
        let body = |kind: &str, bytes: &'static [u8]| {
            Params::body(Some(kind), &Bytes::from_static(bytes), encoding_rs::UTF_8)
        };
        let form = "application/x-www-form-urlencoded";
        let params = body(&format!("{form}; charset=\"ISO-8859-1\""), b"a=caf%E9").unwrap();
        assert_eq!(params.text("a").unwrap().as_deref(), Some("caf\u{e9}"));
        let params = body(&format!("{form};charset=utf-16be"), b"a=%00h%26%3A").unwrap();
        assert_eq!(params.text("a").unwrap().as_deref(), Some("h\u{263a}"));
        assert!(body(&format!("{form}; charset=klingon"), b"a=1").is_err());
    }

    #[test]
    fn other_bodies_are_refused() {
        for kind in
            [None, Some(""), Some("application/json"), Some("text/plain"), Some("multipart/form-data")]
        {
            assert!(Params::body(kind, &Bytes::from_static(b"a=1"), encoding_rs::UTF_8).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn multipart_is_read_and_files_are_left_out() {
        let body = "--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\nyou\r\n\
                    --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nfile\r\n--X--\r\n";
        let params =
            Params::body(Some("multipart/form-data; boundary=X"), &body.into(), encoding_rs::UTF_8).unwrap();
        assert_eq!(params.text("text").unwrap().as_deref(), Some("hello\r\nyou"));
        assert_eq!(params.raw("f"), None);
    }

    #[test]
    fn a_multipart_body_that_was_cut_is_told_so() {
        let whole = "--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--X--\r\n";
        for length in [whole.len() - 4, whole.len() - 10, 20, 0] {
            let body = Bytes::copy_from_slice(&whole.as_bytes()[..length]);
            let cut = Params::body(Some("multipart/form-data; boundary=X"), &body, encoding_rs::UTF_8);
            assert_eq!(cut.err().unwrap(), Problem::new("body", "the body ends too early"), "{length}");
        }
    }

    #[test]
    fn a_flood_of_parameters_is_refused() {
        let many = "a=1&".repeat(MAX_PARAMETERS + 1);
        assert_eq!(Params::urlencoded(many.as_bytes(), encoding_rs::UTF_8).err().unwrap(), too_many());
    }

    proptest! {
        #[test]
        fn any_text_survives_the_way(value in any::<String>()) {
            let query = format!("a={}", percent_encode(value.as_bytes(), NON_ALPHANUMERIC));
            prop_assert_eq!(text(&query, "a"), Some(value));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), boundary in "[a-z]{1,3}") {
            let kind = format!("multipart/form-data; boundary={boundary}");
            let body = Bytes::from(bytes);
            drop(Params::body(Some(&kind), &body, encoding_rs::UTF_8));
            drop(Params::urlencoded(&body, encoding_rs::UTF_16BE));
        }
    }
}
