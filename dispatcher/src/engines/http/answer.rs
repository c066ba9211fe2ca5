//! Reads the provider's answer: taken, with which id, or which kind of no. Pure.

use regex::Regex;
use serde_json::Value;
use shared::config::backends::http::{Answers, IdRule, Rule};

use super::super::{SendError, SendReceipt, client::Answer};

/// What became of the part, by the `rules` of its backend.
pub(super) fn read(rules: &Answers, answer: &Answer) -> Result<SendReceipt, SendError> {
    let (success, unavailable) = (&rules.success, rules.unavailable.as_ref());
    let (expected, body) = (success.expects(answer.status), answer.text());
    let decided_by_body = success.reads_body() || unavailable.is_some_and(Rule::reads_body);
    if expected && decided_by_body && (answer.broke_off || answer.is_too_large) {
        let why = if answer.broke_off { "broke off" } else { "is too large" };
        let reason = format!("status {}, but the body, which decides, {why}", answer.status);
        return Err(SendError::Unknown { reason });
    }
    let named = |rule: &Rule| rule.status.is_empty() || rule.status.contains(&answer.status);
    if unavailable.is_some_and(|rule| named(rule) && holds(rule, &body)) {
        let reason = format!("status {}, which `unavailable` names", answer.status);
        return Err(answer.unavailable().because(reason));
    }
    if !expected {
        return Err(answer.refusal());
    }
    if !holds(success, &body) {
        let reason = format!("status {}, but the body is not that of a success", answer.status);
        return Err(SendError::Rejected { reason, answer: answer.excerpt() });
    }
    Ok(SendReceipt::all(rules.message_id.as_ref().and_then(|rule| find_id(rule, &body))))
}

/// Whether the body is as `rule` has it.
fn holds(rule: &Rule, body: &str) -> bool {
    rule.body.as_ref().is_none_or(|wanted| wanted.is_match(body))
        && rule.json.as_ref().is_none_or(|member| {
            value_at(&member.pointer, body).is_some_and(|value| member.one_of.contains(&value))
        })
}

fn find_id(rule: &IdRule, body: &str) -> Option<String> {
    match rule {
        IdRule::Json(pointer) => value_at(pointer, body),
        IdRule::Pattern(pattern) => first_group(pattern, body),
    }
}

/// The string, number or boolean at `pointer`, as text.
fn value_at(pointer: &str, body: &str) -> Option<String> {
    let json: Value = serde_json::from_str(body).ok()?;
    match json.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
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
    use shared::config::{Engine, backends::http::Http};

    use super::{
        super::super::{client::tests::answer, request::tests::backend},
        *,
    };

    /// The rules of a backend with these keys.
    fn rules(keys: &str) -> Answers {
        let Engine::Http(http) = backend(&format!("engine = 'http'\nurl = 'http://h/'\n{keys}")).engine
        else {
            panic!()
        };
        let Http { answers, .. } = *http;
        answers
    }

    fn read(keys: &str, status: u16, body: &str) -> Result<SendReceipt, SendError> {
        super::read(&rules(keys), &answer(status, body))
    }

    fn class(keys: &str, answer: &Answer) -> &'static str {
        super::read(&rules(keys), answer).map_or_else(|error| error.class(), |_| "sent")
    }

    const BODY: &str = "success = { body = '^OK' }\n";
    const JSON: &str = "success = { json = '/messages/0/status', one_of = ['0', '7'] }\n";
    const THROTTLED: &str = "unavailable = { json = '/messages/0/status', one_of = ['1'] }\n";

    #[test]
    fn the_rule_decides_what_a_success_is() {
        assert!(read("", 204, "").is_ok() && read("", 304, "").is_err());
        let only_202 = "success = { status = [202] }";
        assert!(read(only_202, 202, "").is_ok() && read(only_202, 200, "").is_err());
        assert!(read(BODY, 200, "OK 1").is_ok());
        let error = read(BODY, 200, "ERR: no credit").unwrap_err();
        assert_eq!(error.told(), "status 200, but the body is not that of a success: ERR: no credit");
    }

    #[test]
    fn a_value_in_the_json_decides_as_text() {
        for (body, expected) in [
            (r#"{"messages":[{"status":"0"}]}"#, "sent"),
            (r#"{"messages":[{"status":7},{"status":1}]}"#, "sent"),
            (r#"{"messages":[{"status":"00"}]}"#, "rejected"),
            (r#"{"messages":[{"status":null}]}"#, "rejected"),
            (r#"{"messages":[]}"#, "rejected"),
            ("<html>", "rejected"),
        ] {
            assert_eq!(class(JSON, &answer(200, body)), expected, "{body}");
        }
        let accepted = "success = { json = '/accepted', one_of = ['true'] }";
        assert_eq!(class(accepted, &answer(200, r#"{"accepted":true}"#)), "sent");
        assert_eq!(class(accepted, &answer(200, r#"{"accepted":false}"#)), "rejected");
    }

    #[test]
    fn a_provider_that_takes_nothing_may_say_so_with_any_status() {
        let keys = format!("{JSON}{THROTTLED}");
        let throttled = r#"{"messages":[{"status":"1"}]}"#;
        for status in [200, 400, 500] {
            assert_eq!(class(&keys, &answer(status, throttled)), "unavailable", "{status}");
        }
        let told = "unavailable: status 200, which `unavailable` names";
        assert_eq!(read(&keys, 200, throttled).unwrap_err().to_string(), told);
        assert_eq!(class(&keys, &answer(400, "{}")), "rejected");
        let keys = "unavailable = { status = [400], body = 'limit' }";
        assert_eq!(class(keys, &answer(400, "rate limit")), "unavailable");
        assert_eq!(class(keys, &answer(422, "rate limit")), "rejected");
        assert_eq!(class(keys, &answer(400, "no such number")), "rejected");
    }

    #[test]
    fn a_body_that_is_not_whole_leaves_open_what_it_would_have_decided() {
        for (broke_off, is_too_large) in [(true, false), (false, true)] {
            let class =
                |keys, status| class(keys, &Answer { is_too_large, broke_off, ..answer(status, "O") });
            assert_eq!((class(BODY, 200), class(BODY, 400)), ("unknown", "rejected"));
            assert_eq!((class(JSON, 200), class(THROTTLED, 200)), ("unknown", "unknown"));
            assert_eq!(class("", 200), "sent");
        }
    }

    #[test]
    fn the_providers_id_is_found_by_pointer_or_pattern() {
        let id = |rule: &str, body: &str| {
            read(&format!("message_id = {{ {rule} }}"), 200, body).unwrap().external_ids.pop()
        };
        let pointer = "json = '/messages/0/id'";
        assert_eq!(id(pointer, r#"{"messages":[{"id":"SM1"}]}"#).as_deref(), Some("SM1"));
        assert_eq!(id(pointer, r#"{"messages":[{"id":42}]}"#).as_deref(), Some("42"));
        assert_eq!(id(pointer, "no json"), None);
        assert_eq!(id("pattern = 'ID: (\\w+)'", "ID: abc").as_deref(), Some("abc"));
        assert_eq!(id("pattern = '[0-9]+'", "queued 17").as_deref(), Some("17"));
        assert_eq!(id("pattern = '[0-9]+'", "queued"), None);
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_no_other_status_is_a_success(
            status in 100..1000_u16,
            body in prop_oneof![any::<Vec<u8>>(), r#"(OK|id|[\[\]{}:,"0-9]){0,20}"#.prop_map(String::into_bytes)],
            broke_off in any::<bool>(),
            is_too_large in any::<bool>(),
        ) {
            let answer = Answer { body, is_too_large, broke_off, ..answer(status, "") };
            for id in ["message_id = { json = '/0/id' }", "message_id = { pattern = 'id(.*)' }"] {
                let by_status = super::read(&rules(&format!("success = {{ status = [202] }}\n{id}")), &answer);
                prop_assert!(by_status.is_err() || status == 202);
                let by_body = super::read(&rules(&format!("success = {{ body = 'OK' }}\n{THROTTLED}{id}")), &answer);
                prop_assert!(by_body.is_err() || answer.is_success() && !broke_off && !is_too_large);
            }
        }
    }
}
