//! A message as AMQP properties and headers, and back.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, LongString, ShortString},
};

use super::super::{Headers, Message};
use crate::clock::UnixMillis;

/// AMQP's delivery mode for a message that survives the broker.
const PERSISTENT: u8 = 2;

/// The properties of `message`.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(name.as_str().into(), AMQPValue::LongString(LongString::from(value.as_str())));
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(message.id.as_str().into())
        .with_type(message.kind.as_str().into())
        .with_timestamp(message.published_at.seconds())
        .with_headers(headers)
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
        kind: text(properties.kind()),
        route: delivery.routing_key.as_str().to_owned(),
        published_at: UnixMillis(properties.timestamp().unwrap_or_default().saturating_mul(1000)),
        headers: properties.headers().as_ref().map(headers).unwrap_or_default(),
        body: Bytes::from(std::mem::take(&mut delivery.data)),
    }
}

fn headers(table: &FieldTable) -> Headers {
    let pair = |(name, value): (&ShortString, &AMQPValue)| {
        let name = name.as_str();
        let value = if name.starts_with("x-") { None } else { scalar(value) };
        Some((name.to_owned(), value?))
    };
    table.into_iter().filter_map(pair).collect()
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
            kind: "incoming.v1".to_owned(),
            route: "incoming.b".to_owned(),
            body: "{}".into(),
            published_at: UnixMillis(1_790_000_000_000),
            headers: Headers::from([
                ("history".to_owned(), "[]".to_owned()),
                ("attempts".to_owned(), "3".to_owned()),
            ]),
        };
        let mut properties = properties(&sent);
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
}
