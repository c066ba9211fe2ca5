//! Every metric of the gateway: its name, its kind, and what it says.
//!
//! The names are as stable as the keys of the configuration: dashboards and alerts are built on them. `docs/metrics.md`
//! has the same list with the labels.

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts what was measured, by size.
    Histogram,
}

/// A metric as it is described to whoever reads the page `/metrics`.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// The kind.
    pub kind: Kind,
    /// What it says, in one line.
    pub help: &'static str,
}

/// Makes a constant of each name, and the list of all. What a constant's comment says is the metric's help.
macro_rules! metrics {
    ($(#[doc = $help:literal] $kind:ident $constant:ident = $name:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, help: $help.trim_ascii_start() },)*
        ];
    };
}

metrics! {
    /// Messages from providers that are safely queued.
    Counter ACCEPTED = "gateway_accepted_total";
    /// Recipients of messages from programs that are safely queued.
    Counter SUBMITTED = "gateway_submitted_total";
    /// Delivery reports from providers that are safely queued.
    Counter REPORTS_ACCEPTED = "gateway_reports_accepted_total";
    /// Requests that were refused; `unavailable` means that the queue could not confirm.
    Counter REFUSED = "gateway_refused_total";
    /// Seconds until the queue had confirmed all messages of a request, or failed to.
    Histogram PUBLISH_SECONDS = "gateway_publish_seconds";
    /// Requests that wait for the queue to confirm.
    Gauge PUBLISHING = "gateway_publishing";
    /// When RabbitMQ last confirmed a message, in seconds since 1970.
    Gauge LAST_PUBLISH = "gateway_last_publish_timestamp_seconds";
    /// Messages that were routed, by outcome and by the app that claimed or filtered them.
    Counter ROUTED = "gateway_routed_total";
    /// Replies that were dropped, because who would get them has ended the session or is taken for a robot.
    Counter DROPPED_REPLIES = "gateway_dropped_replies_total";
    /// Failures of apps that were passed over, as their `on_error` asks for.
    Counter IGNORED_ERRORS = "gateway_ignored_errors_total";
    /// Parts that a provider took, counted once for each recipient.
    Counter SENT = "gateway_sent_total";
    /// Calls of a provider that failed, by the class of the verdict.
    Counter NOT_SENT = "gateway_not_sent_total";
    /// Seconds that a call of a provider took.
    Histogram SEND_SECONDS = "gateway_send_seconds";
    /// Seconds from the acceptance of a message to each part of it, or of its replies, that a provider took.
    Histogram ACCEPTED_TO_SENT = "gateway_accepted_to_sent_seconds";
    /// 1 from a refusal of a provider that takes nothing until it has taken a message of this process, else 0.
    Gauge PAUSED = "gateway_backend_paused";
    /// Messages that were put on the retry ladder, by the class of the failure.
    Counter RETRIES = "gateway_retries_total";
    /// Messages that this process made dead letters, by class; those of class `crashed` are the broker's and not counted.
    Counter DEAD_LETTERS = "gateway_dead_letters_total";
    /// Delivery reports that were handled, by state and by what became of them.
    Counter REPORTS = "gateway_reports_total";
    /// Parts that were sent and could not be noted, so that their delivery reports end as unmatched.
    Counter LOST_NOTES = "gateway_lost_notes_total";
    /// Messages that this process holds, and has not settled.
    Gauge IN_FLIGHT = "gateway_in_flight";
    /// Messages that wait in a queue, without those that a process holds; the same in every process that looks.
    Gauge QUEUE_MESSAGES = "gateway_queue_messages";
    /// Seconds from the acceptance of a message, or its replay, to its first attempt.
    Histogram AGE = "gateway_age_at_delivery_seconds";
}

/// Tells the recorder of this process what each metric says. Called once, when there is one.
pub(crate) fn describe() {
    for Metric { name, kind, help } in ALL {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram => metrics::describe_histogram!(*name, *help),
        }
    }
}
