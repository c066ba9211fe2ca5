//! Looks how many messages wait in the queues, for the page `/metrics`.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use metrics::Gauge;
use shared::{
    lifecycle::Lifecycle,
    metric,
    queue::{Queue, QueueName},
};

/// How long a look at all queues is good.
const PERIOD: Duration = Duration::from_secs(10);

/// The same when some could not be looked at, as at the start.
const SHORT_PERIOD: Duration = Duration::from_secs(1);

/// How many queues are looked at together.
const TOGETHER: usize = 8;

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Starts to look at the `consumed` queues, and at those that wait for an operator, until a stop is asked for.
pub(crate) fn start(
    queue: &Arc<dyn Queue>,
    consumed: impl Iterator<Item = QueueName>,
    lifecycle: &Lifecycle,
) {
    let (queue, stopping) = (Arc::clone(queue), lifecycle.clone());
    let names = consumed.chain([QueueName::Dead, QueueName::Unrouted]);
    let gauge =
        |name: QueueName| (metrics::gauge!(metric::QUEUE_MESSAGES, "queue" => name.to_string()), name);
    let gauges: Vec<(Gauge, QueueName)> = names.map(gauge).collect();
    lifecycle.spawn("queue depths", async move {
        tokio::select! {
            () = look_for_ever(queue.as_ref(), &gauges) => {}
            () = stopping.stopping() => {}
        }
    });
}

async fn look_for_ever(queue: &dyn Queue, gauges: &[(Gauge, QueueName)]) {
    loop {
        let looks: Vec<_> = gauges.iter().map(|(gauge, name)| look(queue, gauge, name)).collect();
        let looked = stream::iter(looks).buffer_unordered(TOGETHER);
        let all_known = looked.fold(true, async |all, known| all && known).await;
        tokio::time::sleep(if all_known { PERIOD } else { SHORT_PERIOD }).await;
    }
}

/// True when it is known. What is not must not look like what was seen before.
async fn look(queue: &dyn Queue, gauge: &Gauge, name: &QueueName) -> bool {
    let depth = tokio::time::timeout(PATIENCE, queue.depth(name)).await.ok().flatten();
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 messages")]
    gauge.set(depth.map_or(f64::NAN, |depth| depth as f64));
    depth.is_some()
}
