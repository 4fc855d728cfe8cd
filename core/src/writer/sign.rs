//! The step from a request to a signed publish.

use std::collections::HashSet;

use bytes::Bytes;
use tidings_proto::caps::{
    HEAD_EPOCHS_MAX, PUBLISH_ACCESS_MAX, PUBLISH_ATTACHMENT_BYTES_MAX, PUBLISH_BYTES_MAX, PUBLISH_ENTRIES_MAX, PUBLISH_PURGED_MAX,
};
use tidings_proto::{Birth, HeadHash, HeadNumber, Offset, Pseudonym, Timestamp};

use super::access::AccessEffect;
use super::request::{Draft, FloorStep, OwnRecord, SignRequest, Signed, WriterError};
use super::term::Standing;
use super::{Writer, birth_at};
use crate::codec::Object;
use crate::cursor::Cursor;
use crate::entropy::Entropy;
use crate::head::{EpochCommitment, Head, QueueState, SignedHead};
use crate::key::NodeKey;
use crate::mutation::{Mutation, Operation};
use crate::seal::{Place, Sealer};

/// A publish whose access is changed already.
struct Changes {
    drafts: Vec<Draft>,
    floor: Option<FloorStep>,
    access: AccessEffect,
    state: QueueState,
}

/// What the floor step of a publish takes away.
#[derive(Default)]
struct Purge {
    offsets: Vec<Offset>,
    births: Vec<Birth>,
}

impl Writer {
    /// Signs one publish. On success the writer stands at the new head; on an error it is unchanged.
    ///
    /// `entropy` must be fresh for every call. The caller commits `self.encode()`, the records and the signed bytes in one
    /// transaction before any of it leaves, and drops this writer if that fails. [P-3]
    pub fn sign(&mut self, key: &NodeKey, request: SignRequest, now: Timestamp, entropy: &mut Entropy) -> Result<Signed, WriterError> {
        self.step(|next| {
            let makes_room = next.makes_room(&request);
            let SignRequest { changes: drafts, floor, access } = request;
            let access = if makes_room { AccessEffect::default() } else { next.change_access(key, access, entropy)? };
            next.advance(key, Changes { drafts, floor, access, state: QueueState::Open }, now, entropy)
        })
    }

    /// Signs one publish that gives the readers `whom` the grants they have, and this owner its copies about them, sealed anew:
    /// for an owner that no longer has the sealed bytes. Nothing else changes, the epoch neither.
    ///
    /// # Errors
    /// As [`Writer::sign`]; [`WriterError::NoSuchReader`] if one of them is none, [`WriterError::TooMany`] if they are too many for
    /// one publish.
    pub fn renew(
        &mut self,
        key: &NodeKey,
        whom: &[Pseudonym],
        locator: &str,
        now: Timestamp,
        entropy: &mut Entropy,
    ) -> Result<Signed, WriterError> {
        self.step(|next| {
            let access = next.renew_access(key, whom, locator, entropy)?;
            next.advance(key, Changes { drafts: Vec::new(), floor: None, access, state: QueueState::Open }, now, entropy)
        })
    }

    /// Signs the last head for a broker that is left. After it only a new term goes on. [P-13]
    ///
    /// It changes nothing else: keys that are due stay due.
    ///
    /// # Errors
    /// [`WriterError::Closed`] if it is closed already, [`WriterError::NeedsTerm`] on a head that was found,
    /// [`WriterError::Inconsistent`] if there is no head yet.
    pub fn close(&mut self, key: &NodeKey, now: Timestamp, entropy: &mut Entropy) -> Result<Signed, WriterError> {
        self.head.as_ref().ok_or(WriterError::Inconsistent("there is no head behind which to close"))?;
        let changes = Changes { drafts: Vec::new(), floor: None, access: AccessEffect::default(), state: QueueState::Closed };
        self.step(|next| next.advance(key, changes, now, entropy))
    }

    fn step(&mut self, step: impl FnOnce(&mut Self) -> Result<Signed, WriterError>) -> Result<Signed, WriterError> {
        self.may_sign()?;
        let mut next = self.clone();
        let signed = step(&mut next)?;
        *self = next;
        Ok(signed)
    }

    fn advance(&mut self, key: &NodeKey, changes: Changes, now: Timestamp, entropy: &mut Entropy) -> Result<Signed, WriterError> {
        let Changes { drafts, floor: step, access, state } = changes;
        let before = self.head.as_ref().map_or(Cursor::start(&self.queue), SignedHead::cursor);
        let replaced: HashSet<Birth> = drafts.iter().filter_map(|draft| draft.prior.as_ref()).map(|prior| prior.birth).collect();
        let entries = self.seal_changes(drafts, before.offset, now, entropy)?;
        let floor = self.head.as_ref().map_or(Offset::ZERO, |head| head.head().floor);
        let (floor, purge) = self.purge(step, floor, before.offset, &replaced)?;
        let head = Head { state, ..self.head_after(before, entries.len(), floor, &purge.offsets, now)? }.sign(key);
        self.frontier.append(head.hash().bytes());
        self.head = Some(head.clone());
        self.standing = Standing::Going;
        let signed = assemble(head, entries, purge, access);
        within_caps(&signed).map(|()| signed)
    }

    /// Offsets are dense and in the order of the request. [P-2]
    fn seal_changes(
        &mut self,
        changes: Vec<Draft>,
        before: Offset,
        now: Timestamp,
        entropy: &mut Entropy,
    ) -> Result<Vec<(OwnRecord, Bytes)>, WriterError> {
        if changes.len() > PUBLISH_ENTRIES_MAX {
            return Err(WriterError::TooMany("changes"));
        }
        let sealer = Sealer::new(self.current(), &self.queue);
        let mut paths = HashSet::with_capacity(changes.len());
        let mut offset = before;
        let mut entries = Vec::with_capacity(changes.len());
        for draft in changes {
            if !paths.insert(draft.mutation.path.clone()) {
                return Err(WriterError::Twice(draft.mutation.path));
            }
            offset = offset.next().ok_or(WriterError::Inconsistent("offsets are used up"))?;
            entries.push(self.seal_change(&sealer, draft, offset, now, entropy)?);
        }
        Ok(entries)
    }

    fn seal_change(
        &mut self,
        sealer: &Sealer,
        draft: Draft,
        offset: Offset,
        now: Timestamp,
        entropy: &mut Entropy,
    ) -> Result<(OwnRecord, Bytes), WriterError> {
        let Draft { mut mutation, prior } = draft;
        let lives = prior.as_ref().is_some_and(|prior| !prior.tombstone);
        let again = is_again(&mutation, prior.as_ref());
        mutation.operation = match (mutation.operation, lives) {
            (same, _) if again => same,
            (Operation::Delete, false) => return Err(WriterError::NothingToDelete(mutation.path)),
            (Operation::Delete, true) => Operation::Delete,
            (_, true) => Operation::Update,
            (_, false) => Operation::Create,
        };
        let birth = prior.as_ref().map_or(birth_at(offset), |prior| prior.birth);
        let place = Place { term: self.term, offset, birth };
        let sealed = sealer.seal(place, &mutation, entropy);
        let entry = sealed.map_err(|source| WriterError::Seal { path: mutation.path.clone(), source })?;
        let digest = entry.digest(&self.queue);
        if let Some(prior) = &prior {
            self.retire(prior)?;
        }
        self.live.add(digest.bytes());
        self.live_count += 1;
        if let Some(used) = self.epochs.last_mut() {
            used.live += 1;
        }
        let tombstone = mutation.operation == Operation::Delete;
        let record = OwnRecord {
            path: mutation.path,
            birth,
            offset,
            digest,
            epoch: entry.epoch,
            version: mutation.version,
            tombstone,
            // A tombstone must not grow younger by being sealed again. [P-6]
            signed_at: prior.filter(|_| again).map_or(now, |prior| prior.signed_at),
        };
        Ok((record, entry.encode().into()))
    }

    /// The floor rises, never above the previous head's offset, and takes every tombstone at or below it along. [P-6]
    fn purge(
        &mut self,
        step: Option<FloorStep>,
        floor: Offset,
        before: Offset,
        replaced: &HashSet<Birth>,
    ) -> Result<(Offset, Purge), WriterError> {
        let Some(step) = step else { return Ok((floor, Purge::default())) };
        if step.floor < floor || step.floor > before {
            return Err(WriterError::Inconsistent("the floor would fall, or rise above the previous head"));
        }
        // A tombstone that this very publish replaces does not live any more.
        let mut gone: Vec<OwnRecord> = step.purged.into_iter().filter(|record| !replaced.contains(&record.birth)).collect();
        gone.sort_by_key(|record| record.offset);
        if gone.len() > PUBLISH_PURGED_MAX {
            return Err(WriterError::TooMany("purged offsets"));
        }
        for record in &gone {
            if !record.tombstone || record.offset > step.floor {
                return Err(WriterError::Inconsistent("what is purged is no tombstone at or below the floor"));
            }
            self.retire(record)?;
            self.floor_version = self.floor_version.max(record.version);
        }
        let purge =
            Purge { offsets: gone.iter().map(|record| record.offset).collect(), births: gone.iter().map(|record| record.birth).collect() };
        Ok((step.floor, purge))
    }

    fn retire(&mut self, record: &OwnRecord) -> Result<(), WriterError> {
        self.live.remove(record.digest.bytes());
        self.live_count = self.live_count.checked_sub(1).ok_or(WriterError::Inconsistent("more records end than live"))?;
        self.release(record.epoch)
    }

    fn head_after(
        &mut self,
        before: Cursor,
        entries: usize,
        floor: Offset,
        purged: &[Offset],
        now: Timestamp,
    ) -> Result<Head, WriterError> {
        let current = self.current_epoch();
        self.epochs.retain(|used| used.live > 0 || used.secret.epoch == current);
        if self.epochs.len() > HEAD_EPOCHS_MAX {
            return Err(WriterError::EpochsFull);
        }
        let number = before.rank.number.next().ok_or(WriterError::Inconsistent("head numbers are used up"))?;
        Ok(Head {
            queue: self.queue,
            writer: self.writer,
            term: self.term,
            base: self.base(),
            number,
            offset: Offset::new(before.offset.value() + entries as u64),
            live_count: self.live_count,
            live_root: self.live.root(),
            floor,
            floor_version: self.floor_version,
            purged: Head::purged_hash(purged),
            epoch: current,
            epochs: self.commitments(),
            access_root: self.access.root(),
            access_count: u32::try_from(self.readers.len()).map_err(|_| WriterError::ReadersFull)?,
            history_root: self.frontier.root(),
            previous: if number == HeadNumber::new(1) { HeadHash::new(*self.queue.bytes()) } else { before.head },
            state: QueueState::Open,
            time: now,
        })
    }

    fn commitments(&self) -> Vec<EpochCommitment> {
        let commit =
            |secret: &crate::epoch::EpochSecret| EpochCommitment { epoch: secret.epoch, commitment: secret.commitment(&self.queue) };
        self.epochs.iter().map(|used| commit(&used.secret)).collect()
    }
}

/// Whether this is the very mutation that lives, to be sealed under the current epoch: no two changes have one version.
pub(super) fn is_again(mutation: &Mutation, prior: Option<&OwnRecord>) -> bool {
    prior.is_some_and(|prior| {
        let same_kind = prior.tombstone == (mutation.operation == Operation::Delete);
        prior.version == mutation.version && prior.path == mutation.path && same_kind
    })
}

fn assemble(head: SignedHead, entries: Vec<(OwnRecord, Bytes)>, purge: Purge, access: AccessEffect) -> Signed {
    Signed {
        head,
        entries,
        purged: purge.offsets,
        ended: purge.births,
        access_put: access.put,
        access_removed: access.removed,
        attachments: access.attachments,
        granted: access.granted,
    }
}

fn within_caps(signed: &Signed) -> Result<(), WriterError> {
    let sum = |items: &mut dyn Iterator<Item = usize>| items.sum::<usize>();
    if sum(&mut signed.entries.iter().map(|(_, bytes)| bytes.len())) > PUBLISH_BYTES_MAX {
        return Err(WriterError::TooMany("bytes"));
    }
    if signed.access_put.len() + signed.access_removed.len() > PUBLISH_ACCESS_MAX {
        return Err(WriterError::TooMany("access rows"));
    }
    if sum(&mut signed.attachments.iter().map(Bytes::len)) > PUBLISH_ATTACHMENT_BYTES_MAX {
        return Err(WriterError::TooMany("grant bytes"));
    }
    Ok(())
}
