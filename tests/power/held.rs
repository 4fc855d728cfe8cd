//! What a broker's folder holds of the one queue in it.

use std::collections::BTreeMap;
use std::path::Path;

use tidings_broker::store::{RocksStore, Store};
use tidings_core::history::NodeIndex;
use tidings_core::{Acknowledgement, SignedHead};

/// The queue.
pub(crate) struct Held {
    /// Number of its newest head.
    pub(crate) newest: u64,
    /// Hashes of all its heads by their numbers.
    pub(crate) heads: BTreeMap<u64, String>,
    /// The highest head that a reader acknowledged.
    pub(crate) acknowledged: u64,
}

impl Held {
    /// Reads it, also beside a broker that runs. Changes nothing.
    ///
    /// # Errors
    /// What does not read, in words.
    pub(crate) fn read(data: &Path) -> Result<Self, String> {
        let store = RocksStore::open_read_only(&data.join("store")).map_err(|error| format!("{error:?}"))?;
        Self::of(&store).map_err(|error| format!("{error:?}"))
    }

    fn of(store: &RocksStore) -> Result<Self, tidings_broker::store::StoreError> {
        let mut held = Self { newest: 0, heads: BTreeMap::new(), acknowledged: 0 };
        let Some(queue) = store.queues().next().transpose()? else { return Ok(held) };
        let Some(row) = store.queue(&queue)? else { return Ok(held) };
        let head = SignedHead::parse(row.head).expect("a head");
        held.newest = head.rank().number.value();
        let leaves: Vec<_> = (1..held.newest).map(|index| NodeIndex { level: 0, index }).collect();
        for (leaf, hash) in leaves.iter().zip(store.history(&queue, &leaves)?) {
            held.heads.insert(leaf.index, data_encoding::HEXLOWER.encode(&hash.expect("the history is there")));
        }
        held.heads.insert(held.newest, data_encoding::HEXLOWER.encode(head.hash().bytes()));
        let numbers = store.acknowledgements(&queue)?.into_iter().filter_map(|(_, bytes)| Acknowledgement::verify(&bytes).ok());
        held.acknowledged = numbers.map(|acknowledgement| acknowledgement.cursor.rank.number.value()).max().unwrap_or_default();
        Ok(held)
    }
}
