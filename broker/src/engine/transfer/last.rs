//! The last part of a transfer: the head and the whole access list, by themselves.

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::{Object, QueueDescriptor, SetHash, SetKind, SignedHead};
use tidings_proto::{Refusal, RefusalCode, caps};

use super::{invalid, malformed};
use crate::engine::publish::undecodable;

/// A head with the access list that it signs; the signature was verified.
#[derive(Clone, Debug)]
pub struct LastPart {
    pub(super) head: SignedHead,
    pub(super) rows: Vec<(AccessRow, Bytes)>,
    pub(super) access: SetHash,
}

impl LastPart {
    /// Checks what needs no queue: structure, signature, and that these rows are the list that the head signs. [P-17]
    ///
    /// # Errors
    /// `Malformed`, `TooNew`, `TooLarge`, `BadSignature` or `Invalid`.
    pub fn check(descriptor: &QueueDescriptor, head: Bytes, rows: Vec<Bytes>) -> Result<Self, Refusal> {
        let head = SignedHead::parse(head).map_err(undecodable)?;
        if head.head().queue != descriptor.id() {
            return Err(invalid("the head is of another queue than the stream"));
        }
        if rows.len() > caps::READERS_MAX {
            return Err(Refusal::new(RefusalCode::TooLarge, format!("at most {} readers are taken", caps::READERS_MAX)));
        }
        head.verify(&descriptor.signing_key)
            .map_err(|_| Refusal::new(RefusalCode::BadSignature, "the head is not signed by the queue's key"))?;
        let parse = |bytes: Bytes| Ok((AccessRow::decode(&bytes).map_err(undecodable)?, bytes));
        let rows = rows.into_iter().map(parse).collect::<Result<Vec<_>, Refusal>>()?;
        if !rows.is_sorted_by(|(a, _), (b, _)| a.pseudonym < b.pseudonym) {
            return Err(malformed("the access rows do not ascend by pseudonym"));
        }
        let mut access = SetHash::new(SetKind::Access);
        rows.iter().for_each(|(_, bytes)| access.add(bytes));
        if rows.len() != head.head().access_count as usize || access.root() != head.head().access_root {
            return Err(invalid("the access list is not the one the head signs"));
        }
        Ok(Self { head, rows, access })
    }
}
