//! Delivery reports: how far a provider says that a part is. [`Report`] is what is passed between the services.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock::UnixMillis,
    envelope::Payload,
    message::{BackendName, Identity, MessageId},
};

/// The namespace of the ids of reports.
const REPORTS: Uuid = Uuid::from_u128(0x2f0c_91d4_7a6e_4b1f_8d35_c27e_60ab_13f9);

/// How far a part is. Each is nearer to its end than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The provider has taken it.
    Queued,
    /// The provider has handed it to the phone network.
    Sent,
    /// The network keeps it until the phone is there.
    Buffered,
    /// The phone has it. Final.
    Delivered,
    /// Nobody will have it. Final.
    Failed,
}

impl State {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Queued, Self::Sent, Self::Buffered, Self::Delivered, Self::Failed];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Buffered => "buffered",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed)
    }

    /// Whether a part that is in this state may be in the `next`: further on, and never out of a final one.
    #[must_use]
    pub fn leads_to(self, next: Self) -> bool {
        !self.is_final() && self < next
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What names a part to its provider, which gives it back with each report: `MESSAGE.NUMBER.PLACE`.
///
/// It says all that is needed to tell the apps whose report it is, so that one is understood that comes after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The message.
    pub message_id: MessageId,
    /// Which part of the text, counted from 1.
    pub number: u16,
    /// The place of the identity in the message; nothing when one call has several.
    pub place: Option<usize>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { message_id, number, place } = self;
        write!(f, "{message_id}.{number}.")?;
        place.map_or(Ok(()), |place| write!(f, "{place}"))
    }
}

/// A text that is no [`Reference`] of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no reference of this gateway")]
pub struct ForeignReference;

impl FromStr for Reference {
    type Err = ForeignReference;

    fn from_str(written: &str) -> Result<Self, ForeignReference> {
        let mut pieces = written.split('.');
        let mut next = || pieces.next().ok_or(ForeignReference);
        let reference = Self {
            message_id: MessageId(Uuid::try_parse(next()?).map_err(|_| ForeignReference)?),
            number: next()?.parse().map_err(|_| ForeignReference)?,
            place: match next()? {
                "" => None,
                place => Some(place.parse().map_err(|_| ForeignReference)?),
            },
        };
        // Only as it is written here: two spellings would be two parts.
        if reference.to_string() == written { Ok(reference) } else { Err(ForeignReference) }
    }
}

/// A report about a part of a message, or about all of its parts that have one id at the provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Made of the rest, so that a repeat is the same report.
    pub id: MessageId,
    /// When it was accepted.
    pub accepted_at: UnixMillis,
    /// The backend whose provider reports.
    pub backend: BackendName,
    /// Which part, as the provider was told to call it: a [`Reference`], unless it is somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Which part, as the provider calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// To whom, as the provider writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// How far it is.
    pub state: State,
    /// What else the provider says: an error, its own word for the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Whether this is the gateway's own: the provider has taken the part that the reference names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_own: bool,
}

/// What a report says, before it has an id.
#[derive(Clone, PartialEq, Eq)]
pub struct Reported {
    /// Which part, as the provider was told to call it.
    pub reference: Option<String>,
    /// Which part, as the provider calls it.
    pub external_id: Option<String>,
    /// To whom.
    pub identity: Option<Identity>,
    /// How far it is.
    pub state: State,
    /// What else the provider says.
    pub detail: Option<String>,
}

impl Report {
    /// What the provider behind `backend` has reported.
    #[must_use]
    pub fn of_provider(backend: BackendName, reported: Reported, accepted_at: UnixMillis) -> Self {
        Self::new(backend, reported, accepted_at, false)
    }

    /// That the provider behind `backend` has taken a part.
    #[must_use]
    pub fn of_gateway(backend: BackendName, reported: Reported, accepted_at: UnixMillis) -> Self {
        Self::new(backend, reported, accepted_at, true)
    }

    fn new(backend: BackendName, reported: Reported, accepted_at: UnixMillis, is_own: bool) -> Self {
        let Reported { reference, external_id, identity, state, detail } = reported;
        // JSON, so that no two reports are written alike.
        let named = (&backend, &reference, &external_id, &identity, state, is_own);
        let name = serde_json::to_string(&named).unwrap_or_default();
        let id = MessageId(Uuid::new_v5(&REPORTS, name.as_bytes()));
        Self { id, accepted_at, backend, reference, external_id, identity, state, detail, is_own }
    }
}

/// Numbers and what providers say stay out of logs and panics.
impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reported").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Payload for Report {
    const TYPE: &'static str = "report.v1";

    fn id(&self) -> MessageId {
        self.id
    }

    fn accepted_at(&self) -> UnixMillis {
        self.accepted_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope;

    const V1: &str = include_str!("../fixtures/report.v1.json");

    fn reference(number: u16, place: Option<usize>) -> Reference {
        let message_id = MessageId(Uuid::from_u128(7));
        Reference { message_id, number, place }
    }

    fn reported() -> Reported {
        Reported {
            reference: Some(reference(2, Some(3)).to_string()),
            external_id: Some("SM1".to_owned()),
            identity: Some("+256700000001".into()),
            state: State::Delivered,
            detail: Some("ACK/".to_owned()),
        }
    }

    #[test]
    fn golden_report_v1_is_read_and_written_to_the_byte() {
        let report: Report = envelope::decode(V1.trim().as_bytes()).unwrap();
        let made = Report::of_provider("kannel".parse().unwrap(), reported(), UnixMillis(1_795_392_000_123));
        assert_eq!(report, made);
        assert_eq!(envelope::encode(&report), V1.trim().as_bytes());
    }

    #[test]
    fn a_repeat_is_the_same_report_and_no_other_one_is() {
        let id = |backend: &str, reported: Reported, at| {
            Report::of_provider(backend.parse().unwrap(), reported, UnixMillis(at)).id
        };
        assert_eq!(id("a", reported(), 1), id("a", Reported { detail: None, ..reported() }, 2));
        for (backend, other) in [
            ("b", reported()),
            ("a", Reported { state: State::Sent, ..reported() }),
            ("a", Reported { reference: None, ..reported() }),
            ("a", Reported { external_id: None, ..reported() }),
            ("a", Reported { identity: None, ..reported() }),
        ] {
            assert_ne!(id("a", reported(), 1), id(backend, other, 1));
        }
        let own = Report::of_gateway("a".parse().unwrap(), reported(), UnixMillis(1)).id;
        assert_ne!(own, id("a", reported(), 1));
    }

    #[test]
    fn a_state_leads_on_and_never_out_of_a_final_one() {
        use State::{Buffered, Delivered, Failed, Queued, Sent};
        for (from, to) in [(Queued, Sent), (Queued, Failed), (Sent, Buffered), (Buffered, Delivered)] {
            assert!(from.leads_to(to) && !to.leads_to(from), "{from} {to}");
        }
        assert!(State::ALL.iter().all(|state| !state.leads_to(*state)));
        assert!(!Delivered.leads_to(Failed) && !Failed.leads_to(Delivered));
    }

    #[test]
    fn a_reference_is_read_only_as_it_was_written() {
        let written = "00000000-0000-0000-0000-000000000007.2.3";
        assert_eq!(reference(2, Some(3)).to_string(), written);
        assert_eq!(written.parse(), Ok(reference(2, Some(3))));
        let several = "00000000-0000-0000-0000-000000000007.1.";
        assert_eq!(several.parse(), Ok(reference(1, None)));
        for other in [
            "",
            "7",
            "00000000-0000-0000-0000-000000000007",
            "00000000000000000000000000000007.2.3",
            "00000000-0000-0000-0000-000000000007.02.3",
            "00000000-0000-0000-0000-000000000007.2.+3",
            "00000000-0000-0000-0000-000000000007.2.3.",
            "00000000-0000-0000-0000-00000000000A.2.3",
        ] {
            assert_eq!(other.parse::<Reference>(), Err(ForeignReference), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn every_reference_survives_the_way(id: u128, number: u16, place: Option<usize>) {
            let reference = Reference { message_id: MessageId(Uuid::from_u128(id)), number, place };
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            text.parse::<Reference>().ok();
        }
    }
}
