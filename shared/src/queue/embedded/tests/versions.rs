//! Files of every version that was ever released are opened by this one, with all their messages.

use super::*;

/// A file as version 1 has left it, killed: frozen, whatever the schema becomes.
const VERSION_1: &str = include_str!("../../../../fixtures/embedded.v1.sql");

#[tokio::test]
async fn a_file_of_version_1_is_brought_up_to_date_and_all_of_it_is_delivered() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    place.execute(VERSION_1);
    let queue = place.open(&lifecycle);
    let names = [QueueName::Incoming, outgoing(), QueueName::Dead];
    let mut streams = queue.consume(names.map(|name| (name, Prefetch::fixed(10))).into());
    let expected: [&[(&str, bool)]; 3] =
        [&[("in-1", false)], &[("out-1", true), ("out-2", false), ("out-3", false)], &[("dead-1", false)]];
    for (deliveries, expected) in streams.iter_mut().zip(expected) {
        for (expected, redelivered) in expected {
            let delivery = next(deliveries).await;
            assert_eq!((id(&delivery), delivery.redelivered), (*expected, *redelivered));
            let Message { kind, route, body, headers, published_at, .. } = &delivery.message;
            match *expected {
                "out-2" => assert_eq!(
                    (delivery.message.attempts(), headers[header::SENT].as_str()),
                    (2, r#"["0/1"]"#)
                ),
                "dead-1" => assert_eq!(headers[header::CLASS], "rejected"),
                "in-1" => assert_eq!((&**kind, route.as_str()), ("incoming.v1", "incoming.b")),
                _ => assert!(headers.is_empty()),
            }
            assert_eq!(
                (body, published_at.0),
                (&format!("{{\"n\":\"{expected}\"}}").into(), 1_790_000_000_123)
            );
            done(delivery).await;
        }
    }
    place.counts("true", 0).await;
    publish(&queue, ["new"]).await;
    assert_eq!(id(&next(&mut streams[1]).await), "new");
}
