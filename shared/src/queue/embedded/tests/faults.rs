//! What happens while the file cannot be written.

use super::*;

/// A queue in a file that has room for a few messages only.
fn small(place: &Place, lifecycle: &Lifecycle) -> Embedded {
    let opened = Store::open(&place.file()).unwrap();
    opened.0.limit_pages(40);
    Embedded::start(opened, &place.file(), &settings(), &backends(), lifecycle).unwrap()
}

fn large(id: usize) -> Message {
    Message { body: vec![b'x'; 3000].into(), ..message(&id.to_string(), "outgoing.b") }
}

#[tokio::test]
async fn a_full_disk_refuses_publishers_and_still_settles() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = small(&place, &lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 100);
    let mut stored = 0;
    let refused = loop {
        match queue.publish(large(stored)).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(&refused, PublishError::Refused(text) if text.contains("full")), "{refused}");
    let check = queue.checks().remove(0);
    assert!(!check.ok && check.detail.contains("full"), "{check:?}");
    assert_eq!(usize::try_from(place.count("true")).unwrap(), stored);

    for expected in 0..stored {
        let delivery = next(&mut deliveries).await;
        assert_eq!(id(&delivery), expected.to_string());
        if expected == 0 {
            settle(delivery, retry(), Duration::from_secs(60)).await;
        } else {
            done(delivery).await;
        }
    }
    place.counts("true", 1).await;
    // Nobody publishes, and the queue finds out by itself that there is room again.
    eventually("the queue is well", || queue.checks()[0].ok).await;
    queue.publish(large(stored)).await.unwrap();
    assert_eq!(id(&next(&mut deliveries).await), stored.to_string());
}

#[tokio::test]
async fn settlements_and_publishers_of_one_transaction_have_different_fates() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = small(&place, &lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 100);
    publish(&queue, 0..10).await;
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(next(&mut deliveries).await);
    }
    let huge = Message { body: vec![b'x'; 1 << 20].into(), ..message("huge", "outgoing.b") };
    let publishing = futures_util::future::join_all((0..20).map(|_| queue.publish(huge.clone())));
    let settling = async {
        for delivery in held {
            done(delivery).await;
        }
    };
    let (refused, ()) = tokio::join!(publishing, settling);
    assert!(refused.iter().all(|answer| matches!(answer, Err(PublishError::Refused(_)))), "{refused:?}");
    place.counts("true", 0).await;
    eventually("the queue is well", || queue.checks()[0].ok).await;
}

#[tokio::test]
async fn settlements_outlive_a_file_that_cannot_be_written_at_all() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 2);
    publish(&queue, 0..2).await;
    let (first, second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    let operator = Connection::open(place.file()).unwrap();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();

    done(first).await;
    let moving = settle(second, retry(), Duration::from_secs(60));
    let publishing = async {
        let refused = queue.publish(message("2", "outgoing.b")).await;
        assert!(matches!(refused, Err(PublishError::Refused(_))), "{refused:?}");
        assert!(!queue.checks()[0].ok);
        assert_eq!(place.count("claimed = 1"), 2);
        operator.execute_batch("COMMIT").unwrap();
    };
    tokio::join!(moving, publishing);
    assert_eq!((place.count("true"), place.count("id = '1' AND delay = 60000")), (1, 1));
    eventually("the queue is well", || queue.checks()[0].ok).await;
    publish(&queue, [3]).await;
    assert_eq!(id(&next(&mut deliveries).await), "3");
}

#[tokio::test]
async fn a_stop_that_cannot_write_what_was_done_with_says_so_by_its_exit_code() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = place.open(&lifecycle);
    let mut deliveries = consume(&queue, outgoing(), 2);
    publish(&queue, [0]).await;
    let delivery = next(&mut deliveries).await;
    place.execute(
        "CREATE TRIGGER broken BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'broken disk'); END",
    );
    done(delivery).await;
    lifecycle.stop();
    queue.close().await;
    let failure = lifecycle.failure().unwrap();
    assert_eq!(failure.exit, Exit::Drain);
    assert!(failure.message.contains("broken disk; 1 messages that were done with"), "{failure}");
}

#[tokio::test]
async fn a_publish_waits_for_its_deadline_at_most() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let settings = config::Queue { publish_timeout: Duration::from_millis(50), ..settings() };
    let wait = settings.publish_wait();
    let queue = Embedded::open(&place.file(), &settings, &backends(), &lifecycle).unwrap();
    let operator = Connection::open(place.file()).unwrap();
    operator.execute_batch("BEGIN IMMEDIATE").unwrap();
    // More than there is room for: the others wait for room, and no longer than the deadline either.
    let many = futures_util::future::join_all((0..ROOM * 2).map(|i| queue.publish(large(i)))).await;
    assert!(many.iter().all(|answer| matches!(answer, Err(PublishError::Timeout(told)) if *told == wait)));
    operator.execute_batch("COMMIT").unwrap();
    let published = async || queue.publish(message("late", "outgoing.b")).await.is_ok();
    let begun = Instant::now();
    while !published().await {
        assert!(begun.elapsed() < DEADLINE, "no room again");
    }
}
