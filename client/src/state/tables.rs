//! The layout of the state file.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `format` | - | layout version |
//! | `settings` | name | bytes |
//! | `own/writer` | - | encoded `Writer`, without its readers |
//! | `own/granted` | - | its readers |
//! | `own/records` | path | encoded `OwnRecord`, encoded mutation of the live entry |
//! | `own/tombstones` | offset | path |
//! | `own/entries` | offset | path, sealed entry, verbatim, of each live entry |
//! | `own/republish` | path | - (live records whose sealed entry is not kept here: they are sealed again) |
//! | `own/attachments` | hash | grants and owner's copies that the access rows name |
//! | `own/losses` | sequence | a broker that stood below its own receipt |
//! | `own/heads` | head number | encoded cursor of that head, or the hash alone of one that was recovered from elsewhere |
//! | `own/outbox` | path | sequence, encoded mutation that is not signed yet |
//! | `own/order` | sequence | path of the outbox row |
//! | `own/unreceipted` | head number | encoded publish frame |
//! | `own/receipts` | receipt key | newest signed receipt of that broker |
//! | `own/acknowledgements` | pseudonym | newest signed acknowledgement |
//! | `own/invitations` | pseudonym | invitation as one line |
//! | `own/writers` | writer id | term up to which heads of it are known to be mine or were confirmed by a person |
//! | `own/readers` | pseudonym | number of the head that made it a reader, 0 if unknown; number of the one that ended it, 0 if none did |
//! | `own/merged` | head hash | place in `own/order` of the last row that its merge put there |
//! | `own/merges` | sequence | what a merge came to |
//! | `follow/about` | queue | name, owner, addresses, verdict |
//! | `follow/reader` | queue | encoded `Reader` |
//! | `follow/held`, `follow/aside` | queue, birth | held row |
//! | `follow/held-paths`, `follow/aside-paths` | queue, path, birth | - |
//! | `follow/ending` | queue, offset, birth | - (held tombstones and quarantined rows) |
//! | `follow/staged` | queue, birth | staged row |
//! | `follow/changes` | queue, path | change that the application has not acknowledged |
//! | `follow/rewound` | queue | rewinds that the application has not confirmed |
//! | `beside` | table, key | value; rows of the layer above |

use redb::{Database, ReadTransaction, TableDefinition, WriteTransaction};

use super::{FORMAT, StateError};

pub(super) type Rows<K> = TableDefinition<'static, K, &'static [u8]>;
pub(super) type Queue = &'static [u8; 32];

pub(super) const FORMATS: TableDefinition<'static, (), u32> = TableDefinition::new("format");
pub(super) const SETTINGS: Rows<&str> = Rows::new("settings");

pub(super) const WRITER: Rows<()> = Rows::new("own/writer");
pub(super) const GRANTED: Rows<()> = Rows::new("own/granted");
pub(super) const RECORDS: Rows<&str> = Rows::new("own/records");
pub(super) const TOMBSTONES: TableDefinition<'static, u64, &str> = TableDefinition::new("own/tombstones");
pub(super) const ENTRIES: Rows<u64> = Rows::new("own/entries");
pub(super) const REPUBLISH: TableDefinition<'static, &str, ()> = TableDefinition::new("own/republish");
pub(super) const ATTACHMENTS: Rows<Queue> = Rows::new("own/attachments");
pub(super) const LOSSES: Rows<u64> = Rows::new("own/losses");
pub(super) const HEADS: Rows<u64> = Rows::new("own/heads");
pub(super) const OUTBOX: TableDefinition<'static, &str, (u64, &[u8])> = TableDefinition::new("own/outbox");
pub(super) const ORDER: TableDefinition<'static, u64, &str> = TableDefinition::new("own/order");
pub(super) const UNRECEIPTED: Rows<u64> = Rows::new("own/unreceipted");
pub(super) const RECEIPTS: Rows<Queue> = Rows::new("own/receipts");
pub(super) const ACKNOWLEDGEMENTS: Rows<Queue> = Rows::new("own/acknowledgements");
pub(super) const INVITATIONS: TableDefinition<'static, Queue, &str> = TableDefinition::new("own/invitations");
pub(super) const WRITERS: TableDefinition<'static, &[u8; 16], u64> = TableDefinition::new("own/writers");
pub(super) const READERS: TableDefinition<'static, Queue, (u64, u64)> = TableDefinition::new("own/readers");
pub(super) const MERGED: TableDefinition<'static, Queue, u64> = TableDefinition::new("own/merged");
pub(super) const MERGES: Rows<u64> = Rows::new("own/merges");

/// Rows of the layer above: table and key to value.
pub(super) const BESIDE: Rows<(&str, &[u8])> = Rows::new("beside");

pub(super) const ABOUT: Rows<Queue> = Rows::new("follow/about");
pub(super) const READER: Rows<Queue> = Rows::new("follow/reader");
pub(super) const HELD: Rows<(Queue, u64)> = Rows::new("follow/held");
pub(super) const HELD_PATHS: TableDefinition<'static, (Queue, &str, u64), ()> = TableDefinition::new("follow/held-paths");
pub(super) const ENDING: TableDefinition<'static, (Queue, u64, u64), ()> = TableDefinition::new("follow/ending");
pub(super) const STAGED: Rows<(Queue, u64)> = Rows::new("follow/staged");
pub(super) const ASIDE: Rows<(Queue, u64)> = Rows::new("follow/aside");
pub(super) const ASIDE_PATHS: TableDefinition<'static, (Queue, &str, u64), ()> = TableDefinition::new("follow/aside-paths");
pub(super) const CHANGES: Rows<(Queue, &str)> = Rows::new("follow/changes");
pub(super) const REWOUND: Rows<Queue> = Rows::new("follow/rewound");

/// Makes every table, so that a reader never meets a missing one.
pub(super) fn create(database: &Database) -> Result<(), StateError> {
    let transaction = database.begin_write()?;
    create_all(&transaction)?;
    Ok(transaction.commit()?)
}

/// Makes every table that is missing, and says that the file is of this format.
pub(super) fn create_all(transaction: &WriteTransaction) -> Result<(), StateError> {
    transaction.open_table(FORMATS)?.insert((), FORMAT)?;
    transaction.open_table(BESIDE)?;
    create_own(transaction)?;
    create_followed(transaction)
}

fn create_own(transaction: &WriteTransaction) -> Result<(), StateError> {
    transaction.open_table(SETTINGS)?;
    transaction.open_table(WRITER)?;
    transaction.open_table(GRANTED)?;
    transaction.open_table(RECORDS)?;
    transaction.open_table(TOMBSTONES)?;
    transaction.open_table(ENTRIES)?;
    transaction.open_table(REPUBLISH)?;
    transaction.open_table(ATTACHMENTS)?;
    transaction.open_table(LOSSES)?;
    transaction.open_table(HEADS)?;
    transaction.open_table(OUTBOX)?;
    transaction.open_table(ORDER)?;
    transaction.open_table(UNRECEIPTED)?;
    transaction.open_table(RECEIPTS)?;
    transaction.open_table(ACKNOWLEDGEMENTS)?;
    transaction.open_table(INVITATIONS)?;
    transaction.open_table(WRITERS)?;
    transaction.open_table(READERS)?;
    transaction.open_table(MERGED)?;
    transaction.open_table(MERGES)?;
    Ok(())
}

/// Makes again what a rebuild deleted.
pub(super) fn reopen_own(transaction: &WriteTransaction) -> Result<(), StateError> {
    create_own(transaction)
}

fn create_followed(transaction: &WriteTransaction) -> Result<(), StateError> {
    transaction.open_table(ABOUT)?;
    transaction.open_table(READER)?;
    transaction.open_table(HELD)?;
    transaction.open_table(HELD_PATHS)?;
    transaction.open_table(ENDING)?;
    transaction.open_table(STAGED)?;
    transaction.open_table(ASIDE)?;
    transaction.open_table(ASIDE_PATHS)?;
    transaction.open_table(CHANGES)?;
    transaction.open_table(REWOUND)?;
    Ok(())
}

/// The layout version of an existing file.
pub(super) fn format(transaction: &ReadTransaction) -> Result<u32, StateError> {
    let missing = || StateError::Damaged("it names no format".into());
    let formats = transaction.open_table(FORMATS).map_err(|error| match error {
        redb::TableError::TableDoesNotExist(_) => missing(),
        other => other.into(),
    })?;
    Ok(formats.get(())?.ok_or_else(missing)?.value())
}
