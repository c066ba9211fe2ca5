//! `multipart/form-data`: names and values, each with a charset of its own; files are left out.

use std::borrow::Cow;

use bytes::Bytes;
use encoding_rs::Encoding;
use futures_util::{FutureExt, stream};

use super::{MAX_PARAMETERS, Value, charset_of, too_many};
use crate::refusal::Problem;

type Pairs = Vec<(Cow<'static, [u8]>, Value<'static>)>;

/// Parses a whole body.
pub(super) fn parse(content_type: &str, body: &Bytes, charset: &'static Encoding) -> Result<Pairs, Problem> {
    let malformed = || Problem::new("body", "not valid multipart/form-data");
    let boundary = multer::parse_boundary(content_type).map_err(|_| malformed())?;
    let whole = stream::once(std::future::ready(Ok::<_, std::convert::Infallible>(body.clone())));
    let parts = read_parts(multer::Multipart::new(whole, boundary), charset);
    // The body is in memory, so nothing is ever waited for.
    parts.now_or_never().unwrap_or_else(|| Err(malformed()))
}

async fn read_parts(
    mut multipart: multer::Multipart<'_>,
    charset: &'static Encoding,
) -> Result<Pairs, Problem> {
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
            pairs.push((name.into(), Value { bytes: bytes.to_vec().into(), charset }));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::forms::testing::content;

    #[test]
    fn multipart_is_read_and_files_are_left_out() {
        let body = "--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\nyou\r\n\
                    --X\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\nfile\r\n--X--\r\n";
        let pairs = parse("multipart/form-data; boundary=X", &body.into(), encoding_rs::UTF_8).unwrap();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&name[..], &value.bytes[..])).collect();
        assert_eq!(pairs, [(&b"text"[..], &b"hello\r\nyou"[..])]);
    }

    #[test]
    fn a_multipart_body_that_was_cut_is_told_so() {
        let whole = "--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n--X--\r\n";
        for length in [whole.len() - 4, whole.len() - 10, 20, 0] {
            let body = Bytes::copy_from_slice(&whole.as_bytes()[..length]);
            let cut = parse("multipart/form-data; boundary=X", &body, encoding_rs::UTF_8);
            assert_eq!(cut.err().unwrap(), Problem::new("body", "the body ends too early"), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in content(), boundary in "X|-{1,3}|[ -~]{0,5}") {
            let kind = format!("multipart/form-data; boundary={boundary}");
            drop(parse(&kind, &Bytes::from(bytes), encoding_rs::UTF_8));
        }

        #[test]
        fn any_bytes_survive(value in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assume!(!value.windows(5).any(|window| window == b"\r\n--X"));
            let head = b"--X\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\n";
            let body = Bytes::from([head, &value[..], b"\r\n--X--\r\n"].concat());
            let pairs = parse("multipart/form-data; boundary=X", &body, encoding_rs::UTF_8).unwrap();
            prop_assert_eq!(&*pairs[0].1.bytes, &*value);
        }
    }
}
