//! A message as AMQP properties and headers, and back.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};

use super::{
    super::{
        Headers, Message,
        dead_letters::{DeadQueue, Letter},
        header,
    },
    topology,
};
use crate::clock::UnixMillis;

/// AMQP's delivery mode for a message that survives the broker.
const PERSISTENT: u8 = 2;

/// The body and the properties of `message`.
pub(super) fn content(message: Message) -> (Bytes, BasicProperties) {
    let Message { id, kind, body, published_at, headers, .. } = message;
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(id.into())
        .with_type(kind.into_owned().into())
        .with_timestamp(published_at.seconds())
        .with_headers(table);
    (body, properties)
}

/// The message of `delivery`. Whatever the broker added (`x-death` and the like) is left behind: a copied `x-death` makes
/// RabbitMQ 3.10 drop the message when it is published again.
pub(super) fn message(delivery: &mut Delivery) -> Message {
    let properties = &delivery.properties;
    let text = |property: &Option<ShortString>| {
        property.as_ref().map_or_else(String::new, |text| text.as_str().to_owned())
    };
    Message {
        id: text(properties.message_id()),
        kind: text(properties.kind()).into(),
        route: topology::route(delivery.routing_key.as_str()).to_owned(),
        published_at: UnixMillis(properties.timestamp().unwrap_or_default().saturating_mul(1000)),
        headers: properties.headers().as_ref().map(headers).unwrap_or_default(),
        body: Bytes::from(std::mem::take(&mut delivery.data)),
    }
}

/// How often the broker gave it to a process that did not settle it.
pub(super) fn times_given_back(delivery: &Delivery) -> i64 {
    let headers = delivery.properties.headers().as_ref();
    headers.and_then(|headers| headers.inner().get("x-delivery-count")?.as_long_long_int()).unwrap_or(0)
}

fn headers(table: &FieldTable) -> Headers {
    let pair = |(name, value): (&ShortString, &AMQPValue)| {
        let name = name.as_str();
        let value = if name.starts_with("x-") { None } else { scalar(value) };
        Some((name.to_owned(), value?))
    };
    table.into_iter().filter_map(pair).collect()
}

/// The letter of `delivery`. Where the broker has put it there by itself, `x-death` says why.
pub(super) fn letter(dead_queue: DeadQueue, delivery: &mut Delivery) -> Letter {
    let death = delivery.properties.headers().as_ref().and_then(death);
    let mut message = message(delivery);
    if dead_queue == DeadQueue::Unrouted || message.headers.contains_key(header::CLASS) {
        return Letter::new(dead_queue, message, None);
    }
    let Some(Death { queue, reason, at }) = death else {
        return Letter::new(dead_queue, message, None);
    };
    let (class, reason) = if reason == DELIVERY_LIMIT {
        (
            "crashed",
            format!("given back to {queue} too often: each process that had it died or lost its connection"),
        )
    } else {
        ("broker", format!("the broker has taken it out of {queue}: {reason}"))
    };
    message.headers.insert(header::CLASS.to_owned(), class.to_owned());
    message.headers.insert(header::REASON.to_owned(), reason);
    Letter::new(dead_queue, message, at)
}

/// The broker's word for a message that came back too often.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Why the broker has moved a message.
struct Death {
    queue: String,
    reason: String,
    at: Option<UnixMillis>,
}

/// The poison's entry of `x-death`, else the last one. A message that has climbed the ladder has one of each rung as well.
fn death(headers: &FieldTable) -> Option<Death> {
    let AMQPValue::FieldArray(entries) = headers.inner().get("x-death")? else { return None };
    let read = |entry: &AMQPValue| {
        let AMQPValue::FieldTable(entry) = entry else { return None };
        let text = |name: &str| entry.inner().get(name).and_then(scalar);
        let at = match entry.inner().get("time") {
            Some(AMQPValue::Timestamp(seconds)) => Some(UnixMillis(seconds.saturating_mul(1000))),
            _ => None,
        };
        Some(Death { queue: text("queue")?, reason: text("reason")?, at })
    };
    let mut deaths: Vec<Death> = entries.as_slice().iter().filter_map(read).collect();
    let poison = deaths.iter().position(|death| death.reason == DELIVERY_LIMIT).unwrap_or(0);
    (poison < deaths.len()).then(|| deaths.swap_remove(poison))
}

/// A header's value as text; other programs may have written numbers.
fn scalar(value: &AMQPValue) -> Option<String> {
    if let AMQPValue::LongString(text) = value {
        return String::from_utf8(text.as_bytes().to_vec()).ok();
    }
    let number = value.as_long_long_int().or_else(|| value.as_long_int().map(i64::from));
    number.map(|number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_way_and_the_brokers_headers_do_not() {
        let sent = Message {
            id: "019a0000-0000-7000-8000-000000000001".to_owned(),
            kind: "incoming.v1".into(),
            route: "incoming.b".to_owned(),
            body: "{}".into(),
            published_at: UnixMillis(1_790_000_000_000),
            headers: Headers::from([
                ("history".to_owned(), "[]".to_owned()),
                ("attempts".to_owned(), "3".to_owned()),
            ]),
        };
        let (body, mut properties) = content(sent.clone());
        assert_eq!(body, sent.body);
        assert_eq!(properties.delivery_mode(), &Some(2));
        let mut headers = properties.headers().clone().unwrap();
        headers.insert("x-death".into(), AMQPValue::LongString("copied".into()));
        headers.insert("number".into(), AMQPValue::LongInt(7));
        properties = properties.with_headers(headers);
        let mut delivery = Delivery::mock(1, "sms".into(), "incoming.b".into(), false, b"{}".to_vec());
        delivery.properties = properties;

        let mut received = message(&mut delivery);
        assert_eq!(received.headers.remove("number").as_deref(), Some("7"));
        assert_eq!(received, sent);
    }

    fn dead(deaths: &[(&str, &str)], headers: &[(&str, &str)]) -> Letter {
        let entry = |(queue, reason): &(&str, &str)| {
            let mut entry = FieldTable::default();
            entry.insert("queue".into(), AMQPValue::LongString((*queue).into()));
            entry.insert("reason".into(), AMQPValue::LongString((*reason).into()));
            entry.insert("time".into(), AMQPValue::Timestamp(1_790_000_000));
            AMQPValue::FieldTable(entry)
        };
        let mut table = FieldTable::default();
        let entries: Vec<AMQPValue> = deaths.iter().map(entry).collect();
        table.insert("x-death".into(), AMQPValue::FieldArray(entries.into()));
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut delivery = Delivery::mock(1, "sms.dead".into(), "incoming.b".into(), false, b"{}".to_vec());
        delivery.properties = BasicProperties::default().with_headers(table);
        letter(DeadQueue::Dead, &mut delivery)
    }

    #[test]
    fn what_the_broker_has_dead_lettered_is_told_as_such() {
        let crashed = dead(&[("sms.retry.5s", "expired"), ("sms.incoming", "delivery_limit")], &[]);
        assert_eq!((crashed.class(), crashed.since), ("crashed", UnixMillis(1_790_000_000_000)));
        assert!(crashed.reason().starts_with("given back to sms.incoming too often"), "{}", crashed.reason());
        assert!(!crashed.message.headers.keys().any(|name| name.starts_with("x-")));
        let other = dead(&[("sms.incoming", "maxlen"), ("sms.retry.5s", "expired")], &[]);
        assert_eq!((other.class(), other.reason().ends_with("sms.incoming: maxlen")), ("broker", true));
        let ours = dead(&[("sms.retry.5s", "expired")], &[("class", "rejected"), ("reason", "400")]);
        assert_eq!((ours.class(), ours.reason().as_str()), ("rejected", "400"));
        assert_eq!(dead(&[], &[]).class(), "other");
    }
}
