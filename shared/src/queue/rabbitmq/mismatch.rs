//! Understands RabbitMQ's words for a queue or exchange that exists with another argument, and says what to do. Pure.

/// What exists otherwise than it is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mismatch<'t> {
    Queue(&'t str),
    Exchange(&'t str),
}

impl<'t> Mismatch<'t> {
    /// Reads `.. arg 'A' for queue 'Q' in vhost 'V': received 'X' but current is 'Y'`.
    pub(super) fn read(told: &'t str) -> Option<Self> {
        let (_, rest) = told.split_once(" arg '")?;
        let (_, rest) = rest.split_once("' for ")?;
        let (kind, rest) = rest.split_once(" '")?;
        let (name, _) = rest.split_once("' in vhost '")?;
        match kind {
            "queue" => Some(Self::Queue(name)),
            "exchange" => Some(Self::Exchange(name)),
            _ => None,
        }
    }

    /// What to do, with the command of `program`.
    pub(super) fn advice(&self, program: &str) -> String {
        match self {
            Self::Queue(name) => format!(
                "to move its messages to a queue with the wanted argument, stop every dispatcher and gateway and run: \
                 {program} queues migrate {name}"
            ),
            Self::Exchange(name) => format!(
                "delete the exchange `{name}`, which holds no messages, or write another queue.prefix"
            ),
        }
    }
}

/// What to do about a migration that was broken off.
pub(super) fn finish(program: &str, queue: &str) -> String {
    format!("to finish it, stop every dispatcher and gateway and run: {program} queues migrate {queue}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'sms.retry.5s' in vhost '/': \
                        received '6000' but current is '5000'";

    #[test]
    fn the_words_of_the_broker_are_understood() {
        assert_eq!(Mismatch::read(TOLD), Some(Mismatch::Queue("sms.retry.5s")));
        let absent = "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'sms.incoming' in vhost 'a': \
                      received the value 'reject-publish' of type 'longstr' but current is none";
        assert_eq!(Mismatch::read(absent), Some(Mismatch::Queue("sms.incoming")));
        let exchange = TOLD.replace("queue 'sms.retry.5s'", "exchange 'sms'");
        assert_eq!(Mismatch::read(&exchange), Some(Mismatch::Exchange("sms")));
        assert_eq!(Mismatch::read("PRECONDITION_FAILED - something else"), None);
    }

    #[test]
    fn the_command_is_told() {
        let advice = Mismatch::Queue("sms.incoming").advice("dispatcher");
        assert!(advice.ends_with("run: dispatcher queues migrate sms.incoming"), "{advice}");
        assert!(Mismatch::Exchange("sms").advice("gateway").starts_with("delete the exchange `sms`"));
    }
}
