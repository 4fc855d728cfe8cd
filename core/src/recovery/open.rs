//! A recovered queue is opened by its owner. What does not open is named and never left out. [P-5]

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use tidings_proto::Epoch;

use super::{Recovered, RecoveryError};
use crate::access::{AccessRow, OwnerCopy, OwnerCopyError, Rights};
use crate::codec::DecodeError;
use crate::entry::Entry;
use crate::epoch::EpochSecret;
use crate::grant::{Grant, GrantError};
use crate::key::NodeKey;
use crate::mutation::{Mutation, Operation};
use crate::pseudonym::PseudonymKey;
use crate::seal::{OpenError, open};
use crate::writer::{Found, GrantedReader, OwnRecord, Writer};

/// What an owner goes on with.
#[derive(Clone, Debug)]
pub struct Opened {
    /// At the recovered head. It signs nothing before [`Writer::open_term`].
    pub writer: Writer,
    /// The live records, ascending by offset.
    pub records: Vec<OpenedRecord>,
    /// What readers were told last of the owner's brokers and storages.
    pub locator: String,
}

/// A live record.
#[derive(Clone, Debug)]
pub struct OpenedRecord {
    /// What the owner keeps of it. When it was signed is not known: the time of the head stands for it, which lets no tombstone end
    /// too early.
    pub record: OwnRecord,
    /// What it says.
    pub mutation: Mutation,
    /// Its encoded entry.
    pub entry: Bytes,
}

impl Recovered {
    /// Opens it with the owner's key: its own grant gives the epoch secrets, its copies the readers.
    ///
    /// # Errors
    /// [`RecoveryError::OtherOwner`], [`RecoveryError::TooNew`], or [`RecoveryError::Unreadable`] if anything of it does not open or
    /// contradicts the rest.
    pub fn open(&self, key: &NodeKey) -> Result<Opened, RecoveryError> {
        if self.descriptor.signing_key != key.verifying_key() {
            return Err(RecoveryError::OtherOwner);
        }
        let readers = self.rows.iter().map(|row| self.reader(row, key)).collect::<Result<Vec<_>, _>>()?;
        let own = own_row(&readers, key)?;
        let grant = self.own_grant(own, key)?;
        let secrets = self.secrets(&grant)?;
        let records = self.records(&secrets)?;
        let mut frontier = self.frontier.clone();
        frontier.append(self.head.hash().bytes());
        let live = |epoch: Epoch| self.entries.iter().filter(|(entry, _)| entry.epoch == epoch).count() as u64;
        let writer = Writer::found(Found {
            descriptor: self.descriptor.clone(),
            head: self.head.clone(),
            frontier,
            live: self.live.clone(),
            access: self.access.clone(),
            epochs: secrets.into_iter().map(|(epoch, secret)| (secret, live(epoch))).collect(),
            readers,
        });
        Ok(Opened { writer, records, locator: grant.locator.clone() })
    }

    fn reader(&self, row: &AccessRow, key: &NodeKey) -> Result<GrantedReader, RecoveryError> {
        let what = || format!("the copy about reader {}", row.pseudonym);
        let sealed = self.attachment(&row.owner_copy).ok_or_else(|| RecoveryError::Unreadable(what()))?;
        let copy = OwnerCopy::open(sealed, key, &self.head.head().queue).map_err(|error| match error {
            OwnerCopyError::Malformed(DecodeError::TooNew { .. }) => RecoveryError::TooNew(what()),
            _ => RecoveryError::Unreadable(what()),
        })?;
        if PseudonymKey::from_seed(&copy.seed).pseudonym() != row.pseudonym {
            return Err(RecoveryError::Unreadable(what()));
        }
        Ok(GrantedReader { row: *row, copy })
    }

    fn own_grant(&self, own: &GrantedReader, key: &NodeKey) -> Result<Grant, RecoveryError> {
        let what = || "the owner's own grant".to_owned();
        let sealed = self.attachment(&own.row.grant).ok_or_else(|| RecoveryError::Unreadable(what()))?;
        let grant = Grant::open(sealed, key, &self.descriptor).map_err(|error| match error {
            GrantError::TooNew => RecoveryError::TooNew(what()),
            _ => RecoveryError::Unreadable(what()),
        })?;
        if grant.seed == own.copy.seed { Ok(grant) } else { Err(RecoveryError::Unreadable(what())) }
    }

    /// One for each epoch that the head lists, and the one that it commits to.
    fn secrets(&self, grant: &Grant) -> Result<BTreeMap<Epoch, EpochSecret>, RecoveryError> {
        let head = self.head.head();
        let secret_of = |listed: &crate::head::EpochCommitment| {
            let secret = grant.secret(listed.epoch).filter(|secret| secret.commitment(&head.queue) == listed.commitment);
            let missing = || RecoveryError::Unreadable(format!("the secret of epoch {}", listed.epoch));
            secret.cloned().map(|secret| (listed.epoch, secret)).ok_or_else(missing)
        };
        if head.epochs.last().is_some_and(|newest| newest.epoch != head.epoch) {
            return Err(RecoveryError::Unreadable("the current epoch is not the newest".to_owned()));
        }
        head.epochs.iter().map(secret_of).collect()
    }

    fn records(&self, secrets: &BTreeMap<Epoch, EpochSecret>) -> Result<Vec<OpenedRecord>, RecoveryError> {
        let mut paths = HashSet::new();
        let mut records = Vec::with_capacity(self.entries.len());
        for (entry, bytes) in &self.entries {
            let record = self.record(entry, bytes, secrets)?;
            if !paths.insert(record.mutation.path.clone()) {
                return Err(RecoveryError::Unreadable(format!("entry {} is a second one of its record", entry.offset)));
            }
            records.push(record);
        }
        Ok(records)
    }

    fn record(&self, entry: &Entry, bytes: &Bytes, secrets: &BTreeMap<Epoch, EpochSecret>) -> Result<OpenedRecord, RecoveryError> {
        let what = || format!("entry {}", entry.offset);
        let secret = secrets.get(&entry.epoch).ok_or_else(|| RecoveryError::Unreadable(what()))?;
        let mutation = open(secret, &self.head.head().queue, entry).map_err(|error| match error {
            OpenError::TooNew => RecoveryError::TooNew(what()),
            _ => RecoveryError::Unreadable(what()),
        })?;
        let record = OwnRecord {
            path: mutation.path.clone(),
            birth: entry.birth,
            offset: entry.offset,
            digest: Entry::digest_of(bytes, &self.head.head().queue),
            epoch: entry.epoch,
            version: mutation.version,
            tombstone: mutation.operation == Operation::Delete,
            signed_at: self.head.head().time,
        };
        Ok(OpenedRecord { record, mutation, entry: bytes.clone() })
    }
}

/// The owner is one of its readers, once.
fn own_row<'a>(readers: &'a [GrantedReader], key: &NodeKey) -> Result<&'a GrantedReader, RecoveryError> {
    let mut own = readers.iter().filter(|reader| reader.row.rights == Rights::Owner);
    match (own.next(), own.next()) {
        (Some(only), None) if only.copy.card.verifying_key == key.verifying_key() => Ok(only),
        _ => Err(RecoveryError::Unreadable("the owner's own row".to_owned())),
    }
}
