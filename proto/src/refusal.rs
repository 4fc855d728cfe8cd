//! The numbered list of refusals: the only errors a peer ever sees. It only grows.

use bytes::Bytes;

/// Why a request was not carried out. The number travels; an unknown number is [`RefusalCode::Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCode {
    /// The bytes are not a frame or object of this protocol. Nothing changed; do not repeat.
    Malformed,
    /// A cap was exceeded. Nothing changed.
    TooLarge,
    /// An object or request of a version this peer does not know. Nothing changed. [P-20]
    TooNew,
    /// The key that this request needs was not proven on this connection. [P-18]
    NotProven,
    /// The operator does not admit this owner.
    NotAdmitted,
    /// No such queue here.
    UnknownQueue,
    /// The access list of the queue has no row for this reader; head and rows justify it. [P-17]
    Denied,
    /// A signature does not verify.
    BadSignature,
    /// The queue stands at another head than the publish continues; the head is attached. Nothing changed. [P-7]
    Conflict,
    /// The publish contradicts what the queue holds or what its head signs. Nothing changed. [P-7]
    Invalid,
    /// The queue's quota is used up and the publish would raise live bytes. Nothing changed.
    Quota,
    /// The store cannot take this now. Nothing changed; repeat later.
    Unavailable,
    /// The store did not say whether the effect happened. Repeat the same bytes.
    OutcomeUnknown,
    /// What the store holds for this queue is damaged. Other queues are served.
    Damaged,
    /// The broker is draining. Nothing changed; reconnect later.
    ShuttingDown,
    /// Too many requests. Nothing changed; repeat later.
    Busy,
    /// A number this build does not know.
    Unknown(u32),
}

impl RefusalCode {
    const NUMBERED: [(u32, Self); 16] = [
        (1, Self::Malformed),
        (2, Self::TooLarge),
        (3, Self::TooNew),
        (4, Self::NotProven),
        (5, Self::NotAdmitted),
        (6, Self::UnknownQueue),
        (7, Self::Denied),
        (8, Self::BadSignature),
        (9, Self::Conflict),
        (10, Self::Invalid),
        (11, Self::Quota),
        (12, Self::Unavailable),
        (13, Self::OutcomeUnknown),
        (14, Self::Damaged),
        (15, Self::ShuttingDown),
        (16, Self::Busy),
    ];

    /// The number that travels.
    pub fn number(self) -> u32 {
        match self {
            Self::Unknown(number) => number,
            known => Self::NUMBERED.iter().find(|(_, code)| *code == known).map_or(0, |(number, _)| *number),
        }
    }

    /// The code of a number.
    pub fn from_number(number: u32) -> Self {
        Self::NUMBERED.iter().find(|(known, _)| *known == number).map_or(Self::Unknown(number), |(_, code)| *code)
    }
}

/// A refusal with its reason in words and, where one helps, the head and access rows that justify it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// What happened, for a person. Carries no path, payload or key.
    pub detail: String,
    /// Signed head the queue stands at, verbatim; empty if none was read.
    pub head: Bytes,
    /// Access rows under that head, for [`RefusalCode::Denied`].
    pub rows: Vec<Bytes>,
}

impl Refusal {
    /// A refusal without attachments.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), head: Bytes::new(), rows: Vec::new() }
    }

    /// The same with the head the queue stands at.
    #[must_use]
    pub fn at_head(mut self, head: Bytes) -> Self {
        self.head = head;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_leads_to_its_code_and_back() {
        for number in 0..40 {
            assert_eq!(RefusalCode::from_number(number).number(), number);
        }
    }
}
