//! What the database holds and counts, and the work that it otherwise does in its own time: for whoever measures it.

use ::rocksdb::statistics::Ticker;

use super::keys::Column;
use super::{Cause, RocksStore, StoreError};

/// What a store holds at one moment, and what it did since it was opened. Bytes, where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Memory: rows that are in no table yet, those that a snapshot holds back among them.
    pub buffers: u64,
    /// Memory: blocks of tables, with indexes and filters.
    pub cache: u64,
    /// Of [`Self::cache`], what is in use this moment and cannot go.
    pub cache_pinned: u64,
    /// Memory: indexes and filters outside the cache.
    pub table_readers: u64,
    /// Disk: tables, those that only a snapshot still needs among them.
    pub tables: u64,
    /// Tables that may overlap each other, of the column family that has the most; a number.
    pub overlapping_tables: u64,
    /// What was done; all 0 if the store was not opened to count.
    pub done: Done,
}

/// Counted since the store was opened. Bytes, where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Written to the log.
    pub logged: u64,
    /// Written to tables out of memory.
    pub flushed: u64,
    /// Written to tables out of tables.
    pub compacted: u64,
    /// Written to files of entries alone.
    pub separated: u64,
    /// Time that writes waited for flushes and compactions; microseconds.
    pub stalled: u64,
    /// Syncs of the log; a number.
    pub syncs: u64,
    /// Rows that iterators stepped over because they were deleted or replaced; a number.
    pub skipped: u64,
    /// Blocks that were read because they were not in memory; a number.
    pub blocks: u64,
    /// Rows read by key; a number.
    pub gets: u64,
    /// Iterators placed; a number.
    pub seeks: u64,
}

impl RocksStore {
    /// What it holds and did. Reads counters in memory.
    pub fn figures(&self) -> Figures {
        Figures {
            buffers: self.sum("rocksdb.size-all-mem-tables"),
            cache: self.property(Column::Entries, "rocksdb.block-cache-usage"),
            cache_pinned: self.property(Column::Entries, "rocksdb.block-cache-pinned-usage"),
            table_readers: self.sum("rocksdb.estimate-table-readers-mem"),
            tables: self.sum("rocksdb.total-sst-files-size") + self.sum("rocksdb.total-blob-file-size"),
            overlapping_tables: Column::ALL
                .into_iter()
                .map(|column| self.property(column, "rocksdb.num-files-at-level0"))
                .max()
                .unwrap_or(0),
            done: self.done(),
        }
    }

    /// Writes to tables what is in memory. Blocks.
    ///
    /// # Errors
    /// `Unavailable`: some of it may be in tables.
    pub fn flush(&self) -> Result<(), StoreError> {
        let flush = |column| self.db.flush_cf(self.column(column));
        Column::ALL.into_iter().try_for_each(flush).map_err(|error| StoreError::Unavailable(Cause::new(error.into_string())))
    }

    /// Merges all tables, so that nothing is left of what was deleted. Blocks, for as long as it takes to write them all again.
    pub fn compact(&self) {
        for column in Column::ALL {
            self.db.compact_range_cf(self.column(column), None::<&[u8]>, None::<&[u8]>);
        }
    }

    fn done(&self) -> Done {
        let Some(counted) = &self.counted else { return Done::default() };
        let of = |ticker| counted.get_ticker_count(ticker);
        Done {
            logged: of(Ticker::WalFileBytes),
            flushed: of(Ticker::FlushWriteBytes),
            compacted: of(Ticker::CompactWriteBytes),
            separated: of(Ticker::BlobDbBlobFileBytesWritten),
            stalled: of(Ticker::StallMicros),
            syncs: of(Ticker::WalFileSynced),
            skipped: of(Ticker::NumberIterSkip),
            blocks: of(Ticker::BlockCacheMiss),
            gets: of(Ticker::NumberKeysRead) + of(Ticker::NumberMultigetKeysRead),
            seeks: of(Ticker::NumberDbSeek),
        }
    }

    fn sum(&self, name: &str) -> u64 {
        Column::ALL.into_iter().map(|column| self.property(column, name)).sum()
    }

    fn property(&self, column: Column, name: &str) -> u64 {
        self.db.property_int_value_cf(self.column(column), name).ok().flatten().unwrap_or(0)
    }
}
