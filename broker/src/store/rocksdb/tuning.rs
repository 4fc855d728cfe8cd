//! How the database lies in memory and on the disk. No row, no promise and nothing of the log's format depends on it.

use ::rocksdb::{BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, LogLevel, Options, SliceTransform};

use super::keys::{Column, PREFIX_BYTES};
use super::open::Settings;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What a broker runs with is the default; why, in `docs/performance.md`, with what else was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// What waits in memory to be written to tables, all column families together; bytes.
    pub buffers_bytes_max: usize,
    /// Of that, what entries may take before they become a table; bytes.
    pub entries_buffer_bytes: usize,
    /// The same for each other column family.
    pub column_buffer_bytes: usize,
    /// Above this, column families that are rarely written are flushed, so that their log files can go; bytes. What a start reads again
    /// is bounded by it.
    pub log_bytes_max: u64,
    /// Tables that overlap each other before they are merged down.
    pub overlapping_tables: u8,
    /// Threads for flushes and compactions.
    pub background_threads: u8,
    /// A table is due for compaction if so many deletions (second) are among so many rows (first) in sequence. Replacing alone must not
    /// make it due: what replaces leaves as many deletions as rows, and each table would be merged into all that is live.
    pub deletions_due: Option<(u32, u32)>,
    /// Entries of at least so many bytes lie in files of their own, so that no compaction copies them.
    pub separate_entries_bytes: Option<u32>,
    /// Filters also in the last level: they take memory, and spare a read only for a key that is nowhere.
    pub last_level_filters: bool,
    /// Whether the database counts what it does, for [`RocksStore::figures`](super::RocksStore::figures). Costs some time in each call.
    pub counts: bool,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            buffers_bytes_max: 64 * MIB,
            entries_buffer_bytes: 16 * MIB,
            column_buffer_bytes: 4 * MIB,
            log_bytes_max: 64 * MIB as u64,
            overlapping_tables: 4,
            background_threads: 2,
            deletions_due: Some((131_072, 98_304)),
            separate_entries_bytes: None,
            last_level_filters: true,
            counts: false,
        }
    }
}

impl Tuning {
    pub(super) fn database(&self, settings: &Settings) -> Options {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        // A record cut short at the end was never acknowledged and is dropped; anything else that does not read is named. The
        // default would drop, without a word, all that was acknowledged after a damaged place.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_track_and_verify_wals_in_manifest(true);
        options.set_max_open_files(i32::from(settings.open_files_max));
        options.set_db_write_buffer_size(self.buffers_bytes_max);
        options.set_max_total_wal_size(self.log_bytes_max);
        options.set_max_background_jobs(i32::from(self.background_threads));
        options.set_bytes_per_sync(MIB as u64);
        options.set_wal_bytes_per_sync(MIB as u64 / 2);
        options.set_log_level(LogLevel::Warn);
        options.set_max_log_file_size(MIB);
        options.set_keep_log_file_num(4);
        if self.counts {
            options.enable_statistics();
        }
        options
    }

    pub(super) fn column(&self, column: Option<Column>, cache: &Cache) -> Options {
        let is_entries = column == Some(Column::Entries);
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(cache);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        blocks.set_bloom_filter(10.0, false);
        blocks.set_block_size(if is_entries { 16 * KIB } else { 4 * KIB });
        let mut options = Options::default();
        options.set_block_based_table_factory(&blocks);
        // Ciphertext, digests and keys: nothing here gets smaller.
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(if is_entries { self.entries_buffer_bytes } else { self.column_buffer_bytes });
        options.set_level_zero_file_num_compaction_trigger(i32::from(self.overlapping_tables));
        options.set_optimize_filters_for_hits(!self.last_level_filters);
        if column.is_some_and(Column::prefixed) {
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(PREFIX_BYTES));
            options.set_memtable_prefix_bloom_ratio(0.1);
        }
        if let Some((rows, deletions)) = self.deletions_due.filter(|_| column.is_some_and(Column::retires)) {
            options.add_compact_on_deletion_collector_factory(rows as usize, deletions as usize, 0.0);
        }
        if let Some(bytes) = self.separate_entries_bytes.filter(|_| is_entries) {
            options.set_enable_blob_files(true);
            options.set_min_blob_size(bytes.into());
            options.set_enable_blob_gc(true);
        }
        options
    }
}
