//! What a broker keeps, behind one trait at the level of operations.
//!
//! Data in, data out: no operation takes a closure or hands out a transaction, each is atomic and safe to repeat, so a
//! store across a network fits as well as an embedded one. Which promises hold on a disk: `docs/storage.md`.

mod chain;
pub mod conformance;
mod error;
pub mod faulty;
pub mod memory;
mod removed;
#[cfg(feature = "rocksdb")]
pub mod rocksdb;
mod rows;
mod snapshot;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

pub use error::{AFTER_DAMAGE, Cause, StoreError};
pub use faulty::{Fault, Faults, FaultyStore};
pub use memory::MemoryStore;
pub use removed::REMOVED_MAX;
#[cfg(feature = "rocksdb")]
pub use rocksdb::{Condition, Done, Figures, OpenError, RocksStore, Settings, Tuning};
pub use rows::{Acked, Append, Branch, LiveRow, QueueRow, Scan, ScanLimit, Staged};
pub use snapshot::Snapshot;

/// Keeps queues durably.
///
/// Calls block; a caller on an async runtime moves them to a thread that may. Reads may run at any time beside a write and
/// see either nothing or all of it. Answers to a list of keys come in the order of the list, one for each.
pub trait Store: Send + Sync + 'static {
    /// The row of a queue, or `None` if it is new here.
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError>;

    /// Applies a group of publishes in order, all or none; when this answers `Ok`, they are durable. [P-7]
    ///
    /// Each append names the head it continues, so appends of one queue chain, also within the group. A head that already
    /// stands is skipped, with all that lead to it in this group: repeating a group whose outcome was unknown is safe.
    ///
    /// # Errors
    /// `Conflict` for the first append that continues another head than the one that stands; `Damaged` if a queue of the group
    /// cannot be read; `Unavailable` and `Poisoned`: nothing changed in any queue. `Indeterminate`: all of it or none of it
    /// happened.
    fn append(&self, group: &[Append]) -> Result<(), StoreError>;

    /// Writes ahead what a later append names in `staged`, so that no single write has to hold it all. No read sees it, and it
    /// need not be synced: the append that names it syncs it too, and after a crash before that some of it may be gone. Repeating it
    /// is safe. Appends that do not name it go on as if it were not there. [P-10]
    ///
    /// # Errors
    /// `Conflict` if another head stands than the expected one, or an entry for the branch that stands is not above it: nothing changed.
    /// `Indeterminate`: some of it may be there; unstage.
    fn stage(&self, staged: &Staged) -> Result<(), StoreError>;

    /// Forgets what was staged in a queue, for either branch, and never named, also before the process started: the first step of
    /// staging. Not synced. History of the branch that stands may stay; it is overwritten before anything asks for it.
    ///
    /// # Errors
    /// `Indeterminate`: some of it may be gone.
    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError>;

    /// The live rows of these births.
    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError>;

    /// The live rows at these offsets.
    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError>;

    /// Live entries after an offset, ascending, with the head of the same snapshot; `None` if there is no such queue. [P-9]
    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError>;

    /// The live offsets up to and including `through`, and the scan after `through`, from one snapshot; `None` if there is no
    /// such queue. [P-9]
    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError>;

    /// Hashes of complete subtrees of the queue's history. A node outside the history of the head that stands may hold a hash that
    /// was staged and never named: ask only for nodes that the frontier covers.
    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError>;

    /// The encoded access row of one reader. [P-17]
    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError>;

    /// All access rows of a queue, ascending by pseudonym.
    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError>;

    /// Whether this reader had an access row that was removed and not put again. Of each queue the newest [`REMOVED_MAX`] are
    /// remembered; two are as old as each other if one publish removed both. [P-17]
    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError>;

    /// A grant or owner's copy by its hash.
    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError>;

    /// Keeps acknowledgements, durably when this answers `Ok`; of each reader of each queue only the one with the highest rank.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged` and `Poisoned`: nothing changed. `Indeterminate`: all of it or none of it happened.
    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError>;

    /// The queue as it is at this moment, readable until it is dropped however the queue moves on; `None` if there is no such queue.
    /// While one is held, what it shows takes room on the disk even if it was replaced: hold it for minutes, not for days. [P-5]
    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError>;

    /// Hears that what it gave of a queue contradicts itself, though all of it could be read, so that its operator is told. Nothing
    /// changes, and by default nobody is told. Does not block.
    fn contradicted(&self, _queue: &QueueId, _detail: &str) {}

    /// The newest signed acknowledgement of each reader that sent one, ascending by pseudonym.
    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError>;
}
