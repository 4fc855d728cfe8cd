//! What one read at one head becomes on the wire. [P-9]

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::{NodeIndex, ProofPlan, SignedHead, verify_inclusion};
use tidings_proto::frames::{Announce, Bitmap, Chunk, Reply};
use tidings_proto::{HeadNumber, Offset, caps};

use super::parts::{Part, parts};
use crate::store::Scan;

/// A scan, perhaps with the bitmap of the same snapshot, under the head it was read at.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    pub(super) head: SignedHead,
    scan: Scan,
    bitmap: Option<(RoaringTreemap, Offset)>,
}

impl Delta {
    /// Errors: the stored head does not parse.
    pub(super) fn new(scan: Scan, bitmap: Option<(RoaringTreemap, Offset)>) -> Result<Self, tidings_core::DecodeError> {
        Ok(Self { head: SignedHead::parse(scan.head.clone())?, scan, bitmap })
    }

    /// Whether the read reached the newest offset.
    pub(super) fn complete(&self) -> bool {
        self.scan.complete
    }

    /// Whether it answers a request for a bitmap.
    pub(super) fn has_bitmap(&self) -> bool {
        self.bitmap.is_some()
    }

    /// How far a reader that had all up to `position` has been streamed after this.
    pub(super) fn position_after(&self, position: Offset) -> Offset {
        let last = self.scan.entries.last().map_or(position, |(offset, _)| *offset);
        // Complete: there is nothing between the last live entry and the head's offset.
        let end = if self.scan.complete { self.head.head().offset } else { last };
        position.max(last).max(end)
    }

    /// Bitmap parts, if it has them, then the chunk.
    pub(super) fn frames(self) -> impl Iterator<Item = Reply> {
        let stamp = self.head.rank();
        let parts = self.bitmap.map_or_else(Vec::new, |(live, through)| parts(live, through, caps::BITMAP_BYTES_MAX));
        let count = parts.len();
        let bitmap =
            move |(index, Part { after, through, live })| Reply::Bitmap(Bitmap { stamp, after, through, live, last: index + 1 == count });
        let entries = self.scan.entries.into_iter().map(|(_, bytes)| bytes).collect();
        let chunk = Reply::Chunk(Chunk { stamp, entries, complete: self.scan.complete });
        parts.into_iter().enumerate().map(bitmap).chain([chunk])
    }
}

/// How a head is shown to descend from the head with number `base`.
#[derive(Clone, Debug)]
pub(super) enum Descent {
    /// It is not above the base: there is nothing to show.
    None,
    /// The base is its direct predecessor, which it names itself.
    Direct,
    /// By an inclusion proof.
    Proof(ProofPlan),
}

impl Descent {
    /// The shortest way; `None` if the history is longer than any can be.
    pub(super) fn of(head: &SignedHead, base: HeadNumber) -> Option<Self> {
        let number = head.head().number;
        if base >= number {
            return Some(Self::None);
        }
        if base.next() == Some(number) {
            return Some(Self::Direct);
        }
        ProofPlan::new(base.value(), number.value()).map(Self::Proof)
    }

    /// History nodes needed: the base's leaf, then those of the proof.
    pub(super) fn nodes(&self, base: HeadNumber) -> Vec<NodeIndex> {
        match self {
            Self::Proof(plan) => std::iter::once(NodeIndex::leaf(base.value())).chain(plan.nodes().iter().copied()).collect(),
            _ => Vec::new(),
        }
    }

    /// The announcement; `None` if the hashes are not those of this head's history. A broker that sent such a proof would
    /// look like a liar.
    pub(super) fn announce(&self, head: &SignedHead, base: HeadNumber, hashes: &[[u8; 32]]) -> Option<Announce> {
        let (leaf, proof) = match self {
            Self::None => (Bytes::new(), Vec::new()),
            Self::Direct => (Bytes::copy_from_slice(head.head().previous.bytes()), Vec::new()),
            Self::Proof(plan) => {
                let (leaf, rows) = hashes.split_first()?;
                let proof = plan.assemble(rows)?;
                let holds = verify_inclusion(&head.head().history_root, head.head().number.value(), base.value(), leaf, &proof);
                (holds.then(|| Bytes::copy_from_slice(leaf))?, proof)
            }
        };
        Some(Announce { head: head.bytes().clone(), base, leaf, proof })
    }
}
