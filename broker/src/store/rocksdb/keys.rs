//! Key layout, all of it. A store over another ordered map keeps the same keys.
//!
//! Numbers are big-endian, so the order of keys is the order of numbers; ids have 32 bytes, so no separator is needed.
//!
//! | column family | key | value | read by |
//! | --- | --- | --- | --- |
//! | `default` | `format` | version of this layout, `u32` | open |
//! | `queues` | queue | [`QueueValue`](super::values::QueueValue): head, hash state of the live set, frontier | every request, once |
//! | `queues` | queue, `1` | hash state of the access list, 2 KiB; written when the list changes, not with every publish | the first publish |
//! | `entries` | branch, offset `u64` | encoded entry, verbatim | scan |
//! | `live` | branch, offset `u64` | birth `u64` | bitmap, purge |
//! | `births` | branch, birth `u64` | offset `u64`, digest, bytes `u32` of its live entry | publish; retiring reads this row alone |
//! | `history` | branch, level `u8`, index `u64` | hash of that complete subtree; at level 0 the leaf | proof |
//! | `access` | queue, pseudonym | encoded access row | subscription |
//! | `removed` | queue, pseudonym | term `u64`, number `u64` of the head that removed this reader | refusal |
//! | `attachments` | queue, content hash | attachment, verbatim | grant |
//! | `acknowledgements` | queue, pseudonym | term `u64`, number `u64`, signed acknowledgement; one row, overwritten | owner |
//!
//! `entries`, `live` and `births` hold live entries only: what is retired is deleted in the batch that retires it.
//!
//! Before format 3, `live` had birth, digest and bytes, `births` the offset alone, and the access list's hash state was in `queues`. Such
//! rows stay until they are written anew; their lengths tell them apart, in `queues` the version.
//!
//! *Branch* is the queue's id, and after the first time that a higher term replaced the branch that stood, the id with the number of
//! such times in it ([`branch`]). So the next branch is staged beside the one that stands, one row makes it stand, and the old one
//! goes by ranges.

use tidings_core::history::NodeIndex;
use tidings_proto::{Offset, QueueId};

/// Version of the layout. Raised with every change that an older build would read wrongly.
pub(super) const FORMAT: u32 = 3;
/// Key of the version.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// Bytes by which the rows of one queue are found together.
pub(super) const PREFIX_BYTES: usize = 32;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Meta,
    Queues,
    Entries,
    Live,
    Births,
    History,
    Access,
    Removed,
    Attachments,
    Acknowledgements,
}

impl Column {
    pub(super) const ALL: [Self; 10] = [
        Self::Meta,
        Self::Queues,
        Self::Entries,
        Self::Live,
        Self::Births,
        Self::History,
        Self::Access,
        Self::Removed,
        Self::Attachments,
        Self::Acknowledgements,
    ];

    /// Those that hold a branch: all of it goes when a higher term replaces it.
    pub(super) const BRANCHED: [Self; 4] = [Self::Entries, Self::Live, Self::Births, Self::History];

    /// Name on the disk.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Meta => "default",
            Self::Queues => "queues",
            Self::Entries => "entries",
            Self::Live => "live",
            Self::Births => "births",
            Self::History => "history",
            Self::Access => "access",
            Self::Removed => "removed",
            Self::Attachments => "attachments",
            Self::Acknowledgements => "acknowledgements",
        }
    }

    /// Whether a queue has many rows here, found by its prefix.
    pub(super) const fn prefixed(self) -> bool {
        !matches!(self, Self::Meta | Self::Queues)
    }

    /// Whether rows here are deleted in the order they came, so that a scan from the start meets the traces of those deleted.
    pub(super) const fn retires(self) -> bool {
        matches!(self, Self::Entries | Self::Live)
    }
}

/// What the rows of a queue's branch are found by, in the columns of [`Column::BRANCHED`]: the number, counted from 0, in the last
/// eight bytes of the id. Two queues would have to share the other 24, which are of a hash.
pub(super) fn branch(queue: &QueueId, number: u64) -> QueueId {
    let mut bytes = *queue.bytes();
    bytes[24..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, part)| *byte ^= part);
    QueueId::new(bytes)
}

/// Key of the access list's hash state: right behind that of the queue's row.
pub(super) fn access_state(queue: &QueueId) -> [u8; 33] {
    let mut key = [1; 33];
    key[..32].copy_from_slice(queue.bytes());
    key
}

/// Key of an offset or a birth.
pub(super) fn numbered(queue: &QueueId, number: u64) -> [u8; 40] {
    let mut key = [0; 40];
    key[..32].copy_from_slice(queue.bytes());
    key[32..].copy_from_slice(&number.to_be_bytes());
    key
}

/// Key of a row named by 32 bytes within its queue.
pub(super) fn named(queue: &QueueId, name: &[u8; 32]) -> [u8; 64] {
    let mut key = [0; 64];
    key[..32].copy_from_slice(queue.bytes());
    key[32..].copy_from_slice(name);
    key
}

/// Key of a node of the history.
pub(super) fn node(queue: &QueueId, node: NodeIndex) -> [u8; 41] {
    let mut key = [0; 41];
    key[..32].copy_from_slice(queue.bytes());
    key[32] = node.level;
    key[33..].copy_from_slice(&node.index.to_be_bytes());
    key
}

/// Above every key of the queue and below every key of the next one: longer than any key, and all ones behind the id.
pub(super) fn above(queue: &QueueId) -> [u8; 65] {
    let mut key = [0xff; 65];
    key[..32].copy_from_slice(queue.bytes());
    key
}

/// The offset in a key made by [`numbered`]; `None` if it is none.
pub(super) fn offset_of(key: &[u8]) -> Option<Offset> {
    let number = key.get(PREFIX_BYTES..)?.try_into().ok()?;
    Some(Offset::new(u64::from_be_bytes(number)))
}

/// The 32 bytes behind the queue in a key made by [`named`]; `None` if there are none.
pub(super) fn name_of(key: &[u8]) -> Option<[u8; 32]> {
    key.get(PREFIX_BYTES..)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    #[test]
    fn every_key_of_a_queue_lies_between_its_id_and_its_bound() {
        let (queue, next) = (QueueId::new([7; 32]), QueueId::new([8; 32]));
        for key in [numbered(&queue, 0).to_vec(), numbered(&queue, u64::MAX).to_vec(), named(&queue, &[0xff; 32]).to_vec()] {
            assert!(key.as_slice() >= queue.bytes().as_slice() && key.as_slice() < above(&queue).as_slice());
        }
        assert!(above(&queue).as_slice() < next.bytes().as_slice());
    }

    #[test]
    fn the_last_possible_queue_has_a_bound_too() {
        let queue = QueueId::new([0xff; 32]);
        assert!(numbered(&queue, u64::MAX).as_slice() < above(&queue).as_slice());
    }

    /// The first branch has the rows that every queue had before there were branches.
    #[test]
    fn a_branch_has_rows_of_its_own_and_the_first_one_those_of_the_queue() {
        let queue = QueueId::new([0xff; 32]);
        assert_eq!(branch(&queue, 0), queue);
        assert_eq!(branch(&queue, 0x0102).bytes()[24..], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xfd]);
    }

    /// The layout since format 1. A change here needs a new format number and a migration.
    #[test]
    fn keys_are_what_format_1_says() {
        let queue = QueueId::new([0xab; 32]);
        assert_eq!(numbered(&queue, 0x0102)[32..], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(node(&queue, NodeIndex { level: 3, index: 5 })[32..], [3, 0, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(offset_of(&numbered(&queue, 9)), Some(Offset::new(9)));
        assert_eq!(name_of(&named(&queue, &[4; 32])), Some([4; 32]));
    }

    #[test]
    fn a_key_of_any_bytes_is_read_as_it_is_made_or_not_at_all() {
        alone(concat!(module_path!(), "::a_key_of_any_bytes_is_read_as_it_is_made_or_not_at_all"), || {
            let queue = |key: &[u8]| key.first_chunk().copied().map(QueueId::new);
            let owner = QueueId::new([7; 32]);
            let keys = [numbered(&owner, 9).to_vec(), named(&owner, &[4; 32]).to_vec()];
            feed("offset in a key", Meal::LARGE, &keys[..1], |key| Some(numbered(&queue(key)?, offset_of(key)?.value()).to_vec()));
            feed("name in a key", Meal::LARGE, &keys[1..], |key| Some(named(&queue(key)?, &name_of(key)?).to_vec()));
        });
    }
}
