//! Reads Twilio's answer. Its error codes say more than its statuses: <https://www.twilio.com/docs/api/errors>. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::super::{SendError, SendReceipt, client::Answer};

/// Twilio refuses this number or this text, whatever the status is taken for elsewhere.
const MESSAGE: [u32; 22] = [
    // The number: invalid, not reached, not verified on a trial account, a short code, the sender's own.
    21211, 21214, 21217, 21219, 21265, 21266, 21604, 21608, 21614, 21635,
    // Its region is not allowed, it has unsubscribed, the sender cannot reach it.
    21408, 21610, 21606, 21612, // The text: missing, too long.
    21602, 21617,
    // What Twilio tells later, and others at once: not reached, blocked, unknown, a landline, filtered, failed.
    30003, 30004, 30005, 30006, 30007, 30008,
];

/// The account or its sender can send nothing now: not active, credentials, limits, a sender that is not its own, a full
/// queue, no such service, maintenance.
const ACCOUNT: [u32; 18] = [
    10001, 20003, 20005, 20006, 20008, 20404, 20429, 21212, 21603, 21611, 21660, 21701, 21704, 21705, 21730,
    30001, 30002, 63038,
];

/// Too many messages to this number in half a minute.
const TOO_MANY_TO_ONE: u32 = 14107;

/// A message, or an error.
#[derive(Deserialize)]
struct Body {
    sid: Option<String>,
    code: Option<Value>,
}

/// What became of the part.
pub(super) fn read(answer: &Answer) -> Result<SendReceipt, SendError> {
    let body = serde_json::from_slice(&answer.body).unwrap_or(Body { sid: None, code: None });
    if answer.is_success() {
        return Ok(SendReceipt::all(body.sid));
    }
    Err(match body.code.as_ref().and_then(read_code) {
        Some(code) => verdict(code, answer),
        None => answer.refusal_of_all(),
    })
}

/// What the error means.
fn verdict(code: u32, answer: &Answer) -> SendError {
    let reason = format!("status {}, error {code}", answer.status);
    if MESSAGE.contains(&code) {
        SendError::Rejected { reason, answer: answer.excerpt() }
    } else if ACCOUNT.contains(&code) {
        SendError::Unavailable { reason, retry_after: answer.retry_after }
    } else if code == TOO_MANY_TO_ONE {
        SendError::NotSent { reason }
    } else {
        answer.refusal().because(reason)
    }
}

/// Some compatible APIs write it as a text.
fn read_code(code: &Value) -> Option<u32> {
    let number = code.as_u64().and_then(|code| code.try_into().ok());
    number.or_else(|| code.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{super::super::client::tests::answer, *};

    fn told(status: u16, body: &str) -> String {
        read(&answer(status, body))
            .map_or_else(|error| error.to_string(), |receipt| receipt.external_ids.join(","))
    }

    fn error(status: u16, code: u32) -> String {
        told(
            status,
            &format!(r#"{{"code":{code},"message":"no","more_info":"https://..","status":{status}}}"#),
        )
    }

    #[test]
    fn a_message_that_was_made_has_its_sid() {
        assert_eq!(told(201, r#"{"sid":"SM1","status":"queued","error_code":null}"#), "SM1");
        assert_eq!(told(200, "<ok/>"), "");
    }

    #[test]
    fn a_code_says_more_than_the_status_and_is_told() {
        for (status, code, expected) in [
            (400, 21211, "rejected"),
            (400, 21610, "rejected"),
            (403, 21408, "rejected"),
            (400, 30004, "rejected"),
            (400, 29999, "rejected"),
            (401, 20003, "unavailable"),
            (403, 20003, "unavailable"),
            (404, 20404, "unavailable"),
            (429, 20429, "unavailable"),
            (400, 21611, "unavailable"),
            (400, 21212, "unavailable"),
            (429, 14107, "not sent"),
            (500, 20500, "not sent"),
            (503, 29999, "unavailable"),
            (504, 29999, "unknown whether it was sent"),
        ] {
            assert_eq!(error(status, code), format!("{expected}: status {status}, error {code}"));
        }
    }

    #[test]
    fn without_a_code_the_status_decides() {
        for (status, body, expected) in [
            (400, "{}", "rejected: status 400"),
            (404, "<html>", "unavailable: status 404"),
            (307, "", "unavailable: status 307, a redirect, which is not followed: correct the url"),
            (503, r#"{"code":null}"#, "unavailable: status 503"),
            (400, r#"{"code":"21211"}"#, "rejected: status 400, error 21211"),
        ] {
            assert_eq!(told(status, body), expected);
        }
    }

    #[test]
    fn the_provider_says_when_to_come_again_and_what_was_wrong() {
        let retry_after = Some(Duration::from_secs(7));
        for body in [r#"{"code":20429}"#, ""] {
            let error = read(&Answer { retry_after, ..answer(429, body) }).unwrap_err();
            assert!(matches!(error, SendError::Unavailable { retry_after: Some(_), .. }), "{error}");
        }
        let body = r#"{"code":21211,"message":"+1 is not valid"}"#;
        let told = read(&answer(400, body)).unwrap_err().told();
        assert_eq!(told, format!("status 400, error 21211: {body}"));
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 100..1000_u16, body in any::<Vec<u8>>(), code in r#"("[0-9]{0,20}"|-?[0-9]{1,30}|\[\])"#) {
            for body in [body, format!(r#"{{"code":{code},"sid":{code}}}"#).into_bytes()] {
                drop(read(&Answer { body, ..answer(status, "") }));
            }
        }
    }
}
