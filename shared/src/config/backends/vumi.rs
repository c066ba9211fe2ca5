//! Engine `vumi`: the `RapidSMS` relay of a Vumi.

use std::fmt;

use serde_json::{Map, Value as Json};

use super::{
    super::{
        reader::{Entry, Read, Section},
        tree::Value,
    },
    Basic, HttpUrl, check_own, check_user,
};

/// What the engine sets itself, for each message.
const OWN: [&str; 5] = ["content", "to_addr", "session_event", "metadata", "in_reply_to"];

/// The settings of the `vumi` engine.
#[derive(Clone, Debug)]
pub struct Vumi {
    /// Where the relay takes messages.
    pub url: HttpUrl,
    /// What is sent beside the message.
    pub params: Params,
    /// HTTP basic authentication.
    pub basic: Option<Basic>,
}

/// JSON that is sent as it is. `Debug` hides it: a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(pub Map<String, Json>);

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Params(..)")
    }
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Vumi> {
    let url = section.required("sendsms_url");
    let origin = section.origin_of("sendsms_params");
    let params: Vec<(String, Json)> = section.or("sendsms_params", Vec::new());
    check_own(section, &origin, &params, &OWN);
    for (one, other) in [("sendsms_user", "sendsms_pass"), ("sendsms_pass", "sendsms_user")] {
        if section.has(one) && !section.has(other) {
            section.problem(one, format!("`{other}` is missing: both are sent, or none"));
        }
    }
    let origin = section.origin_of("sendsms_user");
    let (user, password): (Option<String>, _) =
        (section.optional("sendsms_user"), section.optional("sendsms_pass"));
    check_user(section, &origin, "sendsms_user", user.as_deref());
    let basic = user.zip(password).map(|(user, password)| Basic { user, password });
    Some(Vumi { url: url?, params: Params(params.into_iter().collect()), basic })
}

impl Read for Json {
    fn read(entry: Entry<'_>) -> Option<Self> {
        Some(match &entry.node.value {
            Value::String(text) => text.as_str().into(),
            Value::Integer(integer) => (*integer).into(),
            Value::Float(float) => (*float).into(),
            Value::Boolean(boolean) => (*boolean).into(),
            Value::Array(_) => Self::Array(Vec::read(entry)?),
            Value::Table(_) => Self::Object(Vec::read(entry)?.into_iter().collect()),
        })
    }
}
