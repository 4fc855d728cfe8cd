//! One queue at one moment: what is given back to its owner whole. [P-5]

use bytes::Bytes;
use tidings_core::history::NodeIndex;
use tidings_proto::{ContentHash, Offset, Pseudonym};

use super::{QueueRow, Scan, ScanLimit, StoreError};

/// A queue as [`super::Store::snapshot`] found it. Every answer is of that moment.
pub trait Snapshot {
    /// Its row.
    fn row(&self) -> &QueueRow;

    /// Live entries after an offset, ascending.
    ///
    /// # Errors
    /// Those of the store's reads, as below.
    fn scan(&self, after: Offset, limit: ScanLimit) -> Result<Scan, StoreError>;

    /// Hashes of complete subtrees of its history.
    ///
    /// # Errors
    /// Those of the store's reads.
    fn history(&self, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError>;

    /// All access rows, ascending by pseudonym.
    ///
    /// # Errors
    /// Those of the store's reads.
    fn access_list(&self) -> Result<Vec<(Pseudonym, Bytes)>, StoreError>;

    /// A grant or owner's copy by its hash.
    ///
    /// # Errors
    /// Those of the store's reads.
    fn attachment(&self, hash: &ContentHash) -> Result<Option<Bytes>, StoreError>;
}
