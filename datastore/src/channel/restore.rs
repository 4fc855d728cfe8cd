//! Everything of an owner's queue from nothing but its key and its storage. [P-21]

use std::sync::Arc;

use bytes::Bytes;
use tidings_client::connection::SubscriptionStream;
use tidings_core::AccessRow;
use tidings_core::reader::{HeldKind, MemoryReaderStore};
use tidings_core::{
    AccessPart, EpochSecret, Grant, Mutation, NodeKey, Object, OwnerCopy, QueueDescriptor, Reader, Rights, SignedHead, Step, StorageHead,
};
use tidings_proto::{Birth, Offset, Reply, Request, Term};

use super::dial::{StorageDial, StorageDialConfig};
use super::error::{IndexError, RestoreError};
use super::index::Index;
use crate::storage::Driver;

/// A queue as its owner signed it, verified as a reader verifies it. Holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Restored {
    /// The queue.
    pub descriptor: QueueDescriptor,
    /// The head that all of it belongs to.
    pub head: SignedHead,
    /// All live records, tombstones among them, ascending by offset.
    pub records: Vec<RestoredRecord>,
    /// All readers, ascending by pseudonym; the owner is one of them.
    pub readers: Vec<RestoredReader>,
    /// Secrets of all epochs with live entries, ascending.
    pub secrets: Vec<EpochSecret>,
    /// Where the owner said that its storage is.
    pub locator: String,
}

/// One live record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredRecord {
    /// Its pseudonym in the queue.
    pub birth: Birth,
    /// Offset of its live entry.
    pub offset: Offset,
    /// Term its live entry was signed in.
    pub term: Term,
    /// What the entry says.
    pub mutation: Mutation,
}

/// One reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredReader {
    /// Its row of the access list.
    pub row: AccessRow,
    /// Its card, seed and name.
    pub copy: OwnerCopy,
}

impl std::fmt::Debug for Restored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (records, readers) = (self.records.len(), self.readers.len());
        write!(f, "Restored({}, {records} records, {readers} readers, [secret])", self.head.rank())
    }
}

/// Rebuilds the default queue of `key` from `storage`. Nothing is written anywhere, and nothing may be signed on it before the owner
/// has compared with its brokers: the storage may be behind. [P-5]
///
/// Holds all records in memory.
///
/// # Errors
/// Nothing is given unless all of it was verified. Safe to cancel.
pub async fn restore(key: &NodeKey, storage: Arc<dyn Driver>) -> Result<Restored, RestoreError> {
    let descriptor = key.default_queue();
    let index = Index::new(storage.clone(), descriptor.id(), descriptor.signing_key);
    let view = index.view(&index.head_bytes().await?)?;
    let access: AccessPart = index.part(&view.access).await?;
    if !access.is_of(view.head.head()) {
        return Err(IndexError::Contradiction("the access list is not the one that the head signs").into());
    }
    let sealed = own_grant(&access)?;
    let grant = Grant::open(sealed, key, &descriptor)?;
    let mut store = MemoryReaderStore::default();
    let mut reader = Reader::join(descriptor.clone(), sealed, key)?;
    let dial = StorageDial::new(storage, descriptor.id(), descriptor.signing_key, StorageDialConfig::default());
    read(&dial, &mut reader, &mut store, key, &view).await?;
    Ok(Restored {
        records: records(&store)?,
        readers: readers(&access, key, &descriptor)?,
        secrets: grant.secrets.clone(),
        locator: grant.locator.clone(),
        head: view.head,
        descriptor,
    })
}

/// The owner is one of its own readers.
fn own_grant(access: &AccessPart) -> Result<&Bytes, IndexError> {
    let own = access.rows().find(|row| row.rights == Rights::Owner);
    own.and_then(|row| access.attachment(&row.grant)).ok_or(IndexError::Contradiction("the owner has no grant"))
}

/// Reads the queue at the head of `view` as every reader does, over the same frames.
async fn read(
    dial: &StorageDial,
    reader: &mut Reader,
    store: &mut MemoryReaderStore,
    key: &NodeKey,
    view: &StorageHead,
) -> Result<(), RestoreError> {
    let connection = dial.connect_at(view.encode().into()).await?;
    connection.prove(&reader.pseudonym_key()).await?;
    let subscribe = match reader.begin("the storage", store) {
        Ok(subscribe) => subscribe,
        Err(never) => match never {},
    };
    let mut stream = connection.subscribe(subscribe).await?;
    loop {
        let reply = stream.replies.receive().await?;
        if take(reply, reader, store, key, &mut stream).await? {
            return Ok(());
        }
    }
}

/// Takes one frame; true when the set is verified.
async fn take(
    reply: Reply,
    reader: &mut Reader,
    store: &mut MemoryReaderStore,
    key: &NodeKey,
    stream: &mut SubscriptionStream,
) -> Result<bool, RestoreError> {
    let step = match reply {
        Reply::Grant(grant) => reader.on_grant(&grant, key, store),
        Reply::Announce(announce) => reader.on_announce(&announce, store),
        Reply::Chunk(chunk) => reader.on_chunk(&chunk, store),
        Reply::Bitmap(part) => reader.on_bitmap(&part, store),
        Reply::Pulse(_) => return Ok(false),
        Reply::Refused(refusal) => return Err(RestoreError::NotVerified(refusal.to_string())),
        other => return Err(RestoreError::NotVerified(format!("an answer to nothing: {other:?}"))),
    };
    let step = match step {
        Ok(step) => step,
        Err(never) => match never {},
    };
    match step {
        Step::Continue => Ok(false),
        Step::AskBitmap => {
            stream.requests.send(Request::AskBitmap).await?;
            Ok(false)
        }
        Step::Accepted(_) => Ok(true),
        Step::Restart(fault) => Err(RestoreError::NotVerified(fault.to_string())),
        Step::Verdict(finding) => Err(RestoreError::NotVerified(finding.detail)),
        Step::Behind | Step::LocalDamage => Err(RestoreError::NotVerified("the storage is behind its own grant".into())),
    }
}

fn records(store: &MemoryReaderStore) -> Result<Vec<RestoredRecord>, RestoreError> {
    let unreadable = store.rows().filter(|row| row.kind == HeldKind::Quarantined).count();
    if unreadable > 0 {
        return Err(RestoreError::Unreadable(unreadable));
    }
    let mut records = Vec::new();
    for row in store.rows() {
        let mutation = Mutation::decode(&row.bytes).map_err(IndexError::from)?;
        records.push(RestoredRecord { birth: row.birth, offset: row.offset, term: row.term, mutation });
    }
    records.sort_by_key(|record| record.offset);
    Ok(records)
}

fn readers(access: &AccessPart, key: &NodeKey, descriptor: &QueueDescriptor) -> Result<Vec<RestoredReader>, RestoreError> {
    let open = |row: &AccessRow| {
        let copy = access.attachment(&row.owner_copy).ok_or(IndexError::Contradiction("an owner's copy is missing"))?;
        Ok(RestoredReader { row: *row, copy: OwnerCopy::open(copy, key, &descriptor.id())? })
    };
    access.rows().map(open).collect()
}
