//! The HTTP client of one peer: a pool of its own, limits on time and size, no redirects. What a call without an answer means,
//! and what a status means that is no success. Every call of an engine or an app goes through [`Client::call`].

use std::{
    borrow::Cow,
    error::Error,
    time::{Duration, UNIX_EPOCH},
};

use reqwest::{Request, Response, redirect};
use shared::{
    clock::{self, UnixMillis},
    config::Backend,
    lifecycle::{Exit, Failure},
    message::BackendName,
};

use super::{
    SendError,
    calls::{Call, Calls},
    tls,
};

/// The most that is read of an answer's body, if an engine does not want more.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The longest that a connection may take, whatever the time for the whole call is.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of an answer is kept with a dead letter, in characters.
const EXCERPT: usize = 200;

/// Calls one peer.
pub(crate) struct Client {
    owner: String,
    calls: Calls,
    http: reqwest::Client,
    connect_timeout: Duration,
    max_answer_bytes: usize,
}

/// What the peer said.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    /// The body, or the beginning of a long one.
    pub(crate) body: Vec<u8>,
    /// Whether there may be more of the body than was read.
    pub(crate) is_too_large: bool,
    /// Whether the connection was lost before the end of the body.
    pub(crate) broke_off: bool,
}

impl Client {
    /// A client whose calls take no longer than `timeout`, for as many at a time. `owner` is the table of the configuration.
    pub(crate) fn new(
        owner: &str,
        timeout: Duration,
        concurrency: u16,
        calls: &Calls,
    ) -> Result<Self, Failure> {
        let unusable =
            |error: &dyn Error| Failure::new(Exit::Unavailable, format!("{owner}: no HTTP client: {error}"));
        let tls = tls::settings().map_err(|error| unusable(&error))?;
        let connect_timeout = connect_timeout(timeout);
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(concat!("rapidsms-gateway/", env!("CARGO_PKG_VERSION")))
            // A redirect would send the message, and the credentials, to somebody else.
            .redirect(redirect::Policy::none())
            // The environment is not asked whom to tell numbers, texts and credentials.
            .no_proxy()
            .connect_timeout(connect_timeout)
            .timeout(timeout)
            .pool_max_idle_per_host(concurrency.into())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| unusable(&error))?;
        let (owner, calls, max_answer_bytes) = (owner.to_owned(), calls.clone(), MAX_ANSWER_BYTES);
        Ok(Self { owner, calls, http, connect_timeout, max_answer_bytes })
    }

    /// The client of a backend.
    pub(super) fn of(name: &BackendName, backend: &Backend, calls: &Calls) -> Result<Self, Failure> {
        Self::new(&format!("backends.{name}"), backend.timeout, backend.concurrency, calls)
    }

    /// The same, reading so much of an answer.
    pub(crate) fn reading(self, max_answer_bytes: usize) -> Self {
        Self { max_answer_bytes, ..self }
    }

    /// Makes one call, or notes it.
    pub(crate) async fn call(&self, request: Request) -> Result<Answer, SendError> {
        if let Calls::Noted(notes) = &self.calls {
            notes.note(Call::new(&self.owner, &request));
            return Ok(Answer::nothing());
        }
        let response = self.http.execute(request).await.map_err(|error| lost(&error))?;
        Ok(Answer::read(response, self.max_answer_bytes).await)
    }

    /// Makes one more call in what is left of the time for the first. With no more left than a connection may take, a host that
    /// is not reached would be taken for one that lost the answer.
    pub(crate) async fn call_within(
        &self,
        left: Duration,
        mut request: Request,
    ) -> Result<Answer, SendError> {
        if left <= self.connect_timeout {
            return Err(SendError::NotSent { reason: "no time is left for a second call".to_owned() });
        }
        *request.timeout_mut() = Some(left);
        self.call(request).await
    }
}

impl Answer {
    async fn read(mut response: Response, max_bytes: usize) -> Self {
        let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(|value| read_retry_after(value.trim(), clock::now()));
        let status = response.status().as_u16();
        let (mut body, mut broke_off) = (Vec::new(), false);
        while body.len() < max_bytes {
            match response.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    broke_off = true;
                    break;
                }
            }
        }
        let is_too_large = body.len() >= max_bytes;
        body.truncate(max_bytes);
        Self { status, retry_after, body, is_too_large, broke_off }
    }

    /// A 204.
    fn nothing() -> Self {
        let (body, is_too_large, broke_off) = (Vec::new(), false, false);
        Self { status: 204, retry_after: None, body, is_too_large, broke_off }
    }

    /// Whether the status is a 2xx.
    pub(crate) fn is_success(&self) -> bool {
        (200..=299).contains(&self.status)
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// The beginning of it, for a dead letter.
    pub(crate) fn excerpt(&self) -> String {
        self.text().trim().chars().take(EXCERPT).collect()
    }

    /// The provider takes nothing, says this answer.
    pub(crate) fn unavailable(&self) -> SendError {
        SendError::Unavailable { reason: self.status_told(), retry_after: self.retry_after }
    }

    /// What the status means when it is no success.
    pub(crate) fn refusal(&self) -> SendError {
        let reason = self.status_told();
        match self.status {
            // The account or the whole provider, not this message.
            401..=403 | 429 | 503 => self.unavailable(),
            // A proxy lost the provider's answer, whatever it says of later.
            502 | 504 | 520 | 524 => SendError::Unknown { reason },
            _ if self.retry_after.is_some() => self.unavailable(),
            408 | 425 | 500..=599 => SendError::NotSent { reason },
            300..=399 => SendError::Rejected { reason, answer: String::new() },
            _ => SendError::Rejected { reason, answer: self.excerpt() },
        }
    }

    /// The same where all messages go to one URL: when nothing is there, it is there for none of them.
    pub(crate) fn refusal_of_all(&self) -> SendError {
        match self.status {
            300..=399 | 404 | 405 => self.unavailable(),
            _ => self.refusal(),
        }
    }

    fn status_told(&self) -> String {
        match self.status {
            status @ 300..=399 => {
                format!("status {status}, a redirect, which is not followed: correct the url")
            }
            status => format!("status {status}"),
        }
    }

    /// Whether the body is not all of what was said.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.broke_off || self.is_too_large
    }
}

/// Seconds, or a date.
fn read_retry_after(value: &str, now: UnixMillis) -> Option<Duration> {
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(UNIX_EPOCH + Duration::from_millis(now.0)).unwrap_or_default())
}

/// Less than the whole: when both end at once, a host that drops packets is taken for one that lost the answer.
fn connect_timeout(timeout: Duration) -> Duration {
    CONNECT_TIMEOUT.min(timeout * 2 / 3)
}

/// What a call without an answer means. The error's own text would name the URL, which may hold secrets and numbers.
fn lost(error: &reqwest::Error) -> SendError {
    if error.is_connect() {
        let mut reason = "no connection".to_owned();
        let mut cause = Error::source(error);
        while let Some(error) = cause {
            reason = format!("no connection: {error}");
            cause = error.source();
        }
        return SendError::Unavailable { reason, retry_after: None };
    }
    if error.is_builder() {
        return unusable();
    }
    let reason =
        if error.is_timeout() { "no answer in time" } else { "the connection broke before the answer" };
    SendError::Unknown { reason: reason.to_owned() }
}

fn unusable() -> SendError {
    SendError::Rejected { reason: "no request can be made of it".to_owned(), answer: String::new() }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer without a word of later.
    pub(crate) fn answer(status: u16, body: &str) -> Answer {
        let body = body.as_bytes().to_vec();
        Answer { status, retry_after: None, body, is_too_large: false, broke_off: false }
    }

    #[test]
    fn each_status_has_its_class() {
        for (status, expected) in [
            (302, "rejected"),
            (400, "rejected"),
            (401, "unavailable"),
            (402, "unavailable"),
            (403, "unavailable"),
            (404, "rejected"),
            (408, "not_sent"),
            (422, "rejected"),
            (429, "unavailable"),
            (500, "not_sent"),
            (502, "unknown"),
            (503, "unavailable"),
            (504, "unknown"),
            (524, "unknown"),
            (599, "not_sent"),
        ] {
            assert_eq!(answer(status, "").refusal().class(), expected, "{status}");
        }
    }

    #[test]
    fn where_all_messages_go_to_one_url_none_is_at_fault_when_nothing_is_there() {
        for (status, expected) in [
            (301, "unavailable: status 301, a redirect, which is not followed: correct the url"),
            (404, "unavailable: status 404"),
            (405, "unavailable: status 405"),
            (400, "rejected: status 400"),
            (500, "not sent: status 500"),
            (504, "unknown whether it was sent: status 504"),
        ] {
            assert_eq!(answer(status, "").refusal_of_all().to_string(), expected);
        }
    }

    #[tokio::test]
    async fn a_second_call_is_not_made_without_the_time_for_a_connection() {
        let client = Client::new("test", Duration::from_secs(30), 1, &Calls::Made).unwrap();
        let request = || Request::new(reqwest::Method::GET, "http://127.0.0.1:1/".parse().unwrap());
        let class = async |seconds| {
            let answer = client.call_within(Duration::from_secs(seconds), request()).await;
            answer.map_or_else(|error| error.class(), |_| "answered")
        };
        assert_eq!((class(10).await, class(11).await), ("not_sent", "unavailable"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = UnixMillis(1_795_392_000_000);
        for (value, seconds) in
            [("7", 7), ("Mon, 23 Nov 2026 00:01:30 GMT", 90), ("Sun, 22 Nov 2026 23:00:00 GMT", 0)]
        {
            assert_eq!(read_retry_after(value, now), Some(Duration::from_secs(seconds)), "{value}");
        }
        assert_eq!(read_retry_after("soon", now), None);
    }

    #[test]
    fn who_says_when_to_come_again_is_unavailable_unless_a_proxy_lost_the_answer() {
        let retry_after = Some(Duration::from_secs(7));
        let refusal = |status| Answer { retry_after, ..answer(status, "") }.refusal();
        let expected = SendError::Unavailable { reason: "status 500".to_owned(), retry_after };
        assert_eq!((refusal(500), refusal(504).class()), (expected, "unknown"));
    }

    #[test]
    fn a_refusal_keeps_the_beginning_of_what_the_peer_said() {
        let error = answer(400, &"é".repeat(500)).refusal();
        assert_eq!(error.told().chars().count(), "status 400: ".len() + EXCERPT);
        assert_eq!(error.to_string(), "rejected: status 400");
    }

    #[test]
    fn a_connection_has_less_time_than_the_call() {
        for seconds in [1, 9, 30, 3600] {
            let timeout = Duration::from_secs(seconds);
            let connect = connect_timeout(timeout);
            assert!(connect < timeout && connect <= CONNECT_TIMEOUT, "{timeout:?}: {connect:?}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_panics_and_little_of_it_is_kept(
            status in 100..1000_u16,
            body in any::<Vec<u8>>(),
            header in "[ -~]{0,40}|[0-9]{0,30}|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT",
        ) {
            let retry_after = read_retry_after(&header, UnixMillis(1_795_392_000_000));
            let refusal = Answer { retry_after, body, ..answer(status, "") }.refusal();
            prop_assert!(refusal.told().chars().count() <= EXCERPT + 100);
        }
    }
}
