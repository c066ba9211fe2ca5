//! What the rest of the process asks of the thread that owns the file.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::consumers::Consumer;
use crate::queue::{Headers, Message, PublishError};

/// One thing to do.
pub(super) enum Operation {
    Publish(Publication),
    Settle(Settlement),
    Consume(Consumer),
    /// To count the messages of a queue that are due, up to `most`.
    Look {
        queue: String,
        most: u32,
        answer: oneshot::Sender<u64>,
    },
    /// To hand out nothing more.
    Stop,
    /// To write what is left, and end.
    Close,
    /// To die, for a test.
    #[cfg(test)]
    Panic,
}

/// A message that waits to become durable.
pub(super) struct Publication {
    pub(super) row: Row,
    pub(super) answer: oneshot::Sender<Result<(), PublishError>>,
    /// Gives the room back when the publication is dropped.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// What becomes of a row that was handed out. Kept until it is committed, whatever fails.
pub(super) enum Settlement {
    /// To be taken away.
    Done(u64),
    /// To be put into the row's queue after the delay.
    Move { tag: u64, row: Box<Row>, delay: Duration, answer: oneshot::Sender<()> },
    /// To be put back as if it was never handed out: nobody took it.
    GiveBack(u64),
}

impl Settlement {
    /// Which row is settled.
    pub(super) fn tag(&self) -> u64 {
        match self {
            Self::Done(tag) | Self::GiveBack(tag) | Self::Move { tag, .. } => *tag,
        }
    }
}

/// A message as it is written, made by the one who publishes it so that the thread has less to do.
pub(super) struct Row {
    pub(super) queue: Arc<str>,
    pub(super) id: String,
    pub(super) kind: Cow<'static, str>,
    pub(super) route: String,
    pub(super) body: Bytes,
    pub(super) published_at: i64,
    pub(super) headers: String,
}

impl Row {
    /// A message for one queue.
    pub(super) fn new(message: Message, queue: Arc<str>) -> Self {
        Self {
            queue,
            id: message.id,
            kind: message.kind,
            route: message.route,
            body: message.body,
            published_at: i64::try_from(message.published_at.0).unwrap_or(i64::MAX),
            headers: headers_to_text(&message.headers),
        }
    }
}

/// The headers as they are written: a JSON object.
pub(super) fn headers_to_text(headers: &Headers) -> String {
    if headers.is_empty() {
        return "{}".to_owned();
    }
    // A map of texts can always be written.
    serde_json::to_string(headers).unwrap_or_else(|_| "{}".to_owned())
}

/// The headers of a row. A damaged text must not stop the line, so it counts as none; a damaged value costs only itself,
/// for what is sent must stay known.
pub(super) fn headers_from_text(text: &str) -> Headers {
    if let Ok(headers) = serde_json::from_str(text) {
        return headers;
    }
    let values: serde_json::Map<String, Value> = serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(%error, "the headers of a queued message are damaged and left out");
        serde_json::Map::new()
    });
    values.into_iter().filter_map(|(name, value)| Some((name, scalar(value)?))).collect()
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            tracing::warn!("a header of a queued message is damaged and left out");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_is_no_text_costs_no_other_header() {
        let headers = headers_from_text(r#"{"sent":"[\"0/1\"]","attempts":3,"odd":["x"]}"#);
        let told: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(told, [("attempts", "3"), ("sent", "[\"0/1\"]")]);
        assert!(headers_from_text("{").is_empty());
    }
}
