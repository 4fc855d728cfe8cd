//! A queue at one moment, for as long as its owner takes to read it.

use bytes::Bytes;
use tidings_core::history::NodeIndex;
use tidings_proto::{ContentHash, Offset, Pseudonym, QueueId};

use super::super::{QueueRow, Scan, ScanLimit, Snapshot, StoreError};
use super::RocksStore;
use super::keys::{self, Column};
use super::read::View;

/// The view of one queue with its row.
pub(super) struct Moment<'a> {
    view: View<'a>,
    queue: QueueId,
    row: QueueRow,
}

impl<'a> Moment<'a> {
    /// `None`: there is no such queue.
    pub(super) fn of(store: &'a RocksStore, queue: &QueueId) -> Result<Option<Self>, StoreError> {
        let view = store.view(queue);
        Ok(view.value()?.map(|value| Self { view, queue: *queue, row: value.row }))
    }
}

impl Snapshot for Moment<'_> {
    fn row(&self) -> &QueueRow {
        &self.row
    }

    fn scan(&self, after: Offset, limit: ScanLimit) -> Result<Scan, StoreError> {
        self.view.scan(after, limit)?.ok_or_else(|| self.view.damaged("its row vanished from a snapshot"))
    }

    fn history(&self, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.view.history(nodes)
    }

    fn access_list(&self) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.view.access_list()
    }

    fn attachment(&self, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.view.get(Column::Attachments, &keys::named(&self.queue, hash.bytes()))
    }
}
