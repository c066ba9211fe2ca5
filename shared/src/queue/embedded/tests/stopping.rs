//! What a stop, a close and a drop do.

use super::*;

#[tokio::test]
async fn a_stop_hands_out_nothing_more_and_close_puts_back_what_was_not_settled() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 2);
    publish(&queue, 0..5).await;
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    lifecycle.stop();
    done(first).await;
    // Neither does the credit that was freed bring a delivery, nor is a consumer attached any more.
    assert!(tokio::time::timeout(DEADLINE, deliveries.next()).await.unwrap().is_none());
    let mut late = consume(&queue, outgoing(), 2);
    assert!(tokio::time::timeout(DEADLINE, late.next()).await.unwrap().is_none());
    publish(&queue, [5]).await;
    queue.close().await;
    // A receipt that outlives the queue settles nothing, and nobody waits for it.
    settle(second, retry(), Duration::ZERO).await;
    assert_eq!((place.count("true"), place.count("claimed = 0 AND deliveries = 0")), (5, 5));

    let lifecycle = Lifecycle::default();
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 5);
    for expected in ["1", "2", "3", "4", "5"] {
        let delivery = next(&mut deliveries).await;
        assert_eq!((id(&delivery), delivery.redelivered), (expected, false));
    }
}

#[tokio::test]
async fn settling_works_until_close() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 2);
    publish(&queue, 0..2).await;
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    lifecycle.stop();
    settle(first, retry(), Duration::from_secs(60)).await;
    done(second).await;
    queue.close().await;
    // The log is in the file: it can be copied alone.
    assert!(!place.0.path().join("gateway.db-wal").exists());
    assert_eq!((place.count("true"), place.count("id = '0' AND delay = 60000")), (1, 1));
}

#[tokio::test]
async fn a_closed_queue_says_so() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 1);
    queue.close().await;
    queue.close().await;
    assert!(deliveries.next().await.is_none());
    assert!(consume(&queue, outgoing(), 1).next().await.is_none());
    let refused = queue.publish(message("1", "incoming.b")).await;
    assert!(matches!(refused, Err(PublishError::Unavailable(_))), "{refused:?}");
    assert!(!queue.checks()[0].ok);
    assert!(lifecycle.failure().is_none());
}

#[tokio::test]
async fn a_queue_that_is_dropped_lets_go_of_its_file() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    publish(&queue, [1]).await;
    let delivery = next(&mut consume(&queue, outgoing(), 1)).await;
    drop(queue);
    let mut reopened = None;
    eventually("the file is free", || {
        reopened = Embedded::open(&place.file(), &settings(), &backends(), &lifecycle).ok();
        reopened.is_some()
    })
    .await;
    assert_eq!(id(&next(&mut consume(&reopened.unwrap(), outgoing(), 1)).await), id(&delivery));
}

#[tokio::test]
async fn the_thread_of_the_queue_must_not_die() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 1);
    queue.session.operations.send(Operation::Panic).unwrap();
    lifecycle.stopping().await;
    let failure = lifecycle.failure().unwrap();
    assert_eq!((failure.exit, failure.message.contains("panicked")), (Exit::Task, true));
    assert!(deliveries.next().await.is_none());
    assert!(queue.publish(message("1", "incoming.b")).await.is_err());
    queue.close().await;
}
