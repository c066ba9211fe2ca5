//! The fields that each form has by itself, with the provider's own names for them.

use super::{
    fields::Field,
    form::{Form, Source},
};
use crate::message::EXTERNAL_ID;

/// How many files one message of Twilio's can have.
const MAX_MEDIA: usize = 10;

/// The fields that a form has by itself.
pub(super) fn fields(form: &Form, allow_blank: bool) -> Vec<Field> {
    let field = |name: &str, parameter: &str| Field::new(name, parameter.to_owned());
    let same = |name: &str| Field::new(name, default_parameter(form, name));
    let needed = |field: Field| Field { required: true, ..field };
    let own = |identity, text| {
        let text = Field { required: !allow_blank, ..field("text", text) };
        vec![needed(field("identity", identity)), text]
    };
    match form {
        Form::Http { .. } => own("identity", "text"),
        // https://www.kannel.org/download/1.4.5/userguide-1.4.5/userguide.html, "Parameters (escapes)"
        Form::Kannel => {
            let mut fields = own("id", "text");
            fields.extend([same("charset"), same("coding"), field(EXTERNAL_ID, "sms_id")]);
            fields
        }
        // A user message of Vumi's; RapidSMS wants the same of it.
        Form::Vumi => {
            let mut fields = own("/from_addr", "/content");
            fields.push(needed(field(EXTERNAL_ID, "/message_id")));
            fields.extend(["to_addr", "transport_name", "transport_type"].map(same).map(needed));
            fields.extend(["in_reply_to", "session_event", "group"].map(same));
            fields
        }
        // https://www.twilio.com/docs/messaging/guides/webhook-request
        Form::Twilio => {
            let mut fields = own("From", "Body");
            fields.push(field(EXTERNAL_ID, "MessageSid"));
            fields.extend(["SmsSid", "SmsMessageSid", "To", "AccountSid", "NumMedia"].map(same));
            let media = |place| [format!("MediaUrl{place}"), format!("MediaContentType{place}")];
            fields.extend((0..MAX_MEDIA).flat_map(media).map(|name| same(&name)));
            fields
        }
    }
}

/// Where a field is found whose place the configuration does not name.
pub(super) fn default_parameter(form: &Form, name: &str) -> String {
    match form.source() {
        Source::Json => format!("/{name}"),
        Source::Parameters | Source::Both => name.to_owned(),
    }
}
