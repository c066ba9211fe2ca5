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
    if !answer.is_success() {
        return Err(answer.refusal_of_all());
    }
    if answer.is_cut_off() {
        let reason = format!("status {}, but the list of those who were served broke off", answer.status);
        return Err(SendError::Unknown { reason });
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
    let receipt = |left_out| SendReceipt { external_ids: ids(&list, part), left_out };
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

/// The ids of those that the relay has passed on, in the order of the part; none when it is not clear which is whose.
fn ids(list: &[PassedOn], part: &Part<'_>) -> Vec<String> {
    if let ([one], 1) = (list, part.identities().len()) {
        return one.message_id.iter().cloned().collect();
    }
    let of = |identity: &Identity| list.iter().find(|one| one.to_addr.as_deref() == Some(identity.as_str()));
    let ids = part.identities().filter_map(of).map(|one| one.message_id.clone());
    let ids: Option<Vec<String>> = ids.collect();
    ids.filter(|ids| ids.len() == list.len()).unwrap_or_default()
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
        // In the order of the numbers, and not at all where it is not clear whose they are.
        assert_eq!(told(200, &format!("[{},{}]", of("2"), of("1"))), "sent as m1,m2 without None");
        assert_eq!(told(200, &format!("[{},{}]", of("+1"), of("+2"))), "sent as  without None");
        let nameless = r#"{"to_addr":"2"}"#;
        assert_eq!(told(200, &format!("[{},{nameless}]", of("1"))), "sent as  without None");
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
        let redirect = "unavailable: status 308, a redirect, which is not followed: correct the url";
        assert_eq!(told(308, ""), redirect);
        assert_eq!(told(400, "Endpoint u'x' not defined"), "rejected: status 400");
        assert_eq!(told(500, "'content'"), "not sent: status 500");
    }

    #[test]
    fn of_a_list_that_broke_off_nobody_knows_who_is_on_it() {
        let begun = || answer(200, r#"[{"message_id":"m1","to_addr":"1"},{"mess"#);
        let message = message(&["1", "2", "3"], "x");
        for answer in [Answer { broke_off: true, ..begun() }, Answer { is_too_large: true, ..begun() }] {
            let error = read(&answer, &Part::batches(&message, 200)[0]).unwrap_err();
            let told =
                "unknown whether it was sent: status 200, but the list of those who were served broke off";
            assert_eq!(error.to_string(), told);
        }
    }

    /// A list, one entry for each of these; `null` for one without an address.
    fn list(addresses: Vec<Option<&'static str>>) -> Vec<u8> {
        let one = |to_addr| serde_json::json!({ "to_addr": to_addr });
        addresses.into_iter().map(one).collect::<serde_json::Value>().to_string().into_bytes()
    }

    proptest! {
        #[test]
        fn no_one_is_sent_to_who_is_not_listed(
            addresses in prop::collection::vec(prop::option::of(prop::sample::select(&["1", "2", "+1"][..])), 0..4)
        ) {
            let (message, missing) = (message(&["1", "2"], "x"), 2_usize.saturating_sub(addresses.len()));
            let body = list(addresses.clone());
            let read = read(&Answer { body, ..answer(200, "") }, &Part::batches(&message, 2)[0]);
            match read {
                Ok(SendReceipt { left_out: None, .. }) => prop_assert_eq!(missing, 0),
                Ok(SendReceipt { left_out: Some(left), .. }) => {
                    prop_assert_eq!(left.identities.len(), missing);
                    prop_assert!(!addresses.contains(&Some(left.identities[0].as_str())));
                }
                Err(_) => prop_assert!(missing > 0),
            }
        }

        #[test]
        fn no_answer_panics(status in 100..1000_u16, body in any::<Vec<u8>>(), json in r#"\[(\{"to_addr":("1"|null|2)\}(,\{"to_addr":"[12]"\}){0,3})?\]"#) {
            let message = message(&["1", "2"], "x");
            for body in [body, json.into_bytes()] {
                drop(read(&Answer { body, ..answer(status, "") }, &Part::batches(&message, 2)[0]));
            }
        }
    }
}
