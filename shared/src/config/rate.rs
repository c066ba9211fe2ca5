//! `rate` of a backend: how many parts a second go to its provider, over all processes together.

use std::time::Duration;

use tokio::sync::watch;

use super::{
    reader::{Entry, Read},
    tree::Value,
};

/// Parts a second. A slower one would keep a delivery unsettled for longer than a few minutes; a faster one is none.
const BOUNDS: std::ops::RangeInclusive<f64> = 0.01..=10_000.0;

/// How many parts a second go to a provider.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// The rate of so many a second, if that is between 0.01 and 10,000.
    #[must_use]
    pub fn per_second(parts: f64) -> Option<Self> {
        BOUNDS.contains(&parts).then_some(Self(parts))
    }

    /// From one part to the next. Rounded up, so that the limit holds.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs_f64(1.0 / self.0) + Duration::from_nanos(1)
    }

    /// How many parts go in this time, rounded up.
    #[must_use]
    pub fn parts_in(self, time: Duration) -> u16 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` stops at the bounds"
        )]
        let parts = (self.0 * time.as_secs_f64()).ceil() as u16;
        parts
    }
}

/// A rate that can be changed while it is obeyed: all clones are the same one.
#[derive(Clone, Debug)]
pub struct LiveRate(watch::Sender<Rate>);

impl LiveRate {
    /// The rate as it is now.
    #[must_use]
    pub fn now(&self) -> Rate {
        *self.0.borrow()
    }

    /// To be told of each change.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Rate> {
        self.0.subscribe()
    }

    /// Changes it for everybody who has it.
    pub fn set(&self, rate: Rate) {
        self.0.send_replace(rate);
    }
}

impl From<Rate> for LiveRate {
    fn from(rate: Rate) -> Self {
        Self(watch::Sender::new(rate))
    }
}

impl Read for LiveRate {
    fn read(entry: Entry<'_>) -> Option<Self> {
        Rate::read(entry).map(Self::from)
    }
}

impl Read for Rate {
    fn read(entry: Entry<'_>) -> Option<Self> {
        let parts = match &entry.node.value {
            Value::Integer(integer) => u32::try_from(*integer).ok().map(f64::from),
            Value::Float(float) => Some(*float),
            Value::String(_) => entry.environment_text().and_then(|text| text.parse().ok()),
            Value::Boolean(_) | Value::Array(_) | Value::Table(_) => None,
        };
        let rate = parts.and_then(Self::per_second);
        rate.or_else(|| {
            entry.problem("messages a second are wanted, a number from 0.01 to 10000, such as 20 or 0.5")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Config, Problems, tree::Environment};

    fn read(written: &str, environment: &Environment) -> Result<Option<Rate>, Problems> {
        let text = format!("[queue]\nurl = 'embedded:x'\n[backends.b]\nengine = 'httptester'\n{written}\n");
        let config = Config::parse("test", &text, environment)?;
        Ok(config.backends["b"].rate.as_ref().map(LiveRate::now))
    }

    #[test]
    fn a_rate_is_a_number_above_zero() {
        let none = BTreeMap::new();
        for (written, wanted) in [("rate = 20", 20.0), ("rate = 0.5", 0.5), ("rate = 10000", 10_000.0)] {
            assert_eq!(read(written, &none).unwrap(), Some(Rate(wanted)), "{written}");
        }
        assert_eq!(read("", &none).unwrap(), None);
        for written in ["0", "-1", "0.001", "10001", "nan", "inf", "'20'", "true", "[1]", "99999999999999"] {
            let problems = read(&format!("rate = {written}"), &none).unwrap_err().to_string();
            assert!(problems.contains("backends.b.rate: messages a second are wanted"), "{problems}");
        }
    }

    #[test]
    fn the_environment_can_set_it() {
        let environment = BTreeMap::from([("GATEWAY__BACKENDS__B__RATE".to_owned(), "0.5".to_owned())]);
        assert_eq!(read("rate = 20", &environment).unwrap(), Some(Rate(0.5)));
    }

    #[test]
    fn intervals_never_exceed_the_rate() {
        for parts in [0.01, 0.3, 3.0, 7.0, 333.0, 10_000.0] {
            let rate = Rate::per_second(parts).unwrap();
            assert!(rate.interval().as_secs_f64() * parts >= 1.0, "{parts}");
        }
        let parts_in =
            |parts, seconds| Rate::per_second(parts).unwrap().parts_in(Duration::from_secs(seconds));
        assert_eq!(
            [parts_in(0.01, 2), parts_in(0.6, 2), parts_in(20.0, 2), parts_in(10_000.0, 20)],
            [1, 2, 40, u16::MAX]
        );
    }
}
