//! What a peer is told when the store fails.

use tidings_proto::{Refusal, RefusalCode};

use crate::store::StoreError;

/// The refusal for a store's error. It says whether the effect may have happened, and nothing about the disk underneath.
pub fn refusal_of(error: &StoreError) -> Refusal {
    let (code, detail) = match error {
        StoreError::Conflict { .. } => (RefusalCode::Conflict, "the queue stands at another head; nothing changed"),
        StoreError::Indeterminate(_) => (RefusalCode::OutcomeUnknown, "it is not known whether this was stored; repeat the same bytes"),
        StoreError::Unavailable(_) => (RefusalCode::Unavailable, "the store cannot do this now; nothing changed, repeat later"),
        StoreError::Full(_) => (RefusalCode::Unavailable, "the broker's disk is full; nothing changed, repeat later"),
        StoreError::Damaged { .. } => (RefusalCode::Damaged, "what is stored of this queue is damaged; nothing changed"),
        StoreError::Poisoned => (RefusalCode::Unavailable, "an earlier write failed and the broker must restart; nothing changed"),
    };
    Refusal::new(code, detail)
}
