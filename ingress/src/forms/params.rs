//! The parameters of a request: names and bytes, decoded to text only when a field is read.

mod json;

mod multipart;

use std::borrow::Cow;

use encoding_rs::Encoding;
use percent_encoding::percent_decode;

pub use self::json::Json;
use crate::{refusal::Problem, request::Request};

/// The most parameters in one request, as many as Django takes.
const MAX_PARAMETERS: usize = 1000;

/// The parameters of one request. What is not escaped is not copied.
pub enum Params<'r> {
    /// Names and values, in the order in which they came.
    Pairs(Vec<(Cow<'r, [u8]>, Value<'r>)>),
    /// A JSON document, in which the names are pointers.
    Json(Json),
}

/// The value of a parameter, and the charset that it is in.
pub struct Value<'r> {
    bytes: Cow<'r, [u8]>,
    charset: &'static Encoding,
}

impl<'r> Params<'r> {
    /// Parses `a=b&c=d`; the values are in `charset`.
    pub fn urlencoded(encoded: &'r [u8], charset: &'static Encoding) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(too_many());
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            pairs.push((unescape(name), Value { bytes: unescape(value), charset }));
        }
        Ok(Self::Pairs(pairs))
    }

    /// Parses a body that is a JSON object, whatever its `Content-Type`.
    pub fn json_object(request: &Request) -> Result<Self, Problem> {
        let document = Json::parse(&request.body, encoding_rs::UTF_8)?;
        if document.is_object() {
            Ok(Self::Json(document))
        } else {
            Err(Problem::new("body", "a JSON object is wanted"))
        }
    }

    /// Parses a body by its `Content-Type`, whose charset goes before `charset`. It may be JSON where `takes_json`; then only
    /// the `Content-Type` says that it is not UTF-8.
    pub fn body(request: &'r Request, charset: &'static Encoding, takes_json: bool) -> Result<Self, Problem> {
        let content_type = request.header("content-type").unwrap_or("");
        let named = charset_of(content_type).transpose()?;
        // JSON is UTF-8 by itself, whatever else the provider sends.
        let json = || Json::parse(&request.body, named.unwrap_or(encoding_rs::UTF_8)).map(Self::Json);
        let charset = named.unwrap_or(charset);
        let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Self::urlencoded(&request.body, charset),
            "multipart/form-data" => multipart::parse(content_type, &request.body, charset).map(Self::Pairs),
            "application/json" if takes_json => json(),
            other if takes_json && other.ends_with("+json") => json(),
            _ => {
                let json = if takes_json { "application/json, " } else { "" };
                let wanted =
                    format!("{json}application/x-www-form-urlencoded or multipart/form-data is wanted");
                Err(Problem::new("Content-Type", wanted))
            }
        }
    }

    /// The bytes of the last parameter of that name.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Pairs(pairs) => last(pairs, name).map(|value| Cow::Borrowed(&*value.bytes)),
            Self::Json(json) => json.text(name).ok()?.map(|text| text.into_owned().into_bytes().into()),
        }
    }

    /// The text of the last parameter of that name. Never contains a replacement character that was not sent.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'_, str>>, String> {
        match self {
            Self::Pairs(pairs) => {
                last(pairs, name).map(|value| decode(&value.bytes, value.charset)).transpose()
            }
            Self::Json(json) => json.text(name),
        }
    }

    /// How many elements the array at `pointer` of a JSON document has; nothing when there is none.
    #[must_use]
    pub fn count(&self, pointer: &str) -> Option<usize> {
        match self {
            Self::Pairs(_) => None,
            Self::Json(json) => json.count(pointer),
        }
    }

    /// Says that the values of that name are in `charset`.
    pub fn set_charset(&mut self, name: &str, charset: &'static Encoding) {
        if let Self::Pairs(pairs) = self {
            let named = pairs.iter_mut().filter(|(known, _)| **known == *name.as_bytes());
            named.for_each(|(_, value)| value.charset = charset);
        }
    }

    /// All names and values, as bytes; a JSON document has none.
    pub fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let pairs = match self {
            Self::Pairs(pairs) => pairs.as_slice(),
            Self::Json(_) => &[],
        };
        pairs.iter().map(|(name, value)| (&**name, &*value.bytes))
    }
}

fn last<'p, 'r>(pairs: &'p [(Cow<'r, [u8]>, Value<'r>)], name: &str) -> Option<&'p Value<'r>> {
    pairs.iter().rev().find(|(known, _)| **known == *name.as_bytes()).map(|(_, value)| value)
}

/// The text that `bytes` are in `charset`. What is none of it is refused, never replaced.
fn decode<'b>(bytes: &'b [u8], charset: &'static Encoding) -> Result<Cow<'b, str>, String> {
    let text = charset.decode_without_bom_handling_and_without_replacement(bytes);
    text.ok_or_else(|| format!("not valid {}", charset.name().to_lowercase()))
}

fn too_many() -> Problem {
    Problem::new("parameters", format!("more than {MAX_PARAMETERS}"))
}

/// The charset that a content type names, if it does.
fn charset_of(content_type: &str) -> Option<Result<&'static Encoding, Problem>> {
    let label = content_type.split(';').skip(1).find_map(charset_in)?;
    let known = Encoding::for_label_no_replacement(label.as_bytes());
    Some(known.ok_or_else(|| Problem::new("Content-Type", "the charset is not known")))
}

/// What a parameter of a content type says of the charset; nothing when it is another parameter.
fn charset_in(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

/// A content type that names no charset.
#[must_use]
pub fn without_charset(content_type: &str) -> String {
    content_type.split(';').filter(|part| charset_in(part).is_none()).collect::<Vec<_>>().join(";")
}

fn unescape(encoded: &[u8]) -> Cow<'_, [u8]> {
    if !encoded.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return encoded.into();
    }
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    match Cow::from(percent_decode(&spaced)) {
        Cow::Owned(decoded) => decoded.into(),
        Cow::Borrowed(_) => spaced.into(),
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
    use proptest::prelude::*;

    use super::*;
    use crate::forms::testing::post;

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
        let form = "application/x-www-form-urlencoded";
        let text = |charset: &str, bytes: &[u8]| {
            let request = post(&format!("{form}{charset}"), bytes);
            let params = Params::body(&request, encoding_rs::UTF_8, false).ok()?;
            params.text("a").unwrap().map(Cow::into_owned)
        };
        assert_eq!(text("; charset=\"ISO-8859-1\"", b"a=caf%E9").as_deref(), Some("caf\u{e9}"));
        assert_eq!(text(";charset=utf-16be", b"a=%00h%26%3A").as_deref(), Some("h\u{263a}"));
        assert_eq!(text("; charset=klingon", b"a=1"), None);
        let named = format!("{form};a=b; Charset =\"utf-16be\";c");
        assert_eq!(without_charset(&named), format!("{form};a=b;c"));
    }

    #[test]
    fn other_bodies_are_refused() {
        for kind in ["", "application/json", "text/plain", "multipart/form-data"] {
            assert!(Params::body(&post(kind, "a=1"), encoding_rs::UTF_8, false).is_err(), "{kind:?}");
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
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(Params::urlencoded(&bytes, encoding_rs::UTF_16BE));
        }
    }
}
