use std::{collections::BTreeSet, sync::Arc};

use futures_util::future::BoxFuture;
use proptest::prelude::*;
use shared::{
    config::backends::OnUnknown,
    message::{Identity, MessageId},
};

use super::*;
use crate::engines::{Engine, SendReceipt, part};

/// Sends to two identities in one call.
struct Pairs;

impl Engine for Pairs {
    fn plan<'m>(&self, message: &'m OutgoingMessage) -> Vec<Part<'m>> {
        Part::batches(message, 2)
    }

    fn send<'a>(&'a self, _part: &'a Part<'_>) -> BoxFuture<'a, Result<SendReceipt, SendError>> {
        Box::pin(std::future::ready(Ok(SendReceipt::default())))
    }
}

fn backend(texts: Texts) -> Backend {
    let (engine, on_unknown) = (Arc::new(Pairs), OnUnknown::DeadLetter);
    Backend { engine, rate: None, concurrency: 1, on_unknown, texts, gate: Arc::default() }
}

/// A message to the identities 1 to 4.
fn message(text: &str) -> OutgoingMessage {
    part::tests::message(&["1", "2", "3", "4"], text)
}

/// Who gets what, and as which part.
fn planned(texts: Texts, text: &str) -> Result<Vec<(String, u16, String)>, SendError> {
    let message = message(text);
    let parts = backend(texts).plan(&message)?.into_iter();
    let identities = |part: &Part<'_>| part.identities().map(Identity::as_str).collect::<Vec<_>>().join(" ");
    Ok(parts.map(|part| (identities(&part), part.number, part.text.to_string())).collect())
}

fn both(number: u16, text: &str) -> Vec<(String, u16, String)> {
    ["1 2", "3 4"].map(|pair| (pair.to_owned(), number, text.to_owned())).to_vec()
}

const SPLIT: Texts = Texts { split: true, max_parts: Some(3), substitute: false };

#[test]
fn each_call_gets_all_parts_of_the_text_before_the_next() {
    let text = ["a".repeat(153), "b".repeat(153), "c".to_owned()];
    let expected: Vec<(String, u16, String)> = ["1 2", "3 4"]
        .into_iter()
        .flat_map(|pair| (1..).zip(&text).map(|(number, text)| (pair.to_owned(), number, text.clone())))
        .collect();
    assert_eq!(planned(SPLIT, &text.concat()), Ok(expected));
}

#[test]
fn without_split_the_provider_has_the_text_as_it_is() {
    let text = "“long”".repeat(500);
    assert_eq!(planned(Texts::default(), &text), Ok(both(1, &text)));
    let short = "x".repeat(459);
    assert_eq!(planned(Texts { split: false, ..SPLIT }, &short), Ok(both(1, &short)));
}

#[test]
fn a_text_of_more_parts_than_allowed_is_refused_whoever_splits_it() {
    let reason = "the text takes 4 parts, and max_parts is 3".to_owned();
    let refused = Err(SendError::Rejected { reason, answer: String::new() });
    for split in [true, false] {
        assert_eq!(planned(Texts { split, ..SPLIT }, &"x".repeat(460)), refused);
    }
}

#[test]
fn a_text_is_counted_as_it_is_sent() {
    let substitute = Texts { substitute: true, max_parts: Some(1), split: false };
    let text = format!("“{}”", "x".repeat(150));
    assert_eq!(planned(substitute, &text), Ok(both(1, &text.replace(['“', '”'], "\""))));
    assert!(planned(Texts { substitute: false, ..substitute }, &text).is_err());
}

/// A message that was in the queue before an update goes on with the ids that the provider knows.
#[test]
fn the_first_part_has_the_id_of_the_call() {
    let ids = |texts, text: &str| -> Vec<MessageId> {
        backend(texts).plan(&message(text)).unwrap().iter().map(Part::id).collect()
    };
    let id = message("").id;
    let calls = ["0+1", "2+3"].map(|places| id.part(places));
    assert_eq!(ids(Texts::default(), "x"), calls);
    assert_eq!(ids(SPLIT, "x"), calls);
    let long = ids(SPLIT, &"x".repeat(161));
    assert_eq!([long[0], long[2]], calls);
    assert_eq!([long[1], long[3]], calls.map(|call| call.response(2)));
}

proptest! {
    #[test]
    fn everybody_gets_the_whole_text_and_no_two_parts_have_one_id(text in "[ -~“–ж👍]{0,200}") {
        let split = Texts { max_parts: Some(255), ..SPLIT };
        let message = message(&text);
        let parts = backend(split).plan(&message).unwrap();
        for identity in &message.identities {
            let theirs = parts.iter().filter(|part| part.identities().any(|it| it == identity));
            prop_assert_eq!(&theirs.clone().map(|part| part.text.as_ref()).collect::<String>(), &text);
            prop_assert!((1..).zip(theirs).all(|(number, part)| part.number == number));
        }
        let ids: BTreeSet<MessageId> = parts.iter().map(Part::id).collect();
        prop_assert_eq!(ids.len(), parts.len());
    }
}
