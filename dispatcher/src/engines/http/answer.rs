//! Reads the provider's answer: taken, with which id, or which kind of no. Pure.

use regex::Regex;
use shared::config::backends::http::{Http, IdRule, Success};

use super::super::{SendError, SendReceipt, client::Answer};

/// How answers are read.
pub(super) struct Reader {
    success: Success,
    message_id: Option<IdRule>,
}

impl Reader {
    pub(super) fn new(http: &Http) -> Self {
        Self { success: http.success.clone(), message_id: http.message_id.clone() }
    }

    pub(super) fn read(&self, answer: &Answer) -> Result<SendReceipt, SendError> {
        let expected = if self.success.status.is_empty() {
            answer.is_success()
        } else {
            self.success.status.contains(&answer.status)
        };
        if !expected {
            return Err(answer.refusal());
        }
        let body = answer.text();
        if self.success.body.is_some() && (answer.broke_off || answer.is_too_large) {
            let why = if answer.broke_off { "broke off" } else { "is too large" };
            let reason = format!("status {}, but the body, which decides, {why}", answer.status);
            return Err(SendError::Unknown { reason });
        }
        if self.success.body.as_ref().is_some_and(|wanted| !wanted.is_match(&body)) {
            let reason = format!("status {}, but the body does not match success.body", answer.status);
            return Err(SendError::Rejected { reason, answer: answer.excerpt() });
        }
        Ok(SendReceipt::all(self.message_id.as_ref().and_then(|rule| find_id(rule, &body))))
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::super::client::tests::answer, *};

    fn reader(status: &[u16], body: Option<&str>, message_id: Option<IdRule>) -> Reader {
        let body = body.map(|body| Regex::new(body).unwrap());
        Reader { success: Success { status: status.to_vec(), body }, message_id }
    }

    fn read(reader: &Reader, status: u16, body: &str) -> Result<SendReceipt, SendError> {
        reader.read(&answer(status, body))
    }

    #[test]
    fn the_rule_decides_what_a_success_is() {
        let any_2xx = reader(&[], None, None);
        assert!(read(&any_2xx, 204, "").is_ok() && read(&any_2xx, 304, "").is_err());
        let only_202 = reader(&[202], None, None);
        assert!(read(&only_202, 202, "").is_ok() && read(&only_202, 200, "").is_err());
        let with_body = reader(&[], Some("^OK"), None);
        assert!(read(&with_body, 200, "OK 1").is_ok());
        let error = read(&with_body, 200, "ERR: no credit").unwrap_err();
        assert_eq!(error.told(), "status 200, but the body does not match success.body: ERR: no credit");
    }

    #[test]
    fn a_body_that_is_not_whole_leaves_open_what_it_would_have_decided() {
        for (broke_off, is_too_large) in [(true, false), (false, true)] {
            let class = |reader: &Reader, status| {
                let answer = Answer { is_too_large, broke_off, ..answer(status, "O") };
                reader.read(&answer).map_or_else(|error| error.class(), |_| "sent")
            };
            let with_body = reader(&[], Some("^OK"), None);
            assert_eq!((class(&with_body, 200), class(&with_body, 400)), ("unknown", "rejected"));
            assert_eq!(class(&reader(&[], None, None), 200), "sent");
        }
    }

    #[test]
    fn the_providers_id_is_found_by_pointer_or_pattern() {
        let id = |rule: IdRule, body: &str| {
            read(&reader(&[], None, Some(rule)), 200, body).unwrap().external_ids.pop()
        };
        let pointer = || IdRule::Json("/messages/0/id".to_owned());
        assert_eq!(id(pointer(), r#"{"messages":[{"id":"SM1"}]}"#).as_deref(), Some("SM1"));
        assert_eq!(id(pointer(), r#"{"messages":[{"id":42}]}"#).as_deref(), Some("42"));
        assert_eq!(id(pointer(), "no json"), None);
        let pattern = |pattern: &str| IdRule::Pattern(Regex::new(pattern).unwrap());
        assert_eq!(id(pattern("ID: (\\w+)"), "ID: abc").as_deref(), Some("abc"));
        assert_eq!(id(pattern("[0-9]+"), "queued 17").as_deref(), Some("17"));
        assert_eq!(id(pattern("[0-9]+"), "queued"), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_no_other_status_is_a_success(
            status in 100..1000_u16,
            body in prop_oneof![any::<Vec<u8>>(), r#"(OK|id|[\[\]{}:,"0-9]){0,20}"#.prop_map(String::into_bytes)],
            broke_off in any::<bool>(),
            is_too_large in any::<bool>(),
        ) {
            let pattern = IdRule::Pattern(Regex::new("id(.*)").unwrap());
            for id in [IdRule::Json("/0/id".to_owned()), pattern] {
                let answer = Answer { body: body.clone(), is_too_large, broke_off, ..answer(status, "") };
                let by_status = reader(&[202], None, Some(id.clone())).read(&answer);
                prop_assert!(by_status.is_err() || status == 202);
                let by_body = reader(&[], Some("OK"), Some(id)).read(&answer);
                prop_assert!(by_body.is_err() || answer.is_success() && !broke_off && !is_too_large);
            }
        }
    }
}
