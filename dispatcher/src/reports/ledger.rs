//! What is known of the parts that were sent: their names at the provider, and how far each is. Memory of one process.

use std::collections::{HashMap, VecDeque};

use shared::{
    message::{BackendName, Identity, MessageId},
    report::{Reference, Report, State},
};

use crate::apps::DeliveryReport;

/// The most parts that are remembered, each of one recipient: about 40 MiB.
const CAPACITY: usize = 100_000;

/// The most names that a provider has for one part of one recipient: a part that was sent again has another.
const NAMES: usize = 3;

/// A part of a message's text, for all its recipients.
type Text = (MessageId, u16);

/// What is known.
#[derive(Default)]
pub(super) struct Ledger {
    texts: HashMap<Text, Sent>,
    /// The texts by the provider's name of one of their parts.
    names: HashMap<(BackendName, String), Text>,
    /// The oldest first.
    order: VecDeque<Text>,
    /// How many recipients all texts have.
    size: usize,
}

/// A text, and through which backend it was sent.
struct Sent {
    backend: BackendName,
    recipients: Vec<Recipient>,
}

/// Who gets a text, and how far that is.
struct Recipient {
    place: Option<usize>,
    identity: Option<Identity>,
    /// What the provider calls it, the latest last.
    names: VecDeque<String>,
    /// What the apps were told last.
    told: Option<State>,
}

/// A recipient of a text.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    text: Text,
    recipient: usize,
}

/// What a report tells.
pub(super) enum Finding {
    /// Something new.
    New(DeliveryReport),
    /// What was told before.
    Repeat,
    /// What was true before something that was told already.
    Late,
}

impl Ledger {
    /// Learns from `report` who is meant and what the provider calls it, whatever becomes of the report itself. Nothing
    /// when nobody can know what it is about.
    ///
    /// A name of ours that is not remembered is from before the start: we gave it to the provider.
    pub(super) fn learn(&mut self, report: &Report) -> Option<Entry> {
        let (text, place) = self.text_of(report)?;
        if self.texts.get(&text).is_some_and(|sent| sent.backend != report.backend) {
            return None;
        }
        let sent = self.texts.entry(text).or_insert_with(|| {
            self.order.push_back(text);
            Sent { backend: report.backend.clone(), recipients: Vec::new() }
        });
        let known = position(&sent.recipients, place, report);
        let recipient = known.unwrap_or_else(|| {
            self.size += 1;
            sent.recipients.push(Recipient { place, identity: None, names: VecDeque::new(), told: None });
            sent.recipients.len() - 1
        });
        let Recipient { identity, names, .. } = &mut sent.recipients[recipient];
        // As the message has it, if we know: providers write numbers in their own way.
        if identity.is_none() || report.is_own {
            identity.clone_from(&report.identity);
        }
        if let Some(name) = report.external_id.as_ref().filter(|name| !names.contains(name)) {
            names.push_back(name.clone());
            let forgotten = if names.len() > NAMES { names.pop_front() } else { None };
            self.names.insert((report.backend.clone(), name.clone()), text);
            if let Some(name) = forgotten {
                self.forget_name(&report.backend, name, text);
            }
        }
        self.forget(CAPACITY);
        Some(Entry { text, recipient })
    }

    /// What `report` tells about `entry`.
    pub(super) fn find(&self, entry: Entry, report: &Report) -> Finding {
        let known = self.texts.get(&entry.text).and_then(|sent| sent.recipients.get(entry.recipient));
        match known.and_then(|recipient| recipient.told) {
            Some(told) if told == report.state => return Finding::Repeat,
            Some(told) if !told.leads_to(report.state) => return Finding::Late,
            Some(_) | None => {}
        }
        let (message_id, part) = entry.text;
        let identity = known.map_or(&report.identity, |recipient| &recipient.identity);
        Finding::New(DeliveryReport {
            id: report.id,
            accepted_at: report.accepted_at,
            message_id,
            part,
            backend: report.backend.clone(),
            identity: identity.clone(),
            external_id: report.external_id.clone(),
            state: report.state,
            detail: report.detail.clone(),
        })
    }

    /// Notes that the apps were told of `state`.
    pub(super) fn told(&mut self, entry: Entry, state: State) {
        let sent = self.texts.get_mut(&entry.text);
        if let Some(recipient) = sent.and_then(|sent| sent.recipients.get_mut(entry.recipient)) {
            recipient.told = Some(state);
        }
    }

    fn forget(&mut self, capacity: usize) {
        while self.size > capacity {
            let Some(text) = self.order.pop_front() else { return };
            let Some(Sent { backend, recipients }) = self.texts.remove(&text) else { return };
            self.size -= recipients.len();
            for name in recipients.into_iter().flat_map(|recipient| recipient.names) {
                self.forget_name(&backend, name, text);
            }
        }
    }

    /// A provider may have given the name to another part since.
    fn forget_name(&mut self, backend: &BackendName, name: String, text: Text) {
        let name = (backend.clone(), name);
        if self.names.get(&name) == Some(&text) {
            self.names.remove(&name);
        }
    }

    /// The text that `report` is about, and the place of the recipient: by our name of it, or by the provider's.
    fn text_of(&self, report: &Report) -> Option<(Text, Option<usize>)> {
        if let Some(name) = &report.reference {
            let Reference { message_id, number, place } = name.parse().ok()?;
            return Some(((message_id, number), place));
        }
        let name = (report.backend.clone(), report.external_id.clone()?);
        self.names.get(&name).map(|text| (*text, None))
    }
}

/// Which of `recipients` is meant: the one at `place`, or the one of the provider's name, or, where a call had several, the
/// one of that number.
fn position(recipients: &[Recipient], place: Option<usize>, report: &Report) -> Option<usize> {
    if place.is_some() {
        return recipients.iter().position(|recipient| recipient.place == place);
    }
    let is_named = |recipient: &Recipient| {
        report.reference.is_some()
            || report.external_id.as_ref().is_some_and(|name| recipient.names.contains(name))
    };
    let mut named = (0..recipients.len()).filter(|at| is_named(&recipients[*at]));
    if let (None, Some(only), None) = (&report.reference, named.next(), named.next()) {
        return Some(only);
    }
    recipients.iter().position(|recipient| {
        is_named(recipient)
            && match (&recipient.identity, &report.identity) {
                (Some(one), Some(other)) => same(one, other),
                (one, other) => one.is_none() && other.is_none(),
            }
    })
}

/// Whether two spellings are one number: providers add or take away the `+`.
fn same(one: &Identity, other: &Identity) -> bool {
    one.as_str().trim_start_matches('+') == other.as_str().trim_start_matches('+')
}

#[cfg(test)]
mod tests;
