//! Reads the relay's answer: a JSON list of the messages that it passed on. It keeps silent about those that it could not. Pure.

use serde::Deserialize;
use shared::message::Identity;

use super::super::{LeftOut, Part, SendError, SendReceipt, client::Answer};

/// What the relay tells of a message that it passed on.
#[derive(Deserialize)]
struct PassedOn {
    message_id: Option<String>,
    to_addr: Option<String>,
}

/// What became of `part`.
pub(super) fn read(answer: &Answer, part: &Part<'_>) -> Result<SendReceipt, SendError> {
    if matches!(answer.status, 404 | 405) {
        // Nothing is at this URL, for no message.
        return Err(answer.unavailable());
    }
    if !answer.is_success() {
        return Err(answer.refusal());
    }
    // Without a list that can be read, the status speaks for all.
    let Ok(list) = serde_json::from_slice::<Vec<PassedOn>>(&answer.body) else {
        return Ok(SendReceipt::default());
    };
    let is_listed =
        |identity: &Identity| list.iter().any(|one| one.to_addr.as_deref() == Some(identity.as_str()));
    let left_out: Vec<Identity> =
        part.identities().filter(|identity| !is_listed(identity)).cloned().collect();
    let missing = part.identities().len().saturating_sub(list.len());
    let reason =
        format!("status {}, but {missing} of the numbers are not listed as passed on", answer.status);
    let receipt = |left_out| {
        let external_ids = list.iter().filter_map(|one| one.message_id.clone()).collect();
        SendReceipt { external_ids, left_out }
    };
    match missing {
        // Whatever the relay writes the numbers like.
        0 => Ok(receipt(None)),
        _ if list.is_empty() => Err(SendError::NotSent { reason }),
        _ if left_out.len() == missing => {
            Ok(receipt(Some(LeftOut { identities: left_out, error: SendError::NotSent { reason } })))
        }
        _ => Err(SendError::Unknown { reason }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::super::{client::tests::answer, part::tests::message},
        *,
    };

    /// How an answer to identities 1 and 2 is taken: the ids, and who is left out.
    fn told(status: u16, body: &str) -> String {
        let message = message(&["1", "2"], "x");
        match read(&answer(status, body), &Part::batches(&message, 200)[0]) {
            Err(error) => error.to_string(),
            Ok(SendReceipt { external_ids, left_out }) => {
                let left = left_out.map(|left| (left.identities[0].as_str().to_owned(), left.error.class()));
                format!("sent as {} without {left:?}", external_ids.join(","))
            }
        }
    }

    #[test]
    fn who_is_listed_was_passed_on() {
        let of = |number: &str| format!(r#"{{"message_id":"m{number}","to_addr":"{number}","x":[1]}}"#);
        assert_eq!(told(200, &format!("[{},{}]", of("1"), of("2"))), "sent as m1,m2 without None");
        assert_eq!(told(200, &format!("[{}]", of("2"))), r#"sent as m2 without Some(("1", "not_sent"))"#);
        assert_eq!(told(200, &format!("[{},{}]", of("+1"), of("+2"))), "sent as m+1,m+2 without None");
        let missing = |count| format!("status 200, but {count} of the numbers are not listed as passed on");
        assert_eq!(told(200, "[]"), format!("not sent: {}", missing(2)));
        assert_eq!(
            told(200, &format!("[{}]", of("+2"))),
            format!("unknown whether it was sent: {}", missing(1))
        );
        for other in ["", "{}", "OK", "[1]"] {
            assert_eq!(told(200, other), "sent as  without None", "{other}");
        }
    }

    #[test]
    fn the_statuses_of_the_relay_have_their_verdicts() {
        assert_eq!(told(401, "Unauthorized"), "unavailable: status 401");
        assert_eq!(told(404, ""), "unavailable: status 404");
        assert_eq!(told(400, "Endpoint u'x' not defined"), "rejected: status 400");
        assert_eq!(told(500, "'content'"), "not sent: status 500");
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 100..1000_u16, body in any::<Vec<u8>>(), json in r#"\[(\{"to_addr":("1"|null|2)\},?){0,4}\]"#) {
            let message = message(&["1", "2"], "x");
            for body in [body, json.into_bytes()] {
                drop(read(&Answer { body, ..answer(status, "") }, &Part::batches(&message, 2)[0]));
            }
        }
    }
}
