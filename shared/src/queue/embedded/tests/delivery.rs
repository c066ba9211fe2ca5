//! Publish, deliver, settle.

use super::*;

#[tokio::test]
async fn a_message_is_delivered_as_published_and_gone_when_done() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let published = message("1", "incoming.b");
    queue.publish(published.clone()).await.unwrap();
    let mut deliveries = consume(&queue, QueueName::Incoming, 8);
    let delivery = next(&mut deliveries).await;
    assert!(!delivery.redelivered);
    let same = &delivery.message;
    assert_eq!(same, &published);
    assert_eq!((same.published_at, &same.headers), (published.published_at, &published.headers));
    done(delivery).await;
    place.counts("true", 0).await;
    let [check] = <[Check; 1]>::try_from(queue.checks()).unwrap();
    assert!(check.ok && check.name == "queue" && check.detail.starts_with("embedded:"), "{check:?}");
    queue.close().await;
}

#[tokio::test]
async fn messages_come_in_the_order_they_were_published() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 7);
    let publishing = publish(&queue, 0..500);
    let consuming = async {
        for expected in 0..500 {
            let delivery = next(&mut deliveries).await;
            assert_eq!(id(&delivery), expected.to_string());
            done(delivery).await;
        }
    };
    tokio::join!(publishing, consuming);
    place.counts("true", 0).await;
}

#[tokio::test]
async fn publishers_and_consumers_share_transactions_and_lose_nothing() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 50);
    let publishing = futures_util::future::join_all((0..100).map(|i| publish(&queue, i * 20..(i + 1) * 20)));
    let consuming = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2000 {
            let delivery = next(&mut deliveries).await;
            assert!(seen.insert(delivery.message.id.parse::<u32>().unwrap()), "{delivery:?} came twice");
            done(delivery).await;
        }
    };
    tokio::join!(publishing, consuming);
    place.counts("true", 0).await;
}

#[tokio::test]
async fn no_more_than_the_prefetch_is_unsettled() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 3);
    publish(&queue, 0..10).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut deliveries).await);
    }
    // Claims are made in the transaction of a publish, so after this confirm the fourth would be here.
    publish(&queue, [10]).await;
    assert!(deliveries.next().now_or_never().is_none());
    assert_eq!(place.count("claimed = 1"), 3);
    done(held.remove(1)).await;
    assert_eq!(id(&next(&mut deliveries).await), "3");
    publish(&queue, [11]).await;
    assert!(deliveries.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_retry_waits_for_its_delay_keeps_the_message_and_delays_no_other() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 2);
    publish(&queue, ["first"]).await;
    let (delay, begun) = (Duration::from_millis(300), Instant::now());
    let delivery = next(&mut deliveries).await;
    let before = delivery.message.clone();
    settle(delivery, retry(), delay).await;
    assert_eq!(place.count("claimed = 0 AND delay = 300 AND queue = 'outgoing.b'"), 1);
    publish(&queue, ["second"]).await;
    let other = next(&mut deliveries).await;
    assert_eq!(id(&other), "second");
    done(other).await;
    let again = next(&mut deliveries).await;
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    assert!(!again.redelivered);
    assert_eq!(
        (id(&again), &again.message.body, &again.message.route),
        ("first", &before.body, &before.route)
    );
    assert_eq!(again.message.attempts(), 1);
    assert_eq!(again.message.headers[header::TRACEPARENT], before.headers[header::TRACEPARENT]);
    assert_eq!(again.message.published_at, before.published_at);
}

#[tokio::test]
async fn a_dead_letter_has_its_reason_and_its_route() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 1);
    publish(&queue, [1]).await;
    let disposition =
        Disposition::DeadLetter { class: "rejected", reason: "400".to_owned(), headers: Headers::new() };
    settle(next(&mut deliveries).await, disposition, Duration::ZERO).await;
    assert_eq!(place.count("queue = 'dead' AND claimed = 0 AND headers ->> 'class' = 'rejected'"), 1);
    let dead = next(&mut consume(&queue, QueueName::Dead, 1)).await;
    assert_eq!((id(&dead), dead.message.route.as_str(), dead.redelivered), ("1", "outgoing.b", false));
    assert_eq!(dead.message.headers[header::REASON], "400");
}

#[tokio::test]
async fn what_no_queue_is_bound_for_is_kept_as_unrouted() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    queue.publish(message("1", "outgoing.unknown")).await.unwrap();
    let delivery = next(&mut consume(&queue, QueueName::Unrouted, 1)).await;
    assert_eq!(delivery.message.route, "outgoing.unknown");
}

#[tokio::test]
async fn each_queue_has_its_own_consumer() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let names = [QueueName::Incoming, QueueName::Reports, outgoing()];
    let streams = queue.consume(names.map(|name| (name, Prefetch::fixed(1))).into());
    for (mut stream, route) in streams.into_iter().zip(["submit.b", "report.b", "outgoing.b"]) {
        queue.publish(message(route, route)).await.unwrap();
        assert_eq!(id(&next(&mut stream).await), route);
    }
}

#[tokio::test]
async fn what_a_consumer_that_is_gone_did_not_take_is_for_the_next() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    drop(consume(&queue, outgoing(), 4));
    publish(&queue, 0..3).await;
    place.counts("claimed = 0 AND deliveries = 0", 3).await;
    let delivery = next(&mut consume(&queue, outgoing(), 4)).await;
    assert_eq!((id(&delivery), delivery.redelivered), ("0", false));
}
