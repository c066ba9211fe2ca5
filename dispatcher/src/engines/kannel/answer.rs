//! Reads what smsbox said: taken, by whom not, or which kind of no. Pure.
//!
//! smsbox refuses a whole call for its parameters (a status below 500). Else it hands every number on to the bearerbox and
//! tells what became of the first: of the others nobody knows.

use shared::message::Identity;

use super::super::{LeftOut, Part, SendError, SendReceipt, client::Answer};

/// The bearerbox has no way to this number, whatever the status is taken for elsewhere.
const NOT_ROUTABLE: &str = "Not routable";

/// The bearerbox did not take this number for now. A 503 without these words is somebody else's, of the whole call.
const TRY_AGAIN: &str = "Temporal failure";

/// What stands before numbers that a list of Kannel's keeps away, when it does not wait for the bearerbox.
const DENIED: &str = "Denied receivers are:";

/// What stands before numbers that smsbox could not hand on.
const FAILED: &str = "Failed receivers are:";

/// What became of `part`.
pub(super) fn read(answer: &Answer, part: &Part<'_>) -> Result<SendReceipt, SendError> {
    let body = answer.text();
    let to_many = part.identities().len() > 1;
    if answer.is_success() {
        if to_many && answer.is_cut_off() {
            let reason = format!(
                "status {}, but the answer, which names those who are denied, broke off",
                answer.status
            );
            return Err(SendError::Unknown { reason });
        }
        let denied = named_after(DENIED, &body, part);
        let reason = "denied by a white or black list of Kannel".to_owned();
        return Ok(without(denied, SendError::Rejected { reason, answer: String::new() }));
    }
    let failed = named_after(FAILED, &body, part);
    if !failed.is_empty() && failed.len() < part.identities().len() {
        let reason = format!("status {}", answer.status);
        return Ok(without(failed, SendError::NotSent { reason }));
    }
    let says = |status, words: &str| answer.status == status && body.contains(words);
    let is_unroutable = says(403, NOT_ROUTABLE);
    Err(if to_many && (is_unroutable || says(503, TRY_AGAIN)) {
        let reason =
            format!("status {}, which Kannel says of the first of these numbers only", answer.status);
        SendError::Unknown { reason }
    } else if is_unroutable {
        SendError::Rejected { reason: format!("status {}", answer.status), answer: answer.excerpt() }
    } else {
        answer.refusal_of_all()
    })
}

/// The identities of `part` that the body has after `words`, up to the next such words, which end with a colon too.
fn named_after(words: &str, body: &str, part: &Part<'_>) -> Vec<Identity> {
    let named = body.split_once(words).map_or("", |(_, named)| named.split(':').next().unwrap_or(""));
    let is_named = |identity: &&Identity| named.split_whitespace().any(|word| word == identity.as_str());
    part.identities().filter(is_named).cloned().collect()
}

fn without(identities: Vec<Identity>, error: SendError) -> SendReceipt {
    let left_out = (!identities.is_empty()).then_some(LeftOut { identities, error });
    SendReceipt { external_ids: Vec::new(), left_out }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::super::{client::tests::answer, part::tests::message},
        *,
    };

    /// How an answer to these identities is taken, and who is left out.
    fn told(identities: &[&str], status: u16, body: &str) -> String {
        let message = message(identities, "x");
        match read(&answer(status, body), &Part::batches(&message, 200)[0]) {
            Err(error) => error.class().to_owned(),
            Ok(SendReceipt { left_out: None, .. }) => "sent".to_owned(),
            Ok(SendReceipt { left_out: Some(left), .. }) => {
                let names: Vec<&str> = left.identities.iter().map(Identity::as_str).collect();
                format!("sent, but {} {}", names.join(" "), left.error.class())
            }
        }
    }

    #[test]
    fn the_answers_of_the_user_guide_have_their_verdicts() {
        for (status, body, one, many) in [
            (202, "0: Accepted for delivery", "sent", "sent"),
            (202, "3: Queued for later delivery", "sent", "sent"),
            (200, "Sent.", "sent", "sent"),
            (202, "Sent. Denied receivers are: 2 3 Message splits: 2", "sent", "sent, but 2 rejected"),
            (
                202,
                "Sent. Denied receivers are: 1 Message splits: 2",
                "sent, but 1 rejected",
                "sent, but 1 rejected",
            ),
            (403, "Authorization failed for sendsms", "unavailable", "unavailable"),
            (403, "Not routable. Do not try again.", "rejected", "unknown"),
            (503, "Temporal failure, try again later.", "unavailable", "unknown"),
            (503, "<html>no backend is healthy</html>", "unavailable", "unavailable"),
            (302, "", "unavailable", "unavailable"),
            (500, "Sending failed.", "not_sent", "not_sent"),
            (500, "Sending failed. Failed receivers are: 2", "not_sent", "sent, but 2 not_sent"),
            (500, "Sending failed. Failed receivers are: 1 2", "not_sent", "not_sent"),
            (400, "Number(s) has/have been denied by white- and/or black-lists.", "rejected", "rejected"),
            (400, "Charset or body misformed, rejected", "rejected", "rejected"),
            (404, "Unknown request.", "unavailable", "unavailable"),
        ] {
            assert_eq!(told(&["1"], status, body), one, "{status} {body} to one");
            assert_eq!(told(&["1", "2"], status, body), many, "{status} {body} to many");
        }
    }

    #[test]
    fn of_many_nobody_knows_who_is_denied_when_the_answer_broke_off() {
        let told = |identities: &[&str], answer: Answer| {
            let message = message(identities, "x");
            read(&answer, &Part::batches(&message, 200)[0]).map_or_else(|error| error.class(), |_| "sent")
        };
        let answer = || answer(202, "Sent. Denied receivers are: 1");
        for (cut_off, class) in [
            (answer(), "sent"),
            (Answer { broke_off: true, ..answer() }, "unknown"),
            (Answer { is_too_large: true, ..answer() }, "unknown"),
        ] {
            assert_eq!(told(&["1", "2"], cut_off), class);
        }
        assert_eq!(told(&["2"], Answer { broke_off: true, ..answer() }), "sent");
    }

    proptest! {
        #[test]
        fn no_answer_panics(status in 100..1000_u16, body in any::<Vec<u8>>()) {
            let message = message(&["1", "2"], "x");
            let answer = Answer { body, ..answer(status, "") };
            for part in Part::batches(&message, 2).iter().chain(&Part::for_each_identity(&message)) {
                drop(read(&answer, part));
            }
        }
    }
}
