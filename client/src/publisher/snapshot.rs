//! The own queue at one head, sealed as it was signed: what a broker is refilled from and what storage gets. [P-10, P-21]

use bytes::Bytes;
use redb::ReadTransaction;
use roaring::RoaringTreemap;
use tidings_core::access::AccessRow;
use tidings_core::writer::Writer;
use tidings_core::{Object, QueueDescriptor, SignedHead};
use tidings_proto::{HeadHash, HeadNumber, Offset};

use crate::state::{SealedView, State, StateError};

/// The newest signed head and everything that lives at it, whatever is signed meanwhile. The state file cannot shrink below it as
/// long as it is kept. Methods block for reads of the state file.
pub struct OwnSnapshot {
    transaction: ReadTransaction,
    head: SignedHead,
    descriptor: QueueDescriptor,
    rows: Vec<AccessRow>,
}

impl OwnSnapshot {
    /// What `writer`, whose rows are in `state`, stands at. `None` before the first head.
    pub(super) fn take(state: &State, writer: &Writer) -> Result<Option<Self>, StateError> {
        let Some(head) = writer.head().cloned() else { return Ok(None) };
        let transaction = state.snapshot()?;
        if SealedView(&transaction).live_count()? != head.head().live_count {
            return Err(StateError::Damaged("not every live entry is kept sealed".into()));
        }
        let rows = writer.readers().iter().map(|reader| reader.row).collect();
        Ok(Some(Self { transaction, head, descriptor: writer.descriptor().clone(), rows }))
    }

    /// The head.
    pub fn head(&self) -> &SignedHead {
        &self.head
    }

    /// The queue.
    pub fn descriptor(&self) -> &QueueDescriptor {
        &self.descriptor
    }

    /// Live offsets up to and including `through`, those of tombstones among them.
    pub fn live(&self, through: Offset) -> Result<RoaringTreemap, StateError> {
        let mut live = RoaringTreemap::new();
        self.view().offsets(through, |offset| {
            live.insert(offset);
        })?;
        Ok(live)
    }

    /// Live entries above `after` up to and including `through`, as they were sealed, ascending by offset: up to `bytes_max`, but at
    /// least one if there is one.
    pub fn entries(&self, after: Offset, through: Offset, bytes_max: usize) -> Result<Vec<(Offset, Bytes)>, StateError> {
        self.view().entries(after, through, bytes_max)
    }

    /// Hashes of the heads above number `after` and below this one, ascending, at most `limit`.
    pub fn history(&self, after: HeadNumber, limit: usize) -> Result<Vec<HeadHash>, StateError> {
        self.view().history(after, self.head.rank().number, limit)
    }

    /// The whole access list, encoded and ascending by pseudonym, and the attachments that its rows name, each once.
    pub fn access(&self) -> Result<(Vec<Bytes>, Vec<Bytes>), StateError> {
        let missing = || StateError::Damaged("a grant or an owner's copy is not kept".into());
        let names = self.rows.iter().flat_map(|row| [row.grant, row.owner_copy]);
        let attachments = names.map(|hash| self.view().attachment(&hash)?.ok_or_else(missing)).collect::<Result<_, _>>()?;
        Ok((self.rows.iter().map(|row| row.encode().into()).collect(), attachments))
    }

    fn view(&self) -> SealedView<'_> {
        SealedView(&self.transaction)
    }
}

impl std::fmt::Debug for OwnSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnSnapshot({})", self.head.rank())
    }
}
