//! Every length, count and rate a peer controls has its cap here. [P-19]
//!
//! Lengths are bytes, counts are items. Exceeding a cap is answered with a numbered refusal.

/// Longest frame before a key was proven.
pub const FRAME_BYTES_MAX_UNPROVEN: usize = 4 * 1024;
/// Longest frame of any kind.
pub const FRAME_BYTES_MAX: usize = 9 * 1024 * 1024;
/// Entries in one publish.
pub const PUBLISH_ENTRIES_MAX: usize = 4_096;
/// Sum of the encoded entries of one publish.
pub const PUBLISH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Purged offsets named by one publish.
pub const PUBLISH_PURGED_MAX: usize = 65_536;
/// Access rows changed by one publish.
pub const PUBLISH_ACCESS_MAX: usize = 2_048;
/// Sum of the attachments of one publish.
pub const PUBLISH_ATTACHMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One encoded entry.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;
/// One signed head.
pub const HEAD_BYTES_MAX: usize = 4 * 1024;
/// One attachment: a grant or an owner's copy.
pub const ATTACHMENT_BYTES_MAX: usize = 16 * 1024;
/// One encoded access row.
pub const ACCESS_ROW_BYTES_MAX: usize = 256;
/// One signed acknowledgement or receipt.
pub const SIGNED_BYTES_MAX: usize = 512;
/// One encoded queue descriptor.
pub const DESCRIPTOR_BYTES_MAX: usize = 256;
/// Epochs a head may list.
pub const HEAD_EPOCHS_MAX: usize = 64;
/// Readers of one queue.
pub const READERS_MAX: usize = 1_024;
/// Inline value of a mutation.
pub const INLINE_BYTES_MAX: usize = 4 * 1024;
/// Record path.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Headers of one mutation, names and values together.
pub const HEADER_BYTES_MAX: usize = 1_024;
/// Headers of one mutation.
pub const HEADERS_MAX: usize = 16;
/// Content type and storage name in an object reference.
pub const REFERENCE_TEXT_BYTES_MAX: usize = 255;
/// Entries in one chunk of a delta.
pub const CHUNK_ENTRIES_MAX: usize = 1_024;
/// Sum of the encoded entries of one chunk, but one entry always fits.
pub const CHUNK_BYTES_MAX: usize = 256 * 1024;
/// Serialized bitmap in one frame.
pub const BITMAP_BYTES_MAX: usize = 1024 * 1024;
/// Hashes in one inclusion proof: the height of a tree of 2^64 leaves.
pub const PROOF_HASHES_MAX: usize = 64;
/// Publishes of one stream that wait for their receipts.
pub const PUBLISHES_IN_FLIGHT_MAX: usize = 64;
/// Keys proven on one connection.
pub const PROOFS_PER_CONNECTION_MAX: usize = 256;
/// Streams open at once on one connection after a proof.
pub const STREAMS_PER_CONNECTION_MAX: usize = 256;
/// Text in a refusal or a hello.
pub const TEXT_BYTES_MAX: usize = 512;
/// Addresses in one invitation.
pub const ADDRESSES_MAX: usize = 16;
/// One broker address as text.
pub const ADDRESS_BYTES_MAX: usize = 512;
/// One storage locator as text.
pub const LOCATOR_BYTES_MAX: usize = 512;
/// Value of a record in storage.
pub const OBJECT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Head hashes in one part of a transfer.
pub const TRANSFER_HISTORY_MAX: usize = 4_096;
/// Serialized bitmap in one part of a transfer: small, since a few bytes of it can stand for many offsets.
pub const TRANSFER_LIVE_BYTES_MAX: usize = 128 * 1024;
/// Entries that one transfer may bring, in all its parts.
pub const TRANSFER_ENTRIES_MAX: usize = 1_000_000;
/// Head hashes that an owner takes of one queue when it recovers it: 512 MiB.
pub const RECOVERY_HISTORY_MAX: usize = 1 << 24;
/// Sum of the encoded entries that an owner takes of one queue when it recovers it: they are held in memory.
pub const RECOVERY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Name a person gives to a node.
pub const NAME_BYTES_MAX: usize = 64;
/// Head object of a queue in storage.
pub const STORAGE_HEAD_BYTES_MAX: usize = 1024 * 1024;
/// Segments that a head object in storage names.
pub const STORAGE_SEGMENTS_MAX: usize = 8_192;
/// Runs of head hashes that a head object in storage names.
pub const STORAGE_RUNS_MAX: usize = 4_096;
/// One segment of live entries in storage.
pub const STORAGE_SEGMENT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bitmap of all live offsets of a queue in storage.
pub const STORAGE_LIVE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Head hashes in one run in storage.
pub const STORAGE_RUN_HASHES_MAX: usize = 65_536;
/// Access rows and attachments of a queue in storage: every reader's grant and owner's copy at their longest.
pub const STORAGE_ACCESS_BYTES_MAX: usize = 2 * READERS_MAX * (ATTACHMENT_BYTES_MAX + ACCESS_ROW_BYTES_MAX);
