//! Reads the provider's answer: taken, with which id, or which kind of no. Pure.

use std::time::{Duration, UNIX_EPOCH};

use regex::Regex;
use shared::{
    clock::UnixMillis,
    config::backends::{Http, IdRule, Success},
};

use super::super::{SendError, SendReceipt};

/// How much of an answer is kept with a dead letter, in characters.
const EXCERPT: usize = 200;

/// An answer.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) retry_after: Option<&'a str>,
    /// When it came.
    pub(super) at: UnixMillis,
    pub(super) body: &'a [u8],
    /// Whether the connection was lost before the end of the body.
    pub(super) broke_off: bool,
}

/// How answers are read.
pub(super) struct Reader {
    success: Success,
    message_id: Option<IdRule>,
}

impl Reader {
    pub(super) fn new(http: &Http) -> Self {
        Self { success: http.success.clone(), message_id: http.message_id.clone() }
    }

    pub(super) fn read(&self, answer: &Answer<'_>) -> Result<SendReceipt, SendError> {
        let expected = if self.success.status.is_empty() {
            (200..=299).contains(&answer.status)
        } else {
            self.success.status.contains(&answer.status)
        };
        let body = String::from_utf8_lossy(answer.body);
        if !expected {
            return Err(refusal(answer, &body));
        }
        if self.success.body.is_some() && answer.broke_off {
            let reason = format!("status {}, but the body, which decides, broke off", answer.status);
            return Err(SendError::Unknown { reason });
        }
        if self.success.body.as_ref().is_some_and(|wanted| !wanted.is_match(&body)) {
            let reason = format!("status {}, but the body does not match success.body", answer.status);
            return Err(SendError::Rejected { reason, answer: excerpt(&body) });
        }
        Ok(SendReceipt { external_id: self.message_id.as_ref().and_then(|rule| find_id(rule, &body)) })
    }
}

/// What a status means that is no success.
fn refusal(answer: &Answer<'_>, body: &str) -> SendError {
    let reason = format!("status {}", answer.status);
    let retry_after = answer.retry_after.and_then(|value| read_retry_after(value.trim(), answer.at));
    match answer.status {
        // The account or the whole provider, not this message.
        401 | 403 | 429 | 503 => SendError::Unavailable { reason, retry_after },
        // A proxy lost the provider's answer, whatever it says of later.
        502 | 504 | 520 | 524 => SendError::Unknown { reason },
        _ if retry_after.is_some() => SendError::Unavailable { reason, retry_after },
        408 | 425 | 500..=599 => SendError::NotSent { reason },
        300..=399 => {
            let reason = format!("{reason}, a redirect, which is not followed: correct the url");
            SendError::Rejected { reason, answer: String::new() }
        }
        _ => SendError::Rejected { reason, answer: excerpt(body) },
    }
}

/// Seconds, or a date.
fn read_retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(UNIX_EPOCH + Duration::from_millis(now.0)).unwrap_or_default())
}

fn find_id(rule: &IdRule, body: &str) -> Option<String> {
    match rule {
        IdRule::Json(pointer) => {
            let json: serde_json::Value = serde_json::from_str(body).ok()?;
            let found = json.pointer(pointer)?;
            found.as_str().map(str::to_owned).or_else(|| found.as_number().map(ToString::to_string))
        }
        IdRule::Pattern(pattern) => first_group(pattern, body),
    }
}

/// The first group, or the whole match of a pattern without groups.
fn first_group(pattern: &Regex, body: &str) -> Option<String> {
    let captures = pattern.captures(body)?;
    captures.get(1).or_else(|| captures.get(0)).map(|group| group.as_str().to_owned())
}

fn excerpt(body: &str) -> String {
    body.trim().chars().take(EXCERPT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(status: &[u16], body: Option<&str>, message_id: Option<IdRule>) -> Reader {
        let body = body.map(|body| Regex::new(body).unwrap());
        Reader { success: Success { status: status.to_vec(), body }, message_id }
    }

    fn read(reader: &Reader, status: u16, body: &str) -> Result<SendReceipt, SendError> {
        reader.read(&Answer {
            status,
            retry_after: None,
            at: UnixMillis(0),
            body: body.as_bytes(),
            broke_off: false,
        })
    }

    fn class(status: u16) -> &'static str {
        read(&reader(&[], None, None), status, "").map_or_else(|error| error.class(), |_| "sent")
    }

    #[test]
    fn each_status_has_its_class() {
        for (status, expected) in [
            (200, "sent"),
            (202, "sent"),
            (204, "sent"),
            (302, "rejected"),
            (400, "rejected"),
            (401, "unavailable"),
            (403, "unavailable"),
            (404, "rejected"),
            (408, "not_sent"),
            (422, "rejected"),
            (429, "unavailable"),
            (500, "not_sent"),
            (502, "unknown"),
            (503, "unavailable"),
            (504, "unknown"),
            (524, "unknown"),
            (599, "not_sent"),
        ] {
            assert_eq!(class(status), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_makes_any_refusal_a_pause() {
        for (retry_after, seconds) in
            [(" 7 ", 7), ("Mon, 23 Nov 2026 00:01:30 GMT", 90), ("Sun, 22 Nov 2026 23:00:00 GMT", 0)]
        {
            let answer = Answer {
                status: 500,
                retry_after: Some(retry_after),
                at: UnixMillis(1_795_392_000_000),
                body: b"",
                broke_off: false,
            };
            let expected = SendError::Unavailable {
                reason: "status 500".to_owned(),
                retry_after: Some(Duration::from_secs(seconds)),
            };
            assert_eq!(reader(&[], None, None).read(&answer), Err(expected));
        }
    }

    #[test]
    fn an_answer_that_a_proxy_lost_stays_unknown_whatever_it_says_of_later() {
        let answer =
            Answer { status: 504, retry_after: Some("5"), at: UnixMillis(0), body: b"", broke_off: false };
        assert_eq!(reader(&[], None, None).read(&answer).unwrap_err().class(), "unknown");
    }

    #[test]
    fn the_rule_decides_what_a_success_is() {
        let only_202 = reader(&[202], None, None);
        assert!(read(&only_202, 202, "").is_ok() && read(&only_202, 200, "").is_err());
        let with_body = reader(&[], Some("^OK"), None);
        assert!(read(&with_body, 200, "OK 1").is_ok());
        let error = read(&with_body, 200, "ERR: no credit").unwrap_err();
        assert_eq!(error.told(), "status 200, but the body does not match success.body: ERR: no credit");
    }

    #[test]
    fn a_body_that_breaks_off_leaves_open_what_it_would_have_decided() {
        let class = |reader: &Reader, status| {
            let answer = Answer { status, retry_after: None, at: UnixMillis(0), body: b"O", broke_off: true };
            reader.read(&answer).map_or_else(|error| error.class(), |_| "sent")
        };
        let with_body = reader(&[], Some("^OK"), None);
        assert_eq!((class(&with_body, 200), class(&with_body, 400)), ("unknown", "rejected"));
        assert_eq!(class(&reader(&[], None, None), 200), "sent");
    }

    #[test]
    fn the_providers_id_is_found_by_pointer_or_pattern() {
        let id =
            |rule: IdRule, body: &str| read(&reader(&[], None, Some(rule)), 200, body).unwrap().external_id;
        let pointer = || IdRule::Json("/messages/0/id".to_owned());
        assert_eq!(id(pointer(), r#"{"messages":[{"id":"SM1"}]}"#).as_deref(), Some("SM1"));
        assert_eq!(id(pointer(), r#"{"messages":[{"id":42}]}"#).as_deref(), Some("42"));
        assert_eq!(id(pointer(), "no json"), None);
        let pattern = |pattern: &str| IdRule::Pattern(Regex::new(pattern).unwrap());
        assert_eq!(id(pattern("ID: (\\w+)"), "ID: abc").as_deref(), Some("abc"));
        assert_eq!(id(pattern("[0-9]+"), "queued 17").as_deref(), Some("17"));
        assert_eq!(id(pattern("[0-9]+"), "queued"), None);
    }

    #[test]
    fn a_refusal_keeps_the_beginning_of_what_the_provider_said() {
        let error = read(&reader(&[], None, None), 400, &"é".repeat(500)).unwrap_err();
        assert_eq!(error.told().chars().count(), "status 400: ".len() + EXCERPT);
        assert_eq!(error.to_string(), "rejected: status 400");
    }
}
