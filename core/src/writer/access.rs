//! Who may read: rows, grants and epochs of a publish. [P-17]

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use tidings_proto::caps::{HEAD_EPOCHS_MAX, READERS_MAX};
use tidings_proto::{Epoch, Pseudonym};

use super::{EpochInUse, Writer, WriterError};
use crate::access::{AccessRow, OwnerCopy, Rights};
use crate::card::Card;
use crate::codec::Object;
use crate::entropy::Entropy;
use crate::epoch::EpochSecret;
use crate::grant::{Grant, attachment_hash};
use crate::key::NodeKey;
use crate::pseudonym::PseudonymKey;

/// A change of access, carried whole by one publish.
#[derive(Clone, Debug, Default)]
pub struct AccessChange {
    /// Nodes that become readers.
    pub add: Vec<Invitee>,
    /// Readers that cease to be; a new epoch begins.
    pub remove: Vec<Pseudonym>,
    /// Begin a new epoch although nobody is removed.
    pub rotate: bool,
    /// Where readers find the owner's storage; part of every grant sealed now.
    pub locator: String,
}

/// A node that becomes a reader.
#[derive(Clone, Debug)]
pub struct Invitee {
    /// Its card.
    pub card: Card,
    /// What the owner calls it.
    pub name: String,
}

/// A reader that was added.
#[derive(Clone, Debug)]
pub struct Granted {
    /// Its name at the broker.
    pub pseudonym: Pseudonym,
    /// Its sealed grant, for the invitation.
    pub grant: Bytes,
}

/// What the owner keeps of one reader.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The row the broker holds.
    pub row: AccessRow,
    /// Card, pseudonym seed and name.
    pub copy: OwnerCopy,
}

/// Whether the copies about readers are sealed anew with their grants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Copies {
    Kept,
    Renewed,
}

/// What a change of access adds to a publish.
#[derive(Debug, Default)]
pub(super) struct AccessEffect {
    pub(super) put: Vec<Bytes>,
    pub(super) removed: Vec<Pseudonym>,
    pub(super) attachments: Vec<Bytes>,
    pub(super) granted: Vec<Granted>,
}

impl Writer {
    /// Applies `change` to readers, access set and epochs.
    pub(super) fn change_access(
        &mut self,
        key: &NodeKey,
        change: AccessChange,
        entropy: &mut Entropy,
    ) -> Result<AccessEffect, WriterError> {
        let mut effect = AccessEffect::default();
        let owner_joins = self.readers.is_empty();
        let rotates = change.rotate || !change.remove.is_empty() || self.keys_are_due();
        if !owner_joins && change.add.is_empty() && !rotates {
            return Ok(effect);
        }
        let mut readers = self.readers.as_ref().clone();
        self.remove_readers(&mut readers, &change.remove, &mut effect)?;
        if rotates {
            self.begin_epoch(entropy)?;
            let mut grant = self.grant_again(&change.locator);
            for reader in &mut readers {
                self.seal_again(key, reader, &mut grant, Copies::Kept, entropy, &mut effect)?;
            }
        }
        if owner_joins {
            let owner = Invitee { card: key.card(), name: String::new() };
            readers.push(self.grant_first(key, owner, Rights::Owner, &change.locator, entropy, &mut effect)?.0);
        }
        self.add_readers(key, &mut readers, change.add, &change.locator, entropy, &mut effect)?;
        if readers.len() > READERS_MAX {
            return Err(WriterError::ReadersFull);
        }
        readers.sort_by_key(|reader| reader.row.pseudonym);
        self.readers = Arc::new(readers);
        effect.sort();
        Ok(effect)
    }

    /// Seals the grants and copies of `whom` anew, under the epochs there are; all grants if a new epoch is due.
    pub(super) fn renew_access(
        &mut self,
        key: &NodeKey,
        whom: &[Pseudonym],
        locator: &str,
        entropy: &mut Entropy,
    ) -> Result<AccessEffect, WriterError> {
        let mut effect = AccessEffect::default();
        let mut readers = self.readers.as_ref().clone();
        let mut whom: BTreeSet<Pseudonym> = whom.iter().copied().collect();
        let all = self.keys_are_due();
        if all {
            self.begin_epoch(entropy)?;
        }
        let mut grant = self.grant_again(locator);
        for reader in &mut readers {
            let copies = if whom.remove(&reader.row.pseudonym) { Copies::Renewed } else { Copies::Kept };
            if all || copies == Copies::Renewed {
                self.seal_again(key, reader, &mut grant, copies, entropy, &mut effect)?;
            }
        }
        if !whom.is_empty() {
            return Err(WriterError::NoSuchReader);
        }
        self.readers = Arc::new(readers);
        effect.sort();
        Ok(effect)
    }

    /// A grant of now for a reader that there is, for another invitation. No row names it: the broker gives the reader the one that
    /// its row names.
    ///
    /// # Errors
    /// [`WriterError::NoSuchReader`] if it is none; otherwise it cannot be sealed.
    pub fn grant_for(&self, key: &NodeKey, reader: &Pseudonym, locator: &str, entropy: &mut Entropy) -> Result<Bytes, WriterError> {
        let reader = self.readers.iter().find(|known| known.row.pseudonym == *reader).ok_or(WriterError::NoSuchReader)?;
        Ok(self.grant_at_first(reader.copy.seed, locator).seal(&reader.copy.card, key, entropy)?)
    }

    fn remove_readers(&mut self, readers: &mut Vec<Reader>, gone: &[Pseudonym], effect: &mut AccessEffect) -> Result<(), WriterError> {
        let gone: BTreeSet<Pseudonym> = gone.iter().copied().collect();
        readers.retain(|reader| {
            let stays = reader.row.rights == Rights::Owner || !gone.contains(&reader.row.pseudonym);
            if !stays {
                self.access.remove(&reader.row.encode());
                effect.removed.push(reader.row.pseudonym);
            }
            stays
        });
        if effect.removed.len() == gone.len() { Ok(()) } else { Err(WriterError::NoSuchReader) }
    }

    fn add_readers(
        &mut self,
        key: &NodeKey,
        readers: &mut Vec<Reader>,
        add: Vec<Invitee>,
        locator: &str,
        entropy: &mut Entropy,
        effect: &mut AccessEffect,
    ) -> Result<(), WriterError> {
        if add.is_empty() {
            return Ok(());
        }
        let mut known: HashSet<_> = readers.iter().map(|reader| reader.copy.card.verifying_key).collect();
        for invitee in add {
            if !known.insert(invitee.card.verifying_key) {
                return Err(WriterError::AlreadyReader);
            }
            let (reader, grant) = self.grant_first(key, invitee, Rights::Read, locator, entropy, effect)?;
            effect.granted.push(Granted { pseudonym: reader.row.pseudonym, grant });
            readers.push(reader);
        }
        Ok(())
    }

    /// A new secret; entries signed from now on are out of reach of whoever was removed.
    fn begin_epoch(&mut self, entropy: &mut Entropy) -> Result<(), WriterError> {
        let next = self.next_epoch(entropy)?;
        self.epochs.retain(|used| used.live > 0);
        if self.epochs.len() >= HEAD_EPOCHS_MAX {
            return Err(WriterError::EpochsFull);
        }
        self.epochs.push(EpochInUse { secret: EpochSecret::new(next, entropy), live: 0 });
        Ok(())
    }

    fn grant_first(
        &mut self,
        key: &NodeKey,
        invitee: Invitee,
        rights: Rights,
        locator: &str,
        entropy: &mut Entropy,
        effect: &mut AccessEffect,
    ) -> Result<(Reader, Bytes), WriterError> {
        let seed = entropy.bytes();
        let grant = self.grant_at_first(seed, locator).seal(&invitee.card, key, entropy)?;
        let copy = OwnerCopy { card: invitee.card, seed, name: invitee.name };
        let sealed_copy = copy.seal(key, &self.queue, entropy)?;
        let row = AccessRow {
            pseudonym: PseudonymKey::from_seed(&seed).pseudonym(),
            rights,
            grant: attachment_hash(&grant),
            owner_copy: attachment_hash(&sealed_copy),
        };
        self.access.add(&row.encode());
        effect.put.push(row.encode().into());
        effect.attachments.extend([grant.clone(), sealed_copy]);
        Ok((Reader { row, copy }, grant))
    }

    /// Replaces the grant of a reader, and the copy about it if it is to be `Renewed`. `grant` gets the reader's seed.
    pub(super) fn seal_again(
        &mut self,
        key: &NodeKey,
        reader: &mut Reader,
        grant: &mut Grant,
        copies: Copies,
        entropy: &mut Entropy,
        effect: &mut AccessEffect,
    ) -> Result<(), WriterError> {
        self.access.remove(&reader.row.encode());
        grant.seed = reader.copy.seed;
        let sealed = grant.seal(&reader.copy.card, key, entropy)?;
        reader.row.grant = attachment_hash(&sealed);
        effect.attachments.push(sealed);
        if copies == Copies::Renewed {
            let copy = reader.copy.seal(key, &self.queue, entropy)?;
            reader.row.owner_copy = attachment_hash(&copy);
            effect.attachments.push(copy);
        }
        self.access.add(&reader.row.encode());
        effect.put.push(reader.row.encode().into());
        Ok(())
    }

    fn grant_at_first(&self, seed: [u8; 32], locator: &str) -> Grant {
        let mut grant = self.grant_again(locator);
        grant.seed = seed;
        grant.floor_head = self.head.as_ref().map(|head| head.bytes().clone()).unwrap_or_default();
        grant
    }

    /// A grant for a reader that has one, but for its seed. It names no floor head: the reader has that of its first grant, or a
    /// later head of its own, and a head in each grant would keep the grants of all readers from fitting into one publish. [P-17]
    pub(super) fn grant_again(&self, locator: &str) -> Grant {
        Grant {
            queue: self.queue,
            epoch: self.current_epoch(),
            secrets: self.epochs.iter().map(|used| used.secret.clone()).collect(),
            seed: [0; 32],
            locator: locator.to_owned(),
            floor_head: Bytes::new(),
        }
    }

    /// The epoch that new entries are sealed under.
    pub fn current_epoch(&self) -> Epoch {
        self.current().epoch
    }
}

impl AccessEffect {
    /// Rows travel ascending by pseudonym, which is what follows version byte in a row.
    fn sort(&mut self) {
        self.put.sort();
        self.removed.sort();
    }
}
