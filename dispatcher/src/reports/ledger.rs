//! What is known of the parts that were sent: their names at the provider, and how far each is. Memory of one process.

use std::collections::{HashMap, VecDeque};

use shared::{
    message::{BackendName, Identity, MessageId},
    report::{Reference, Report, State},
};

use crate::apps::DeliveryReport;

/// The most parts that are remembered, each of one recipient: about 40 MiB.
const CAPACITY: usize = 100_000;

/// A part of a message's text, for all its recipients.
type Text = (MessageId, u16);

/// What is known.
#[derive(Default)]
pub(super) struct Ledger {
    texts: HashMap<Text, Vec<Recipient>>,
    /// The texts by the provider's name of one of their parts.
    by_external_id: HashMap<(BackendName, String), Text>,
    /// The oldest first.
    order: VecDeque<Text>,
    /// How many recipients all texts have.
    size: usize,
}

/// Who gets a text, and how far that is.
struct Recipient {
    place: Option<usize>,
    identity: Option<Identity>,
    external_id: Option<(BackendName, String)>,
    state: State,
}

/// What a report tells.
pub(super) enum Finding {
    /// Something new.
    New(DeliveryReport),
    /// What was told before.
    Repeat,
    /// What was true before something that was told already.
    Late,
    /// Nobody knows what about.
    Unmatched,
}

impl Ledger {
    /// What `report` tells, after all that was entered.
    pub(super) fn find(&self, report: &Report) -> Finding {
        let Some(reference) = self.reference(report) else { return Finding::Unmatched };
        let known = self.recipient(reference, report);
        match known.map(|recipient| recipient.state) {
            Some(state) if state == report.state => return Finding::Repeat,
            Some(state) if !state.leads_to(report.state) => return Finding::Late,
            // A name of ours that is not remembered is from before the start: we gave it to the provider.
            Some(_) | None => {}
        }
        Finding::New(DeliveryReport {
            id: report.id,
            accepted_at: report.accepted_at,
            message_id: reference.message_id,
            part: reference.number,
            backend: report.backend.clone(),
            identity: known
                .and_then(|recipient| recipient.identity.clone())
                .or_else(|| report.identity.clone()),
            external_id: report.external_id.clone(),
            state: report.state,
            detail: report.detail.clone(),
        })
    }

    /// Remembers what the apps were told because of `report`.
    pub(super) fn enter(&mut self, report: &Report, told: &DeliveryReport) {
        let text = (told.message_id, told.part);
        let place = self.reference(report).and_then(|reference| reference.place);
        let external_id = report.external_id.clone().map(|id| (report.backend.clone(), id));
        if let Some(name) = &external_id {
            self.by_external_id.insert(name.clone(), text);
        }
        if !self.texts.contains_key(&text) {
            self.order.push_back(text);
        }
        let recipients = self.texts.entry(text).or_default();
        if let Some(known) = position(recipients, place, report) {
            let recipient = &mut recipients[known];
            recipient.state = report.state;
            recipient.external_id = external_id.or_else(|| recipient.external_id.take());
        } else {
            let (identity, state) = (told.identity.clone(), report.state);
            recipients.push(Recipient { place, identity, external_id, state });
            self.size += 1;
        }
        self.forget(CAPACITY);
    }

    fn forget(&mut self, capacity: usize) {
        while self.size > capacity {
            let Some(recipients) = self.order.pop_front().and_then(|text| self.texts.remove(&text)) else {
                return;
            };
            self.size -= recipients.len();
            for name in recipients.into_iter().filter_map(|recipient| recipient.external_id) {
                self.by_external_id.remove(&name);
            }
        }
    }

    /// The part that `report` is about: by our name of it, or by the provider's.
    fn reference(&self, report: &Report) -> Option<Reference> {
        if let Some(name) = &report.reference {
            return name.parse().ok();
        }
        let name = (report.backend.clone(), report.external_id.clone()?);
        let (message_id, number) = *self.by_external_id.get(&name)?;
        let recipients = self.texts.get(&(message_id, number))?;
        let named = recipients.iter().find(|recipient| recipient.external_id.as_ref() == Some(&name));
        Some(Reference { message_id, number, place: named.and_then(|recipient| recipient.place) })
    }

    fn recipient(&self, reference: Reference, report: &Report) -> Option<&Recipient> {
        let recipients = self.texts.get(&(reference.message_id, reference.number))?;
        position(recipients, reference.place, report).map(|known| &recipients[known])
    }
}

/// Which of `recipients` is meant: the one at `place`, or, where a call had several, the one of that number.
fn position(recipients: &[Recipient], place: Option<usize>, report: &Report) -> Option<usize> {
    if place.is_some() {
        return recipients.iter().position(|recipient| recipient.place == place);
    }
    recipients.iter().position(|recipient| match (&recipient.identity, &report.identity) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    })
}

/// Whether two spellings are one number: providers add or take away the `+`.
fn same(one: &Identity, other: &Identity) -> bool {
    let bare = |identity: &Identity| identity.as_str().trim_start_matches('+').to_owned();
    bare(one) == bare(other)
}

#[cfg(test)]
mod tests;
