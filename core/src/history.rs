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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The tree of `leaves` leaves with all rows, beside the same tree by ct-merkle.
    struct Model {
        frontier: Frontier,
        rows: HashMap<NodeIndex, [u8; 32]>,
        reference: MemoryBackedTree<Sha256, [u8; 32]>,
    }

    impl Model {
        fn new(leaves: u64) -> Self {
            let (frontier, rows) = Frontier::start(&QueueId::new(leaf(0)));
            let mut model = Self { frontier, rows: rows.into_iter().collect(), reference: MemoryBackedTree::new() };
            model.reference.push(leaf(0));
            (1..leaves).for_each(|number| model.append(number));
            model
        }

        fn append(&mut self, number: u64) {
            self.rows.extend(self.frontier.append(&leaf(number)));
            self.reference.push(leaf(number));
        }

        fn prove(&self, index: u64) -> Vec<[u8; 32]> {
            let plan = ProofPlan::new(index, self.frontier.leaves()).expect("the leaf is in the tree");
            let rows: Vec<_> = plan.nodes().iter().map(|node| self.rows[node]).collect();
            plan.assemble(&rows).expect("every row is there")
        }

        fn reference_root(&self) -> [u8; 32] {
            (*self.reference.root().as_bytes()).into()
        }

        fn verifies(&self, index: u64, leaf: &[u8; 32], proof: &[[u8; 32]]) -> bool {
            verify_inclusion(&self.frontier.root(), self.frontier.leaves(), index, leaf, proof)
        }
    }

    fn leaf(number: u64) -> [u8; 32] {
        Sha256::digest(number.to_be_bytes()).into()
    }

    #[test]
    fn roots_and_proofs_of_every_small_tree_are_those_of_rfc_6962() {
        let mut model = Model::new(1);
        for leaves in 1..=70 {
            assert_eq!(model.frontier.leaves(), leaves);
            assert_eq!(model.frontier.root(), model.reference_root());
            for index in 0..leaves {
                let proof = model.prove(index);
                assert_eq!(proof.concat(), model.reference.prove_inclusion(index as usize).as_bytes());
                assert!(model.verifies(index, &leaf(index), &proof));
            }
            model.append(leaves);
        }
    }

    #[test]
    fn a_proof_shows_its_leaf_at_its_place_under_its_root_only() {
        let model = Model::new(21);
        for index in 0..21 {
            let proof = model.prove(index);
            assert!(!model.verifies(index, &leaf(99), &proof));
            assert!((0..25).filter(|other| *other != index).all(|other| !model.verifies(other, &leaf(index), &proof)));
            assert!(!verify_inclusion(&leaf(0), 21, index, &leaf(index), &proof));
            assert!(!model.verifies(index, &leaf(index), &proof[1..]));
            assert!(!model.verifies(index, &leaf(index), &[proof.as_slice(), &[[0; 32]]].concat()));
        }
    }

    #[test]
    fn every_hash_of_a_proof_counts() {
        let model = Model::new(21);
        let proof = model.prove(5);
        for wrong in 0..proof.len() {
            let mut changed = proof.clone();
            changed[wrong][31] ^= 1;
            assert!(!model.verifies(5, &leaf(5), &changed));
        }
    }

    /// The row of a leaf answers which head had that number.
    #[test]
    fn rows_at_level_zero_are_the_leaves() {
        let model = Model::new(21);
        assert!((0..21).all(|number| model.rows[&NodeIndex::leaf(number)] == leaf(number)));
    }

    #[test]
    fn a_tree_keeps_fewer_than_two_rows_for_each_leaf() {
        assert_eq!(Model::new(64).rows.len(), 127);
    }

    #[test]
    fn no_proof_is_planned_for_a_leaf_outside_the_tree() {
        assert_eq!(ProofPlan::new(0, 0), None);
        assert_eq!(ProofPlan::new(7, 7), None);
        assert_eq!(ProofPlan::new(7, HISTORY_LEAVES_MAX + 1), None);
    }

    #[test]
    fn a_proof_needs_exactly_its_rows() {
        let plan = ProofPlan::new(3, 7).expect("the leaf is in the tree");
        assert_eq!(plan.assemble(&vec![[0; 32]; plan.nodes().len() - 1]), None);
        assert_eq!(plan.assemble(&vec![[0; 32]; plan.nodes().len() + 1]), None);
    }

    /// [P-19] A head number is a peer's to choose; ct-merkle alone panics on the largest.
    #[test]
    fn absurd_sizes_and_proofs_are_false_and_no_panic() {
        for leaves in [0, HISTORY_LEAVES_MAX - 1, HISTORY_LEAVES_MAX, HISTORY_LEAVES_MAX + 1, (1 << 63) + 1, u64::MAX] {
            for index in [0, 1, leaves / 2, leaves.saturating_sub(1), leaves, u64::MAX] {
                for hashes in [0, 1, 61, 62, 63, 64, 65, 1000] {
                    assert!(!verify_inclusion(&leaf(0), leaves, index, &leaf(1), &vec![[0; 32]; hashes]));
                }
            }
        }
    }

    #[test]
    fn the_largest_tree_is_planned_within_the_cap_of_proofs() {
        for (index, leaves) in [(0, HISTORY_LEAVES_MAX), (0, HISTORY_LEAVES_MAX - 1), (HISTORY_LEAVES_MAX - 2, HISTORY_LEAVES_MAX - 1)] {
            let plan = ProofPlan::new(index, leaves).expect("the leaf is in the tree");
            assert!(plan.parts.len() <= caps::PROOF_HASHES_MAX);
            assert!(plan.nodes().len() <= 126);
        }
    }

    #[test]
    fn a_frontier_has_one_encoding() {
        for leaves in [1, 2, 21, 64] {
            assert_one_encoding(&Model::new(leaves).frontier);
        }
        assert_every_bit_counts(&Model::new(7).frontier);
    }

    #[test]
    fn a_frontier_without_leaves_or_with_too_many_is_refused() {
        let none = [&[1u8][..], &0u64.to_be_bytes()].concat();
        let many = [&[1u8][..], &(HISTORY_LEAVES_MAX + 1).to_be_bytes(), &[0; 64]].concat();
        for bytes in [none, many] {
            assert!(matches!(Frontier::decode(&bytes), Err(DecodeError::Invalid(_))));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn roots_and_proofs_of_large_trees_are_those_of_rfc_6962(leaves in 71u64..5000, indices in prop::collection::vec(any::<prop::sample::Index>(), 20)) {
            let model = Model::new(leaves);
            prop_assert_eq!(model.frontier.root(), model.reference_root());
            for index in indices.iter().map(|index| index.index(leaves as usize) as u64) {
                let proof = model.prove(index);
                let reference = model.reference.prove_inclusion(index as usize);
                prop_assert_eq!(proof.concat(), reference.as_bytes());
                prop_assert!(model.verifies(index, &leaf(index), &proof));
                prop_assert!(!model.verifies(index, &leaf(index + 1), &proof));
            }
        }
    }
}
