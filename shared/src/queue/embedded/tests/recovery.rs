//! What is in the file after a process died, or a clock was set.

use std::io::Write;

use super::*;

#[tokio::test]
async fn what_was_not_settled_comes_back_in_order_one_at_a_time() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 3);
    publish(&queue, 0..6).await;
    let held = [next(&mut deliveries).await, next(&mut deliveries).await, next(&mut deliveries).await];
    let crashed = place.crashed();

    let queue = crashed.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 3);
    for before in &held {
        let again = next(&mut deliveries).await;
        assert_eq!((&again.message, again.redelivered), (&before.message, true));
        // Probation: were it the message that kills the process, it would die alone.
        assert_eq!(crashed.count("claimed = 1"), 1);
        done(again).await;
    }
    let fresh = next(&mut deliveries).await;
    assert_eq!((id(&fresh), fresh.redelivered), ("3", false));
    publish(&queue, [6]).await;
    assert!(deliveries.next().now_or_never().is_none());
    done(fresh).await;
    let more = [next(&mut deliveries).await, next(&mut deliveries).await, next(&mut deliveries).await];
    assert_eq!(more.each_ref().map(id), ["4", "5", "6"]);
}

#[tokio::test]
async fn a_message_that_kills_the_process_again_and_again_is_buried_alone() {
    let (mut place, lifecycle) = (Place::new(), Lifecycle::default());
    let mut queue = place.open(&lifecycle);
    publish(&queue, ["killer", "neighbour", "other"]).await;
    let mut deliveries = consume(&queue, outgoing(), 8);
    for life in 1..=20 {
        let delivery = next(&mut deliveries).await;
        assert_eq!((id(&delivery), delivery.redelivered), ("killer", life > 1));
        place = place.crashed();
        queue = place.open(&lifecycle);
        deliveries = consume(&queue, outgoing(), 8);
    }
    let delivery = next(&mut deliveries).await;
    assert_eq!((id(&delivery), delivery.redelivered), ("neighbour", true));
    assert_eq!(place.count("id = 'killer' AND queue = 'dead' AND headers ->> 'class' = 'crashed'"), 1);
    assert_eq!(place.count("id = 'neighbour' AND deliveries = 2"), 1);
    assert_eq!(place.count("headers ->> 'reason' LIKE 'the process died 20 times%'"), 1);
    assert_eq!(place.count("headers ->> 'traceparent' IS NULL"), 0);
}

#[tokio::test]
async fn garbage_after_the_last_commit_is_ignored() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, 0..50).await;
    let crashed = place.crashed();
    let log = crashed.0.path().join("gateway.db-wal");
    assert!(fs::metadata(&log).unwrap().len() > 0);
    fs::OpenOptions::new().append(true).open(log).unwrap().write_all(&[0x5a; 10_000]).unwrap();

    let queue = crashed.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 50);
    for expected in 0..50 {
        let delivery = next(&mut deliveries).await;
        assert_eq!((id(&delivery), delivery.redelivered), (expected.to_string().as_str(), false));
    }
}

#[tokio::test]
async fn a_retry_is_due_after_a_restart_too() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, [1]).await;
    let begun = Instant::now();
    let delay = Duration::from_millis(300);
    settle(next(&mut consume(&queue, outgoing(), 1)).await, retry(), delay).await;
    let crashed = place.crashed();
    let queue = crashed.open(&lifecycle);
    let again = next(&mut consume(&queue, outgoing(), 1)).await;
    // Two lives count on two clocks, each cut to milliseconds.
    assert!(begun.elapsed() + Duration::from_millis(5) >= delay, "{:?}", begun.elapsed());
    assert_eq!((again.message.attempts(), again.redelivered), (1, false));
}

#[tokio::test]
async fn a_clock_that_was_set_back_holds_nothing_up() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, 0..2).await;
    queue.close().await;
    place.execute("UPDATE messages SET due_at = due_at + 3600000");

    let queue = place.open(&lifecycle);
    publish(&queue, [2]).await;
    let mut deliveries = consume(&queue, outgoing(), 3);
    for expected in ["0", "1", "2"] {
        assert_eq!(id(&next(&mut deliveries).await), expected);
    }
}

#[tokio::test]
async fn messages_of_a_backend_that_was_removed_stay() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, 0..2).await;
    queue.close().await;
    let queue = Embedded::open(&place.file(), &settings(), &[], &lifecycle).unwrap();
    assert_eq!(place.count("queue = 'outgoing.b'"), 2);
    publish(&queue, [2]).await;
    assert_eq!(place.count("queue = 'unrouted'"), 1);
    queue.close().await;
    let queue = place.open(&lifecycle);
    assert_eq!(id(&next(&mut consume(&queue, outgoing(), 1)).await), "0");
}

#[tokio::test]
async fn damaged_headers_do_not_stop_the_line() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, [1]).await;
    place.execute("UPDATE messages SET headers = '{'");
    let delivery = next(&mut consume(&queue, outgoing(), 1)).await;
    assert_eq!((id(&delivery), delivery.message.headers.len()), ("1", 0));
}
