//! What an operator's tool does to letters, while the gateway runs and while it does not.

use super::*;
use crate::queue::{
    dead_letters::{Action, DeadQueue, Letter, Visit, Visited},
    routes::Routes,
};

/// The time of a visit, as it is in the headers of what it has replayed.
const BEGAN: clock::UnixMillis = clock::UnixMillis(1_790_000_000_000);

fn visit(place: &Place, dead_queue: DeadQueue, mut decide: impl FnMut(&Letter) -> Action + Send) -> Visited {
    let visit = Visit { dead_queue, began: BEGAN, decide: &mut decide };
    super::visit(&place.file(), &Routes::new(&backends()), visit).unwrap()
}

/// A queue with dead letters whose ids are their numbers.
async fn with_letters(place: &Place, lifecycle: &Lifecycle, count: usize) -> Embedded {
    let queue = place.open(lifecycle);
    publish(&queue, 0..count).await;
    place.execute(
        "UPDATE messages SET queue = 'dead', headers = json_set(headers, '$.class', 'rejected', '$.attempts', '3')",
    );
    queue
}

#[tokio::test]
async fn what_is_replayed_is_delivered_by_a_gateway_that_had_nothing_to_do() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = with_letters(&place, &lifecycle, 1300).await;
    let mut deliveries = consume(&queue, outgoing(), 64);
    let mut seen = 0;
    let visited = visit(&place, DeadQueue::Dead, |letter| {
        assert_eq!((letter.message.id.as_str(), letter.class()), (seen.to_string().as_str(), "rejected"));
        seen += 1;
        if seen % 2 == 0 { Action::Replay } else { Action::Keep }
    });
    assert_eq!((seen, visited), (1300, Visited { replayed: 650, discarded: 0 }));
    for expected in 0..650 {
        let delivery = next(&mut deliveries).await;
        let Message { id, body, headers, .. } = &delivery.message;
        assert_eq!((id, delivery.redelivered), (&(expected * 2 + 1).to_string(), false));
        assert_eq!((body, delivery.message.attempts()), (&message(id, "").body, 0));
        let header = |name| headers.get(name).map(String::as_str);
        assert_eq!((header(header::REPLAYS), header(header::CLASS)), (Some("1"), None));
        assert_eq!(
            (header(header::REPLAYED_AT), header(header::TRACEPARENT)),
            (Some("1790000000000"), Some("00-1-1-01"))
        );
        done(delivery).await;
    }
    place.counts("queue = 'dead'", 650).await;
    place.counts("true", 650).await;
}

#[tokio::test]
async fn a_letter_that_dies_again_is_not_visited_again() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    drop(with_letters(&place, &lifecycle, 600).await);
    let mut seen = 0;
    visit(&place, DeadQueue::Dead, |_| {
        seen += 1;
        // As if what the first chunk has replayed had died at once.
        if seen == 501 {
            place.execute(
                "UPDATE messages SET queue = 'dead', due_at = due_at + 60000 WHERE queue = 'outgoing.b'",
            );
        }
        Action::Replay
    });
    assert_eq!((seen, place.count("queue = 'dead'")), (600, 500));
}

#[tokio::test]
async fn letters_are_discarded_up_to_where_a_visit_ends_and_what_another_took_is_left_to_it() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    drop(with_letters(&place, &lifecycle, 10).await);
    let visited = visit(&place, DeadQueue::Dead, |letter| match letter.message.id.as_str() {
        "1" => Action::Keep,
        "4" => {
            place.execute("UPDATE messages SET queue = 'outgoing.b' WHERE id = '2'");
            Action::End
        }
        _ => Action::Discard,
    });
    assert_eq!((visited, place.count("true")), (Visited { replayed: 0, discarded: 2 }, 8));
}

#[tokio::test]
async fn the_unrouted_go_where_their_routes_lead_by_then() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = Embedded::open(&place.file(), &settings(), &[], &lifecycle).unwrap();
    publish(&queue, [1]).await;
    queue.close().await;
    assert_eq!(visit(&place, DeadQueue::Dead, |_| Action::Discard), Visited::default());
    let visited = visit(&place, DeadQueue::Unrouted, |letter| {
        assert_eq!(letter.class(), "unrouted");
        Action::Replay
    });
    assert_eq!((visited.replayed, place.count("queue = 'outgoing.b'")), (1, 1));
}

#[tokio::test]
async fn a_letter_from_the_future_is_delivered_when_it_is_replayed() {
    let (place, lifecycle) = (Place::new(), Lifecycle::default());
    let queue = with_letters(&place, &lifecycle, 1).await;
    // It died while the clock was a day ahead.
    place.execute("UPDATE messages SET due_at = due_at + 86400000");
    let mut deliveries = consume(&queue, outgoing(), 1);
    assert_eq!(visit(&place, DeadQueue::Dead, |_| Action::Replay).replayed, 1);
    assert_eq!(id(&next(&mut deliveries).await), "0");
}
