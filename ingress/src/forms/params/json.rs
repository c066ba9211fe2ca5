//! A JSON document as parameters: what a JSON pointer points at, as text.
//!
//! The document is kept as it was written, so that a number is the text that was sent: as a floating point number, two
//! long ids could become one.

use std::{borrow::Cow, fmt};

use encoding_rs::Encoding;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::decode;
use crate::refusal::Problem;

/// A document.
pub struct Json(Box<RawValue>);

impl Json {
    /// Parses a whole body.
    pub fn parse(body: &[u8], charset: &'static Encoding) -> Result<Self, Problem> {
        let text = decode(body, charset).map_err(|rule| Problem::new("body", rule))?;
        let document = serde_json::from_str(text.strip_prefix('\u{feff}').unwrap_or(&text));
        document.map(Self).map_err(|error| {
            let place = format!("line {} column {}", error.line(), error.column());
            Problem::new("body", format!("not valid JSON at {place}"))
        })
    }

    /// Whether it is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.0.get().starts_with('{')
    }

    /// The text of the string, number or boolean at `pointer`. Anything else there is nothing.
    pub fn text(&self, pointer: &str) -> Result<Option<Cow<'_, str>>, String> {
        let Some(value) = self.find(pointer).map(RawValue::get) else { return Ok(None) };
        match value.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<String>(value) {
                Ok(text) => Ok(Some(text.into())),
                // Half of a surrogate pair, which is no character.
                Err(_) => Err("not a valid string".to_owned()),
            },
            Some(b'{' | b'[' | b'n') | None => Ok(None),
            Some(_) => Ok(Some(value.into())),
        }
    }

    /// The elements of the array at `pointer`; nothing when there is none.
    #[must_use]
    pub fn elements(&self, pointer: &str) -> Option<Vec<Self>> {
        let array: Vec<&RawValue> = serde_json::from_str(self.find(pointer)?.get()).ok()?;
        Some(array.into_iter().map(|element| Self(element.to_owned())).collect())
    }

    /// How many elements the array at `pointer` has; nothing when there is none.
    #[must_use]
    pub fn count(&self, pointer: &str) -> Option<usize> {
        let elements: Vec<IgnoredAny> = serde_json::from_str(self.find(pointer)?.get()).ok()?;
        Some(elements.len())
    }

    fn find(&self, pointer: &str) -> Option<&RawValue> {
        let mut found: &RawValue = &self.0;
        if pointer.is_empty() {
            return Some(found);
        }
        for token in pointer.strip_prefix('/')?.split('/') {
            let token = token.replace("~1", "/").replace("~0", "~");
            let mut document = serde_json::Deserializer::from_str(found.get());
            // What is neither an object nor an array is an error, and has nothing in it.
            found = document.deserialize_any(Child(&token)).ok()??;
        }
        Some(found)
    }
}

/// Looks for the member of an object, or the element of an array, of that name; of a repeated one the last counts.
/// Nothing else is kept, so that a document of many members costs no more than its length.
struct Child<'t>(&'t str);

impl<'de> Visitor<'de> for Child<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = members.next_key_seed(Is(self.0))? {
            let value = members.next_value()?;
            found = if is_wanted { Some(value) } else { found };
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let (wanted, mut found, mut place) = (self.0.parse::<usize>().ok(), None, 0);
        while let Some(value) = elements.next_element()? {
            found = if Some(place) == wanted { Some(value) } else { found };
            place += 1;
        }
        Ok(found)
    }
}

/// Whether a name is this one.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<bool, D::Error> {
        name.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(document: &str, pointer: &str) -> Option<String> {
        let json = Json::parse(document.as_bytes(), encoding_rs::UTF_8).unwrap();
        json.text(pointer).unwrap().map(Cow::into_owned)
    }

    #[test]
    fn a_pointer_goes_through_objects_and_arrays() {
        let document = r#"{"a":[{"b":"x"},{"b":"y"}],"c/d":{"~e":1},"":2,"a":[{"b":"z"}]}"#;
        for (pointer, found) in [
            ("/a/0/b", Some("z")),
            ("/a/1/b", None),
            ("/a/-1/b", None),
            ("/c~1d/~0e", Some("1")),
            ("/", Some("2")),
            ("/a/0", None),
            ("/a/0/b/c", None),
            ("", None),
            ("a", None),
        ] {
            assert_eq!(text(document, pointer).as_deref(), found, "{pointer}");
        }
    }

    #[test]
    fn a_number_is_the_text_that_was_sent() {
        for number in ["7", "-0", "1.10", "1E5", "123456789012345678901234567890"] {
            assert_eq!(text(&format!("[{number}]"), "/0").as_deref(), Some(number));
        }
    }

    #[test]
    fn a_mark_at_the_start_is_no_part_of_it_and_depth_is_no_danger() {
        assert_eq!(text("\u{feff}[true]", "/0").as_deref(), Some("true"));
        let deep = "[".repeat(500_000) + &"]".repeat(500_000);
        assert_eq!(text(&deep, "/0/0"), None);
        assert!(Json::parse(&deep.as_bytes()[1..], encoding_rs::UTF_8).is_err());
    }

    proptest! {
        #[test]
        fn any_string_survives(key in any::<String>(), value in any::<String>()) {
            let document = serde_json::json!({ &key: [&value] }).to_string();
            let pointer = format!("/{}/0", key.replace('~', "~0").replace('/', "~1"));
            prop_assert_eq!(text(&document, &pointer), Some(value));
            let json = Json::parse(document.as_bytes(), encoding_rs::UTF_8).unwrap();
            let array = pointer.strip_suffix("/0").unwrap();
            prop_assert_eq!((json.count(array), json.count(&pointer), json.count("")), (Some(1), None, None));
        }

        #[test]
        fn no_bytes_panic(bytes in any::<Vec<u8>>(), pointer in any::<String>()) {
            if let Ok(json) = Json::parse(&bytes, encoding_rs::WINDOWS_1252) {
                drop(json.text(&pointer));
                prop_assert!(json.count(&pointer).is_none_or(|count| count <= bytes.len()));
            }
        }
    }
}
