//! [`Part`]: one provider call of a message, and the pairs of identity and number that it stands for.

use std::sync::Arc;

use shared::{
    message::{Identity, MessageId, OutgoingMessage},
    report::Reference,
    telemetry::Privacy,
};

/// One provider call: a text for some identities of a message.
#[derive(Clone)]
pub struct Part<'m> {
    /// The message, with whatever else an engine needs of it.
    pub message: &'m OutgoingMessage,
    /// Whose turn it is: places in the message's identities.
    places: Arc<[usize]>,
    /// Which part of the text, counted from 1.
    pub number: u16,
    /// The text of this part, which it shares with those of other identities.
    pub text: Arc<str>,
}

/// One identity of a part.
pub(crate) struct Pair<'m> {
    /// Who.
    pub(crate) identity: &'m Identity,
    /// Its place in the message's identities.
    pub(crate) place: usize,
    /// Which part of the text, counted from 1.
    pub(crate) number: u16,
    message: &'m OutgoingMessage,
}

impl Pair<'_> {
    /// The id of the call that is for it alone.
    pub(crate) fn id(&self) -> MessageId {
        id_of(self.message, &[self.place], self.number)
    }
}

impl<'m> Part<'m> {
    /// One part for each identity, with the whole text.
    #[must_use]
    pub fn for_each_identity(message: &'m OutgoingMessage) -> Vec<Self> {
        Self::batches(message, 1)
    }

    /// Parts of up to `most` identities, with the whole text.
    #[must_use]
    pub fn batches(message: &'m OutgoingMessage, most: usize) -> Vec<Self> {
        let places: Vec<usize> = (0..message.identities.len()).collect();
        let text: Arc<str> = message.text.as_str().into();
        let part =
            |places: &[usize]| Self { message, places: places.into(), number: 1, text: Arc::clone(&text) };
        places.chunks(most.max(1)).map(part).collect()
    }

    /// The same call with another text.
    #[must_use]
    pub fn with_text(&self, number: u16, text: Arc<str>) -> Self {
        Self { number, text, ..self.clone() }
    }

    /// The id of this call, the same on every attempt for the same identities: for providers that recognise repeats.
    #[must_use]
    pub fn id(&self) -> MessageId {
        id_of(self.message, &self.places, self.number)
    }

    /// What names it to its provider, for delivery reports.
    #[must_use]
    pub fn reference(&self) -> Reference {
        let place = if let [place] = self.places[..] { Some(place) } else { None };
        Reference { message_id: self.message.id, number: self.number, place }
    }

    /// Who shall get it, in the message's order.
    #[must_use]
    pub fn identities(&self) -> impl ExactSizeIterator<Item = &'m Identity> {
        self.places.iter().map(|place| &self.message.identities[*place])
    }

    /// Each identity, with what names it.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = Pair<'m>> {
        self.places.iter().map(|place| Pair {
            identity: &self.message.identities[*place],
            place: *place,
            number: self.number,
            message: self.message,
        })
    }

    /// Divides it into the identities that `is` picks and the others. A side without any is nothing.
    pub(crate) fn divide(&self, is: impl Fn(&Pair<'m>) -> bool) -> (Option<Self>, Option<Self>) {
        if self.places.len() == 1 {
            // As most are: no half has places of its own.
            let whole = Some(self.clone());
            return if self.pairs().all(|pair| is(&pair)) { (whole, None) } else { (None, whole) };
        }
        let (mut picked, mut others) = (Vec::new(), Vec::new());
        for pair in self.pairs() {
            if is(&pair) { &mut picked } else { &mut others }.push(pair.place);
        }
        let part =
            |places: Vec<usize>| (!places.is_empty()).then(|| Self { places: places.into(), ..self.clone() });
        (part(picked), part(others))
    }

    /// The identities for a log line.
    #[must_use]
    pub fn shown(&self, privacy: Privacy) -> String {
        let shown: Vec<String> =
            self.identities().map(|identity| privacy.show(identity.as_str()).to_string()).collect();
        shown.join(",")
    }
}

fn id_of(message: &OutgoingMessage, places: &[usize], number: u16) -> MessageId {
    let places: Vec<String> = places.iter().map(usize::to_string).collect();
    let call = message.id.part(&places.join("+"));
    if number == 1 { call } else { call.response(number.into()) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use shared::clock::UnixMillis;

    use super::*;

    /// A message whose id is always the same.
    pub(crate) fn message(identities: &[&str], text: &str) -> OutgoingMessage {
        OutgoingMessage {
            id: MessageId(uuid::Uuid::from_u128(7)),
            accepted_at: UnixMillis(0),
            backend: "b".parse().unwrap(),
            identities: identities.iter().map(|identity| Identity::from(*identity)).collect(),
            text: text.to_owned(),
            in_response_to: None,
            fields: BTreeMap::new(),
        }
    }

    fn identities(part: Option<&Part<'_>>) -> Vec<String> {
        part.into_iter().flat_map(Part::identities).map(|identity| identity.as_str().to_owned()).collect()
    }

    #[test]
    fn a_part_is_divided_and_its_halves_have_ids_of_their_own() {
        let message = message(&["a", "b", "c"], "x");
        let [part] = &Part::batches(&message, 5)[..] else { panic!() };
        let (picked, others) = part.divide(|pair| pair.identity.as_str() == "b");
        assert_eq!(
            (identities(picked.as_ref()), identities(others.as_ref())),
            (vec!["b".into()], vec!["a".into(), "c".into()])
        );
        let (picked, others) = (picked.unwrap(), others.unwrap());
        assert!(part.id() != picked.id() && picked.id() != others.id() && others.id() != part.id());
        assert_eq!(picked.id(), Part::for_each_identity(&message)[1].id());
        assert!(part.divide(|_| true).1.is_none() && part.divide(|_| false).0.is_none());
    }

    proptest! {
        #[test]
        fn batches_have_each_identity_once_in_order(count in 0..300_usize, most in 0..250_usize) {
            let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            let message = message(&numbers.iter().map(String::as_str).collect::<Vec<_>>(), "x");
            let parts = Part::batches(&message, most);
            let all: Vec<String> = parts.iter().flat_map(|part| identities(Some(part))).collect();
            prop_assert_eq!(all, numbers);
            prop_assert!(parts.iter().all(|part| (1..=most.max(1)).contains(&part.identities().len())));
            let again = Part::batches(&message, most);
            prop_assert!(parts.iter().map(Part::id).eq(again.iter().map(Part::id)));
        }
    }
}
