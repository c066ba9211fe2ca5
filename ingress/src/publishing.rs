//! Publishes the messages of one request: whoever answers it waits here for all confirms.

use std::{sync::Arc, time::Instant};

use futures_util::future::try_join_all;
use metrics::{Gauge, Histogram};
use shared::{
    metric,
    queue::{Message, Publish, PublishError},
};

/// The queue, and how long its confirms take.
#[derive(Clone)]
pub struct Publisher {
    queue: Arc<dyn Publish>,
    seconds: Histogram,
    waiting: Gauge,
}

impl Publisher {
    /// Publishes to `queue`.
    #[must_use]
    pub fn new(queue: Arc<dyn Publish>) -> Self {
        let (seconds, waiting) =
            (metrics::histogram!(metric::PUBLISH_SECONDS), metrics::gauge!(metric::PUBLISHING));
        Self { queue, seconds, waiting }
    }

    /// Returns when the queue has confirmed `message`, or failed to.
    pub fn publish(&self, message: Message) -> impl Future<Output = Result<(), PublishError>> {
        self.measure(self.queue.publish(message))
    }

    /// Returns when the queue has confirmed every one of `messages`, or the first failed. All have one deadline.
    pub async fn publish_all(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let published = try_join_all(messages.into_iter().map(|message| self.queue.publish(message)));
        self.measure(published).await.map(drop)
    }

    async fn measure<T>(&self, published: impl Future<Output = T>) -> T {
        let (begun, _waits) = (Instant::now(), Counted::new(&self.waiting));
        let published = published.await;
        self.seconds.record(begun.elapsed());
        published
    }
}

/// Counts somebody who waits, also when they stop waiting: the future of a request whose client has gone is dropped.
struct Counted<'g>(&'g Gauge);

impl<'g> Counted<'g> {
    fn new(gauge: &'g Gauge) -> Self {
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;

    use futures_util::{FutureExt, future::BoxFuture};

    use super::*;

    /// Keeps what was published, or answers with an error.
    #[derive(Default)]
    pub(crate) struct Recorder {
        pub(crate) published: Mutex<Vec<Message>>,
        pub(crate) error: Option<PublishError>,
        /// How many messages are confirmed before each that meets the error.
        pub(crate) confirmed_between: usize,
    }

    impl Publish for Recorder {
        fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
            let mut published = self.published.lock().unwrap();
            published.push(message);
            let fails = published.len().is_multiple_of(self.confirmed_between + 1);
            let answer = self.error.clone().filter(|_| fails).map_or(Ok(()), Err);
            std::future::ready(answer).boxed()
        }

        fn publish_patiently(&self, message: Message) -> BoxFuture<'_, Result<(), PublishError>> {
            self.publish(message)
        }
    }
}
