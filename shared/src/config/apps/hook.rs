//! The settings of the apps that call a URL: `webhook` and `forward`.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{Earlier, Phase};
use crate::config::{
    Positive,
    backends::{HttpUrl, is_header_name},
    reader::{Section, one_of},
};

/// How long a call may take when nothing else is written.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The headers that a call has anyway.
const OWN_HEADERS: [&str; 7] = [
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "transfer-encoding",
    "x-gateway-attempt",
    "x-gateway-signature",
];

/// Whom to call, and when.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Where to.
    pub url: HttpUrl,
    /// Which of the apps that call this host it is, counted from 1.
    pub number: usize,
    /// What the calls are signed with.
    pub secret: Option<SecretString>,
    /// Additional headers.
    pub headers: Vec<(String, SecretString)>,
    /// How long a call may take.
    pub timeout: Duration,
    /// The phases in which it is called.
    pub phases: Vec<Phase>,
    /// What becomes of the message when a call fails.
    pub on_error: OnError,
}

/// What becomes of a message when a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// It is tried again, up the ladder.
    Retry,
    /// It goes on, as if there had been no call.
    Ignore,
}

/// Reads a hook that is called in `default` when nothing else is written, and may be in `allowed`.
pub(super) fn read(
    section: &mut Section<'_>,
    default: Phase,
    allowed: &[Phase],
    earlier: &mut Earlier,
) -> Option<Hook> {
    let url: Option<HttpUrl> = section.required("url");
    let secret = section.optional("secret");
    let headers = read_headers(section);
    let phases = read_phases(section, default, allowed, earlier);
    let timeout = read_timeout(section, &phases, earlier);
    let on_error = read_on_error(section, &phases);
    let url = url?;
    earlier.peers.push(url.peer().to_owned());
    let number = earlier.peers.iter().filter(|peer| *peer == url.peer()).count();
    Some(Hook { url, number, secret, headers, timeout, phases, on_error })
}

fn read_on_error(section: &mut Section<'_>, phases: &[Phase]) -> OnError {
    let origin = section.origin_of("on_error");
    let words = [("retry", OnError::Retry), ("ignore", OnError::Ignore)];
    let on_error = section.optional_with("on_error", |entry| one_of(&entry, &words));
    if on_error == Some(OnError::Retry) && phases == [Phase::Outgoing] {
        let problem =
            "`retry` has no effect: in `outgoing`, a message that a call fails for is sent as it is";
        section.problem_at(&origin, "on_error", problem);
    }
    on_error.unwrap_or(OnError::Retry)
}

fn read_headers(section: &mut Section<'_>) -> Vec<(String, SecretString)> {
    let origin = section.origin_of("headers");
    let headers: Vec<(String, SecretString)> = section.or("headers", Vec::new());
    for (name, value) in &headers {
        let printable = value.expose_secret().chars().all(|c| c == ' ' || c.is_ascii_graphic());
        let problem = if !is_header_name(name) {
            "not a valid header name"
        } else if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            "every call has this header already, with a value of the gateway's"
        } else if !printable {
            "printable ASCII is wanted"
        } else {
            continue;
        };
        section.problem_at(&origin, &format!("headers.{name}"), problem);
    }
    headers
}

fn read_phases(
    section: &mut Section<'_>,
    default: Phase,
    allowed: &[Phase],
    earlier: &Earlier,
) -> Vec<Phase> {
    let origin = section.origin_of("phases");
    let phases: Vec<Phase> = section.or("phases", vec![default]);
    let problem = |problem: String| section.problem_at(&origin, "phases", problem);
    if phases.is_empty() {
        problem("at least one phase is wanted, else it is never called".to_owned());
    }
    for (place, phase) in phases.iter().enumerate() {
        if phases[..place].contains(phase) {
            problem(format!("`{phase}` is named twice"));
        }
        if !allowed.contains(phase) {
            let allowed: Vec<&str> = allowed.iter().map(|phase| phase.name()).collect();
            problem(format!("`{phase}` is not among its phases: {}", allowed.join(", ")));
        }
    }
    if let Some(place) = earlier.default.as_ref().filter(|_| phases.contains(&Phase::Default)) {
        problem(format!("`default` can never be reached: the `default` app at {place} claims every message"));
    }
    phases
}

/// Reads the time for a call. All calls for a message together must have less than `dispatcher.app_timeout`: a message
/// that takes longer than that is dead-lettered at once, and one whose call fails is tried again. The calls for a reply have
/// that time anew.
fn read_timeout(section: &mut Section<'_>, phases: &[Phase], earlier: &mut Earlier) -> Duration {
    let origin = section.origin_of("timeout");
    let timeout = section.or("timeout", Positive(TIMEOUT)).0;
    let replies = phases.iter().filter(|phase| **phase == Phase::Outgoing).count();
    // A report has time of its own.
    let reports = phases.iter().filter(|phase| **phase == Phase::Report).count();
    let app_timeout = earlier.app_timeout;
    for (what, calls, all) in [
        ("message", phases.len() - replies - reports, &mut earlier.calls),
        ("reply", replies, &mut earlier.reply_calls),
    ] {
        let before = *all;
        *all = before.saturating_add(timeout.saturating_mul(u32::try_from(calls).unwrap_or(u32::MAX)));
        if before < app_timeout && *all >= app_timeout {
            let shown = |duration| humantime::format_duration(duration);
            let problem = format!(
                "with this app, the calls for one {what} may take {}; less than dispatcher.app_timeout ({}) is wanted",
                shown(*all),
                shown(app_timeout),
            );
            section.problem_at(&origin, "timeout", problem);
        }
    }
    timeout
}
