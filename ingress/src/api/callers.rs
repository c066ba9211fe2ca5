//! Who may send: everybody who reaches the private listener, or who shows a token of `api.tokens`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::http::HeaderValue;
use sha2::{Digest, Sha256};
use shared::{
    config::{Config, LiveRate, Rate, api::Hash},
    message::BackendName,
};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::error::ApiError;

/// What a rate allows in this time may be submitted at once.
const BURST: Duration = Duration::from_secs(1);

/// A program that sends.
pub struct Caller {
    /// The name of its token; empty on the private listener, where nobody is asked.
    pub name: String,
    /// The backends that it may send through.
    pub backends: BTreeSet<BackendName>,
    limit: Option<Limit>,
}

/// How a request finds its caller.
pub(super) enum Callers {
    /// Every request has the same.
    Everybody(Arc<Caller>),
    /// By the hash of the token that it shows.
    Tokens(Vec<(Hash, Arc<Caller>)>),
}

impl Callers {
    /// Nobody in particular, who may send through every backend.
    pub(super) fn everybody(config: &Config) -> Self {
        let backends = config.backends.keys().cloned().collect();
        Self::Everybody(Arc::new(Caller { name: String::new(), backends, limit: None }))
    }

    /// Those of `api.tokens`.
    pub(super) fn with_tokens(config: &Config) -> Self {
        let mut tokens = Vec::new();
        for token in &config.api.tokens {
            let limit = token.rate.clone().map(|rate| Limit::new(rate, Instant::now()));
            let caller = Caller { name: token.name.clone(), backends: token.backends.clone(), limit };
            let caller = Arc::new(caller);
            tokens.extend(token.hashes.iter().map(|hash| (*hash, Arc::clone(&caller))));
        }
        Self::Tokens(tokens)
    }

    /// The caller with this `Authorization`.
    pub(super) fn find(&self, authorization: Option<&HeaderValue>) -> Result<&Arc<Caller>, ApiError> {
        let tokens = match self {
            Self::Everybody(caller) => return Ok(caller),
            Self::Tokens(tokens) => tokens,
        };
        let shown = authorization.and_then(|value| bearer(value.as_bytes())).ok_or(ApiError::NoToken)?;
        let shown = Sha256::digest(shown);
        // All of them are compared, so that the time tells nothing of which one was near.
        let mut found = None;
        for (hash, caller) in tokens {
            if bool::from(hash.0.as_slice().ct_eq(shown.as_slice())) {
                found = Some(caller);
            }
        }
        found.ok_or(ApiError::WrongToken)
    }
}

impl Caller {
    /// True on the private listener, where nobody is asked.
    pub(super) fn is_anybody(&self) -> bool {
        self.name.is_empty()
    }

    /// Takes `count` messages from what the rate allows, or says when there is room for them.
    pub(crate) fn take(&self, count: usize) -> Result<(), ApiError> {
        let Some(limit) = &self.limit else { return Ok(()) };
        let now = Instant::now();
        limit.pace(now).take(count, now).map_err(ApiError::TooMany)
    }

    /// Gives back what was taken for messages that are not queued.
    pub(crate) fn give_back(&self, count: usize) {
        if let Some(limit) = &self.limit {
            limit.pace(Instant::now()).give_back(count);
        }
    }
}

/// The token in `Bearer TOKEN`.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
}

/// A caller's rate, and how far it is used up.
struct Limit {
    rate: LiveRate,
    pace: Mutex<Pace>,
}

impl Limit {
    fn new(rate: LiveRate, now: Instant) -> Self {
        Self { pace: Mutex::new(Pace::new(rate.now(), now)), rate }
    }

    /// By the rate as it is now.
    fn pace(&self, now: Instant) -> MutexGuard<'_, Pace> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.follow(self.rate.now(), now);
        pace
    }
}

/// How far the rate is used up. One request may have more messages than a burst; those who follow wait for it.
struct Pace {
    interval: Duration,
    /// How far ahead of the rate a caller may be.
    allowed: Duration,
    /// When all that was taken is paid for.
    paid: Instant,
}

impl Pace {
    fn new(rate: Rate, now: Instant) -> Self {
        let (interval, burst) = (rate.interval(), rate.parts_in(BURST).max(1));
        Self { interval, allowed: interval * u32::from(burst - 1), paid: now }
    }

    /// What is not paid for is paid by this rate.
    fn follow(&mut self, rate: Rate, now: Instant) {
        if rate.interval() == self.interval {
            return;
        }
        let messages = self.paid.saturating_duration_since(now).div_duration_f64(self.interval);
        *self = Self::new(rate, now);
        self.paid += self.interval.mul_f64(messages);
    }

    /// The error is how long to wait.
    fn take(&mut self, count: usize, now: Instant) -> Result<(), Duration> {
        let wait = self.paid.saturating_duration_since(now).saturating_sub(self.allowed);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.paid = self.paid.max(now) + self.price(count);
        Ok(())
    }

    fn give_back(&mut self, count: usize) {
        self.paid = self.paid.checked_sub(self.price(count)).unwrap_or(self.paid);
    }

    fn price(&self, count: usize) -> Duration {
        self.interval.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The token of this name, which has one backend; or nobody in particular, who has two.
    pub(in crate::api) fn caller(name: &str) -> Caller {
        let backends: &[&str] = if name.is_empty() { &["kannel", "twilio"] } else { &["kannel"] };
        let backends = backends.iter().map(|name| name.parse().unwrap()).collect();
        Caller { name: name.to_owned(), backends, limit: None }
    }

    fn callers() -> Callers {
        // The hashes of `old`, `new` and `other`.
        let text = "[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n\
                    [[api.tokens]]\nname = 'survey'\nbackends = ['b']\nhash = [\
                    'cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4', \
                    '11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437']\n\
                    [[api.tokens]]\nname = 'clinic'\nbackends = ['b']\n\
                    hash = 'd9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa'\n";
        Callers::with_tokens(&Config::parse("test", text, &BTreeMap::new()).unwrap())
    }

    #[test]
    fn each_of_the_tokens_leads_to_its_caller_and_nothing_else_does() {
        let callers = callers();
        let find = |value: &str| callers.find(Some(&HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        for (value, name) in
            [("Bearer old", "survey"), ("bearer new", "survey"), ("BEARER  other ", "clinic")]
        {
            assert_eq!(find(value).unwrap().name, name, "{value}");
        }
        for wrong in ["Bearer Old", "Bearer ol", "Bearer oldnew", "Bearer ", "Bearer é"] {
            assert!(matches!(find(wrong), Err(ApiError::WrongToken)), "{wrong}");
        }
        for none in ["", "Bearer", "old", "Basic b2xk", "Bearer\told"] {
            assert!(matches!(find(none), Err(ApiError::NoToken)), "{none}");
        }
        assert!(matches!(callers.find(None), Err(ApiError::NoToken)));
    }

    #[test]
    fn the_rate_counts_messages_and_a_large_request_holds_up_the_next() {
        let (rate, start) = (Rate::per_second(10.0).unwrap(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(rate, start);
        let burst = (0..20).filter(|_| pace.take(1, start).is_ok()).count();
        assert_eq!(burst, 10);
        assert!(pace.take(1, at(99)).is_err() && pace.take(1, at(101)).is_ok());

        let mut pace = Pace::new(rate, start);
        assert_eq!(pace.take(450, start), Ok(()));
        let wait = pace.take(1, start).unwrap_err();
        assert!((44.0..44.2).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(pace.take(450, at(44_200)).is_ok());
    }

    #[test]
    fn time_that_passed_unused_is_not_made_up_for() {
        let (mut pace, start) = (Pace::new(Rate::per_second(0.5).unwrap(), Instant::now()), Instant::now());
        let hour = start + Duration::from_secs(3600);
        assert!(pace.take(1, hour).is_ok());
        assert_eq!(pace.take(1, hour).unwrap_err().as_secs(), 2);
    }

    #[test]
    fn what_is_owed_is_paid_by_the_new_rate() {
        let rate = |parts| Rate::per_second(parts).unwrap();
        let (live, start) = (LiveRate::from(rate(0.01)), Instant::now());
        let limit = Limit::new(live.clone(), start);
        assert_eq!(limit.pace(start).take(400, start), Ok(()));
        let wait = limit.pace(start).take(1, start).unwrap_err();
        assert!((39_999.0..40_001.0).contains(&wait.as_secs_f64()), "{wait:?}");
        // The burst of a second, too, is that of the new rate.
        live.set(rate(100.0));
        let wait = limit.pace(start).take(1, start).unwrap_err();
        assert!((3.0..3.02).contains(&wait.as_secs_f64()), "{wait:?}");
        let later = start + Duration::from_secs(5);
        assert_eq!((0..200).filter(|_| limit.pace(later).take(1, later).is_ok()).count(), 100);
        live.set(rate(0.5));
        let wait = limit.pace(later).take(1, later).unwrap_err();
        assert!((199.9..200.1).contains(&wait.as_secs_f64()), "{wait:?}");
    }
}
