//! The tree over all heads of a queue, by which a head proves its ancestors.
//!
//! RFC 6962, section 2.1, with SHA-256. Leaf 0 is the queue id, leaf n the hash of head n; the history root in head n is
//! over the n leaves before it. The proof is checked by `ct-merkle`; made it is here, from rows that a disk holds.

use ct_merkle::{InclusionProof, RootHash};
use sha2::{Digest, Sha256};
use tidings_proto::{QueueId, caps};

use crate::codec::{DecodeError, Decoder, Encoder, Object};

/// More leaves than any queue will have, and few enough that no arithmetic on node numbers overflows.
pub const HISTORY_LEAVES_MAX: u64 = 1 << 62;

/// A complete subtree: the 2^level leaves from leaf `index << level` on.
///
/// The row kept under it is the subtree's hash; at level 0 it is the **leaf itself**, not its hash, so that the same rows
/// answer which head had a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex {
    /// Height: 0 is a leaf.
    pub level: u8,
    /// Place among the subtrees of this height, from 0.
    pub index: u64,
}

impl NodeIndex {
    /// The row of leaf `number`.
    pub const fn leaf(number: u64) -> Self {
        Self { level: 0, index: number }
    }
}

/// The right edge of the tree: enough to append to it and to know its root.
///
/// Encoded as the number of leaves and the hashes of the complete subtrees they fall into, largest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    leaves: u64,
    /// One for each bit of `leaves`, from the highest to the lowest.
    peaks: Vec<[u8; 32]>,
}

impl Frontier {
    /// The tree of leaf 0, and the row to keep for it.
    pub fn start(queue: &QueueId) -> (Self, Vec<(NodeIndex, [u8; 32])>) {
        let mut frontier = Self { leaves: 0, peaks: Vec::new() };
        let rows = frontier.append(queue.bytes());
        (frontier, rows)
    }

    /// Leaves so far; at least 1. The head whose history this is has this number.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// Appends a leaf. Returns the rows of the subtrees it completes, from the leaf upwards, for whoever makes proofs.
    pub fn append(&mut self, leaf: &[u8; 32]) -> Vec<(NodeIndex, [u8; 32])> {
        let mut rows = vec![(NodeIndex::leaf(self.leaves), *leaf)];
        let mut hash = leaf_hash(leaf);
        // One complete subtree on the left for each trailing one bit of the count.
        for level in 1..=self.leaves.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = parent_hash(&left, &hash);
                rows.push((NodeIndex { level: level as u8, index: self.leaves >> level }, hash));
            }
        }
        self.peaks.push(hash);
        self.leaves += 1;
        rows
    }

    /// Tree hash over all leaves.
    pub fn root(&self) -> [u8; 32] {
        // There is a leaf from the start on, so there is a peak.
        fold(&self.peaks).unwrap_or_default()
    }
}

impl Object for Frontier {
    const NAME: &'static str = "history frontier";

    fn write(&self, out: &mut Encoder) {
        out.u64(self.leaves);
        self.peaks.iter().for_each(|peak| out.raw(peak));
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let leaves = input.u64("leaves")?;
        if leaves == 0 || leaves > HISTORY_LEAVES_MAX {
            return Err(DecodeError::Invalid("a history has between 1 and 2^62 leaves"));
        }
        let peaks = (0..leaves.count_ones()).map(|_| input.array("peak")).collect::<Result<_, _>>()?;
        Ok(Self { leaves, peaks })
    }
}

/// Which rows make up the proof that a leaf is in the tree of the first `leaves` leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProofPlan {
    nodes: Vec<NodeIndex>,
    /// For each hash of the proof, from the leaf upwards, how many of `nodes` it is folded from.
    parts: Vec<usize>,
}

impl ProofPlan {
    /// Plans the proof for `leaf`. `None` if it is not below `leaves`, or `leaves` is above [`HISTORY_LEAVES_MAX`].
    pub fn new(leaf: u64, leaves: u64) -> Option<Self> {
        if leaf >= leaves || leaves > HISTORY_LEAVES_MAX {
            return None;
        }
        let mut siblings = Vec::new();
        let (mut start, mut size) = (0, leaves);
        while size > 1 {
            let left = 1 << (size - 1).ilog2();
            if leaf - start < left {
                siblings.push(complete_subtrees(start + left, size - left));
                size = left;
            } else {
                siblings.push(complete_subtrees(start, left));
                (start, size) = (start + left, size - left);
            }
        }
        siblings.reverse();
        Some(Self { parts: siblings.iter().map(Vec::len).collect(), nodes: siblings.concat() })
    }

    /// Rows to fetch, in the order [`Self::assemble`] takes them. At most 126.
    pub fn nodes(&self) -> &[NodeIndex] {
        &self.nodes
    }

    /// The proof, from the rows of [`Self::nodes`]. `None` if there are not as many rows as nodes.
    pub fn assemble(&self, rows: &[[u8; 32]]) -> Option<Vec<[u8; 32]>> {
        if rows.len() != self.nodes.len() {
            return None;
        }
        let hashes: Vec<_> = self.nodes.iter().zip(rows).map(|(node, row)| if node.level == 0 { leaf_hash(row) } else { *row }).collect();
        let mut rest = hashes.as_slice();
        self.parts
            .iter()
            .map(|&part| {
                let (sibling, behind) = rest.split_at_checked(part)?;
                rest = behind;
                fold(sibling)
            })
            .collect()
    }
}

/// Whether `proof` shows that `leaf` stands at `index` in the tree of `leaves` leaves with this `root`. Never panics,
/// whatever a peer sent.
pub fn verify_inclusion(root: &[u8; 32], leaves: u64, index: u64, leaf: &[u8; 32], proof: &[[u8; 32]]) -> bool {
    // ct-merkle panics on numbers near 2^63; the caps come before it. [P-19]
    if leaves > HISTORY_LEAVES_MAX || proof.len() > caps::PROOF_HASHES_MAX {
        return false;
    }
    let Ok(proof) = InclusionProof::<Sha256>::try_from_bytes(proof.concat()) else { return false };
    RootHash::new((*root).into(), leaves).verify_inclusion(leaf, index, &proof).is_ok()
}

/// The complete subtrees that `size` leaves from `start` on fall into, largest first. `start` is a multiple of the largest.
fn complete_subtrees(start: u64, size: u64) -> Vec<NodeIndex> {
    let mut subtrees = Vec::new();
    let (mut start, mut size) = (start, size);
    while let Some(level) = size.checked_ilog2() {
        subtrees.push(NodeIndex { level: level as u8, index: start >> level });
        start += 1 << level;
        size -= 1 << level;
    }
    subtrees
}

/// Hash of a row of subtrees of falling size. `None` if there are none.
fn fold(peaks: &[[u8; 32]]) -> Option<[u8; 32]> {
    peaks.iter().rev().copied().reduce(|right, left| parent_hash(&left, &right))
}

fn leaf_hash(leaf: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

fn parent_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}
