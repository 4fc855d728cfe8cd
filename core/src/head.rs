//! The head: what an owner signs about its queue after every publish.

use bytes::Bytes;
use tidings_proto::{Epoch, HeadHash, HeadNumber, HeadRank, Offset, QueueId, Term, Timestamp, VerifyingKey, caps};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::cursor::Cursor;
use crate::epoch::EpochSecret;
use crate::key::NodeKey;
use crate::label::Label;
use crate::signed::{self, SignedError};
use crate::version::Version;

/// An epoch with live entries and the commitment to its secret, so that all readers provably hold the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochCommitment {
    /// The epoch; from 1.
    pub epoch: Epoch,
    /// Labelled hash of its secret.
    pub commitment: [u8; 32],
}

/// Whether more heads follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// They may.
    Open,
    /// This is the final head of a deleted or moved queue.
    Closed,
}

/// Random name of one incarnation of a writer. [P-4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WriterId(pub [u8; 16]);

/// All that an owner says about its queue at one point. Ordered among the queue's heads by [`Self::rank`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The queue.
    pub queue: QueueId,
    /// Writer that signed.
    pub writer: WriterId,
    /// Term of that writer; from 1.
    pub term: Term,
    /// Head that this term goes on from, the same in all heads of the term; the start in a queue's first term. [P-4]
    pub base: Cursor,
    /// Number of this head; from 1, one more than its predecessor's.
    pub number: HeadNumber,
    /// Newest offset. [P-2]
    pub offset: Offset,
    /// Entries in the live set, tombstones among them.
    pub live_count: u64,
    /// [`crate::SetHash`] root of the live set.
    pub live_root: [u8; 32],
    /// No live tombstone is at or below this offset. [P-6]
    pub floor: Offset,
    /// Latest version among all tombstones ever purged.
    pub floor_version: Version,
    /// [`Self::purged_hash`] of the offsets this head purges.
    pub purged: [u8; 32],
    /// Current epoch; one of `epochs`.
    pub epoch: Epoch,
    /// Epochs with live entries, and the current one: ascending, at most [`caps::HEAD_EPOCHS_MAX`].
    pub epochs: Vec<EpochCommitment>,
    /// [`crate::SetHash`] root of the access list.
    pub access_root: [u8; 32],
    /// Rows of the access list.
    pub access_count: u32,
    /// Tree hash over the queue id and the hashes of all earlier heads: `number` leaves.
    pub history_root: [u8; 32],
    /// Hash of the head before this one; the queue id's bytes before the first.
    pub previous: HeadHash,
    /// Whether more heads follow.
    pub state: QueueState,
    /// When it was signed, by the owner's clock.
    pub time: Timestamp,
}

impl Head {
    /// Place among the heads of the queue.
    pub fn rank(&self) -> HeadRank {
        HeadRank { term: self.term, number: self.number }
    }

    /// Signs. `key` is the owner's; a rank is never signed twice. [P-3]
    pub fn sign(&self, key: &NodeKey) -> SignedHead {
        let body = self.encode();
        let hash = HeadHash::new(Label::HEAD.hash(&[&body]));
        SignedHead { bytes: signed::append(body, Label::HEAD, key.signing()), head: self.clone(), hash }
    }

    /// Whether it lists the epoch of `secret`, with the commitment to this very one.
    pub(crate) fn commits_to(&self, secret: &EpochSecret, queue: &QueueId) -> bool {
        self.epochs.iter().any(|listed| listed.epoch == secret.epoch && listed.commitment == secret.commitment(queue))
    }

    /// Hash of a list of purged offsets, ascending: a `u32` count and eight bytes each.
    pub fn purged_hash(offsets: &[Offset]) -> [u8; 32] {
        let mut list = Encoder::new();
        list.count(offsets.len());
        offsets.iter().for_each(|offset| list.offset(*offset));
        Label::PURGED.hash(&[&list.finish()])
    }

    /// What holds for every head by itself, whatever stood before it.
    fn check(&self) -> Result<(), DecodeError> {
        let base = self.base;
        if base.is_start() && base != Cursor::start(&self.queue) {
            return Err(DecodeError::Invalid("a head's base at the start names the queue"));
        }
        if self.term <= base.rank.term || self.number <= base.rank.number || self.offset < base.offset {
            return Err(DecodeError::Invalid("a head stands above its base"));
        }
        if base.rank.number.next() == Some(self.number) && self.previous != base.head {
            return Err(DecodeError::Invalid("the first head of a term follows its base"));
        }
        if self.floor > self.offset || self.live_count > self.offset.value() {
            return Err(DecodeError::Invalid("a head's floor and live count are at most its offset"));
        }
        self.check_epochs()
    }

    fn check_epochs(&self) -> Result<(), DecodeError> {
        if self.epochs.first().is_none_or(|first| first.epoch == Epoch::ZERO) || !self.epochs.is_sorted_by(|a, b| a.epoch < b.epoch) {
            return Err(DecodeError::Invalid("the epochs of a head ascend from at least 1"));
        }
        if self.epochs.iter().all(|listed| listed.epoch != self.epoch) {
            return Err(DecodeError::Invalid("a head lists its current epoch"));
        }
        Ok(())
    }
}

impl Object for Head {
    const NAME: &'static str = "head";

    fn write(&self, out: &mut Encoder) {
        out.queue_id(&self.queue);
        out.raw(&self.writer.0);
        out.term(self.term);
        self.base.write(out);
        out.number(self.number);
        out.offset(self.offset);
        out.u64(self.live_count);
        out.raw(&self.live_root);
        out.offset(self.floor);
        self.floor_version.write_in(out);
        out.raw(&self.purged);
        out.epoch(self.epoch);
        out.count(self.epochs.len());
        for listed in &self.epochs {
            out.epoch(listed.epoch);
            out.raw(&listed.commitment);
        }
        out.raw(&self.access_root);
        out.u32(self.access_count);
        out.raw(&self.history_root);
        out.head_hash(&self.previous);
        out.u8(match self.state {
            QueueState::Open => 0,
            QueueState::Closed => 1,
        });
        out.timestamp(self.time);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let head = Self {
            queue: input.queue_id()?,
            writer: WriterId(input.array("writer")?),
            term: input.term()?,
            base: Cursor::read(input)?,
            number: input.number()?,
            offset: input.offset()?,
            live_count: input.u64("live count")?,
            live_root: input.array("live root")?,
            floor: input.offset()?,
            floor_version: Version::read_in(input)?,
            purged: input.array("purged")?,
            epoch: input.epoch()?,
            epochs: read_epochs(input)?,
            access_root: input.array("access root")?,
            access_count: input.u32("access count")?,
            history_root: input.array("history root")?,
            previous: input.head_hash()?,
            state: read_state(input)?,
            time: input.timestamp()?,
        };
        head.check()?;
        Ok(head)
    }
}

/// A head with the bytes it was signed as, which are kept and passed on verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    bytes: Bytes,
    head: Head,
    hash: HeadHash,
}

impl SignedHead {
    /// Reads a signed head without checking who signed it; [`Self::verify`] does.
    ///
    /// # Errors
    /// The bytes are no head, or too many.
    pub fn parse(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > caps::HEAD_BYTES_MAX {
            return Err(DecodeError::Invalid("a signed head exceeds its cap"));
        }
        let (body, _) = signed::split(&bytes)?;
        let head = Head::decode(body)?;
        let hash = HeadHash::new(Label::HEAD.hash(&[body]));
        Ok(Self { bytes, head, hash })
    }

    /// Checks that `key`, the owner's, signed.
    ///
    /// # Errors
    /// [`SignedError::Signature`] if not.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignedError> {
        signed::verify(&self.bytes, Label::HEAD, key)
    }

    /// What was signed.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Labelled hash of the signed bytes without the signature.
    pub fn hash(&self) -> HeadHash {
        self.hash
    }

    /// Body and signature, verbatim.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The cursor of whoever has verified this head.
    pub fn cursor(&self) -> Cursor {
        Cursor { rank: self.rank(), offset: self.head.offset, head: self.hash }
    }

    /// Place among the heads of the queue.
    pub fn rank(&self) -> HeadRank {
        self.head.rank()
    }
}

fn read_epochs(input: &mut Decoder<'_>) -> Result<Vec<EpochCommitment>, DecodeError> {
    let count = input.count(caps::HEAD_EPOCHS_MAX, "epochs")?;
    (0..count).map(|_| Ok(EpochCommitment { epoch: input.epoch()?, commitment: input.array("epoch commitment")? })).collect()
}

fn read_state(input: &mut Decoder<'_>) -> Result<QueueState, DecodeError> {
    match input.u8("state")? {
        0 => Ok(QueueState::Open),
        1 => Ok(QueueState::Closed),
        _ => Err(DecodeError::Invalid("a queue is open or closed")),
    }
}

#[cfg(test)]
mod tests;
