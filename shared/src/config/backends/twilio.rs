//! Engine `twilio`: the Messages API of Twilio, and of whoever is compatible.

use super::{
    super::{reader::Section, reports::check_base},
    Basic, HttpUrl,
};

/// Twilio itself.
const DEFAULT_URL: &str = "https://api.twilio.com";

/// The settings of the `twilio` engine.
#[derive(Clone, Debug)]
pub struct Twilio {
    /// Where the messages of the account are made.
    pub url: HttpUrl,
    /// The account and its token.
    pub basic: Basic,
    /// Who sends.
    pub sender: Sender,
    /// Where Twilio reaches the gateway with delivery reports; without it, it is not asked for any.
    pub status_callback: Option<HttpUrl>,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A number, a short code or a name.
    From(String),
    /// A messaging service, which picks one of its senders.
    MessagingService(String),
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Twilio> {
    let is_twilio = !section.has("api_url");
    let url = section.optional("api_url").or(if is_twilio { HttpUrl::fallback(DEFAULT_URL) } else { None });
    let origin = section.origin_of("account_sid");
    let account: Option<String> = section.required("account_sid");
    let fits =
        |sid: &str| sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') && !sid.is_empty();
    if account.as_deref().is_some_and(|sid| !fits(sid) || is_twilio && !sid.starts_with("AC")) {
        let message =
            "the account's own SID is wanted, which starts with `AC` at Twilio, not that of an API key";
        section.problem_at(&origin, "account_sid", message);
    }
    let password = section.required("auth_token");
    let sender = read_sender(section);
    let callback_origin = section.origin_of("status_callback");
    let status_callback: Option<HttpUrl> = section.optional("status_callback");
    check_base(section, &callback_origin, "status_callback", status_callback.as_ref());
    let user = account?;
    let url: HttpUrl = url?;
    let url = url.join(&format!("2010-04-01/Accounts/{user}/Messages.json"));
    Some(Twilio { url, basic: Basic { user, password: password? }, sender: sender?, status_callback })
}

fn read_sender(section: &mut Section<'_>) -> Option<Sender> {
    let (has_from, has_service) = (section.has("from"), section.has("messaging_service_sid"));
    if has_from && has_service {
        section.problem("messaging_service_sid", "only one of `from` and `messaging_service_sid` is wanted");
    } else if !has_from && !has_service {
        section.problem_here("`from` or `messaging_service_sid` is missing: who sends");
    }
    let from_origin = section.origin_of("from");
    let from: Option<String> = section.optional("from");
    if from.as_ref().is_some_and(|from| from.trim().is_empty()) {
        section.problem_at(&from_origin, "from", "a number, a short code or a name is wanted");
    }
    let service = section.optional("messaging_service_sid").map(Sender::MessagingService);
    from.map(Sender::From).or(service)
}
