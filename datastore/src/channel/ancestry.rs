//! How a head descends from an earlier one, out of the history runs in storage.

use std::collections::BTreeMap;

use tidings_core::{Frontier, NodeIndex, ProofPlan, StorageHead};
use tidings_proto::{HeadNumber, QueueId};

use super::error::IndexError;
use super::index::Index;

/// A leaf of a head's history and the proof that it is there; both empty where none is needed.
#[derive(Debug, Default)]
pub(super) struct Descent {
    pub(super) leaf: Vec<u8>,
    pub(super) proof: Vec<[u8; 32]>,
}

/// The history of one verified head, folded: enough to go on from it and to prove that later heads descend from it.
#[derive(Clone, Debug)]
pub(super) struct Ancestry {
    frontier: Frontier,
    /// The complete subtrees that the leaves fall into, from the left.
    peaks: Vec<(NodeIndex, [u8; 32])>,
}

type Nodes = BTreeMap<NodeIndex, Option<[u8; 32]>>;

impl Ancestry {
    /// Leaf 0 alone: the history of the first head.
    fn start(queue: &QueueId) -> Self {
        let (frontier, rows) = Frontier::start(queue);
        Self { frontier, peaks: rows }
    }

    fn append(&mut self, leaf: &[u8; 32], wanted: &mut Nodes) {
        let merged = self.frontier.leaves().trailing_ones() as usize;
        self.peaks.truncate(self.peaks.len().saturating_sub(merged));
        let rows = self.frontier.append(leaf);
        rows.iter().for_each(|(node, hash)| note(wanted, node, hash));
        self.peaks.extend(rows.last());
    }

    /// Goes on to the history of `view`, noting the rows of `wanted`. Reads only runs with leaves that are not folded in yet.
    async fn go_on(&mut self, index: &Index, view: &StorageHead, wanted: &mut Nodes) -> Result<(), IndexError> {
        self.peaks.iter().for_each(|(node, hash)| note(wanted, node, hash));
        for run in &view.history {
            if run.last.value() < self.frontier.leaves() {
                continue;
            }
            // Leaf n is the head with number n.
            let hashes = index.run(run).await?;
            let known = self.frontier.leaves().saturating_sub(run.first.value());
            hashes.iter().skip(known as usize).for_each(|hash| self.append(hash, wanted));
        }
        let head = view.head.head();
        // Hashes of a storage's own making end here: the owner signed the root over all of them.
        if self.frontier.leaves() != head.number.value() || self.frontier.root() != head.history_root {
            return Err(IndexError::Contradiction("the history is not the one that the head signs"));
        }
        Ok(())
    }
}

/// Shows that `view` descends from the head with number `base`. `ancestry` is what an earlier call left, of an earlier head.
pub(super) async fn descent(
    index: &Index,
    view: &StorageHead,
    base: HeadNumber,
    ancestry: &mut Option<Ancestry>,
) -> Result<Descent, IndexError> {
    let number = view.head.head().number;
    if base >= number {
        return Ok(Descent::default());
    }
    if base.next() == Some(number) {
        return Ok(Descent { leaf: view.head.head().previous.bytes().to_vec(), proof: Vec::new() });
    }
    // What is folded in already cannot be looked into again.
    let known = ancestry.take().filter(|ancestry| ancestry.frontier.leaves() <= base.value());
    if let Some(folded) = known {
        match fold(index, view, base, folded, ancestry).await {
            // Perhaps it is the history of a branch that was left.
            Err(IndexError::Contradiction(_)) => {}
            outcome => return outcome,
        }
    }
    fold(index, view, base, Ancestry::start(index.queue()), ancestry).await
}

/// The same, going on from what is folded in.
async fn fold(
    index: &Index,
    view: &StorageHead,
    base: HeadNumber,
    mut folded: Ancestry,
    ancestry: &mut Option<Ancestry>,
) -> Result<Descent, IndexError> {
    let number = view.head.head().number;
    let plan = ProofPlan::new(base.value(), number.value()).ok_or(IndexError::Contradiction("a history is too long"))?;
    let leaf = NodeIndex::leaf(base.value());
    let mut wanted: Nodes = plan.nodes().iter().chain([&leaf]).map(|node| (*node, None)).collect();
    if base == HeadNumber::ZERO {
        note(&mut wanted, &leaf, index.queue().bytes());
    }
    folded.go_on(index, view, &mut wanted).await?;
    *ancestry = Some(folded);
    assemble(&plan, &leaf, &wanted).ok_or(IndexError::Contradiction("the history has a gap"))
}

fn assemble(plan: &ProofPlan, leaf: &NodeIndex, found: &Nodes) -> Option<Descent> {
    let hash = |node: &NodeIndex| found.get(node).copied().flatten();
    let rows: Vec<_> = plan.nodes().iter().map(hash).collect::<Option<_>>()?;
    Some(Descent { leaf: hash(leaf)?.to_vec(), proof: plan.assemble(&rows)? })
}

fn note(wanted: &mut Nodes, node: &NodeIndex, hash: &[u8; 32]) {
    if let Some(found) = wanted.get_mut(node) {
        *found = Some(*hash);
    }
}
