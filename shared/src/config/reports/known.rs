//! What the providers that the gateway knows report, in their own words.

use super::{super::endpoints::Form, Places};
use crate::report::State::{self, Buffered, Delivered, Failed, Queued, Sent};

/// The reports of a provider.
struct Known {
    reference: Option<&'static str>,
    external_id: Option<&'static str>,
    state: &'static [&'static str],
    identity: Option<&'static str>,
    detail: &'static str,
    states: &'static [(&'static str, State)],
}

/// What our `dlr-url` asks for, as that of RapidSMS: `%d`, `%p` and `%A` of
/// <https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html>, "Delivery reports". `%I` is no name of the part: each
/// report of it has another.
const KANNEL: Known = Known {
    reference: Some("message_id"),
    external_id: None,
    state: &["status"],
    identity: Some("identity"),
    detail: "status_text",
    states: &[("1", Delivered), ("2", Failed), ("4", Buffered), ("8", Sent), ("16", Failed)],
};

/// <https://www.twilio.com/docs/messaging/guides/track-outbound-message-status>
const TWILIO: Known = Known {
    reference: Some("message_id"),
    external_id: Some("MessageSid"),
    state: &["MessageStatus", "SmsStatus"],
    identity: Some("To"),
    detail: "ErrorCode",
    states: &[
        ("accepted", Queued),
        ("scheduled", Queued),
        ("queued", Queued),
        ("sending", Queued),
        ("sent", Sent),
        ("delivered", Delivered),
        ("read", Delivered),
        ("undelivered", Failed),
        ("failed", Failed),
        ("canceled", Failed),
    ],
};

/// The events of `vumi/message.py`: an acknowledgement, a refusal, or a report, which has a status of its own.
const VUMI: Known = Known {
    reference: None,
    external_id: Some("/user_message_id"),
    state: &["/delivery_status", "/event_type"],
    identity: None,
    detail: "/nack_reason",
    states: &[
        ("ack", Sent),
        ("nack", Failed),
        ("pending", Buffered),
        ("delivered", Delivered),
        ("failed", Failed),
    ],
};

/// Where the reports of a form stand, and what its words mean; nothing for a form that has to be told.
pub(super) fn of(form: &Form) -> Option<(Places, Vec<(String, State)>)> {
    let known = match form {
        Form::Http { .. } => return None,
        Form::Kannel => KANNEL,
        Form::Twilio => TWILIO,
        Form::Vumi => VUMI,
    };
    let places = Places {
        each: None,
        reference: known.reference.map(str::to_owned),
        external_id: known.external_id.map(str::to_owned),
        state: known.state.iter().map(|place| (*place).to_owned()).collect(),
        identity: known.identity.map(str::to_owned),
        detail: Some(known.detail.to_owned()),
    };
    Some((places, known.states.iter().map(|(word, state)| ((*word).to_owned(), *state)).collect()))
}
