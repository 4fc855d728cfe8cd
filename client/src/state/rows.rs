//! Rows to bytes and back. The layout version of the file stands for all of them.

use bytes::Bytes;
use tidings_core::reader::{Change, ChangeKind, HeldKind, HeldRow, StagedRow};
use tidings_core::writer::OwnRecord;
use tidings_core::{DecodeError, Decoder, Encoder, Mutation, Object, RecordPath, Version};
use tidings_proto::caps::{ENTRY_BYTES_MAX, PATH_BYTES_MAX};
use tidings_proto::{Birth, HeadRank, Offset, Term, Timestamp, VerifyingKey};

use super::StateError;

/// A change that the application has not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PendingRow {
    pub(crate) change: Change,
    /// What of this record was handed out last and not acknowledged.
    pub(crate) handed: Option<HandedOut>,
}

/// Identity of a handed-out change, and whether the record exists for whoever has handled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HandedOut {
    pub(crate) term: Term,
    pub(crate) offset: Offset,
    pub(crate) exists: bool,
}

/// A broker that stood below a head that it had receipted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LossRow {
    pub(crate) broker: VerifyingKey,
    pub(crate) time: Timestamp,
    pub(crate) receipted: HeadRank,
    pub(crate) standing: HeadRank,
}

pub(super) fn encode_loss(loss: &LossRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.raw(loss.broker.bytes());
    out.timestamp(loss.time);
    out.rank(loss.receipted);
    out.rank(loss.standing);
    out.finish()
}

pub(super) fn decode_loss(bytes: &[u8]) -> Result<LossRow, StateError> {
    let mut input = Decoder::new(bytes);
    let loss = LossRow {
        broker: VerifyingKey::new(input.array("broker")?),
        time: input.timestamp()?,
        receipted: input.rank()?,
        standing: input.rank()?,
    };
    input.finish()?;
    Ok(loss)
}

/// Length of what stands before the value in the row of a record, bytes.
const OWN_BYTES: usize = 128;

pub(super) fn path(text: &str) -> Result<RecordPath, StateError> {
    text.parse().map_err(|_| StateError::Damaged("a row's path is none".into()))
}

fn flag(input: &mut Decoder<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match input.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("a flag is neither 0 nor 1")),
    }
}

/// A record and its value.
pub(super) fn encode_own(record: &OwnRecord, value: &Mutation) -> Vec<u8> {
    let value = value.encode();
    let mut out = Encoder::with_capacity(OWN_BYTES + value.len());
    out.birth(record.birth);
    out.offset(record.offset);
    out.entry_digest(&record.digest);
    out.epoch(record.epoch);
    record.version.write_in(&mut out);
    out.u8(u8::from(record.tombstone));
    out.timestamp(record.signed_at);
    out.raw(&value);
    out.finish()
}

/// The record, and its encoded value.
pub(super) fn decode_own(path: RecordPath, bytes: &[u8]) -> Result<(OwnRecord, &[u8]), StateError> {
    let mut input = Decoder::new(bytes);
    let record = OwnRecord {
        path,
        birth: input.birth()?,
        offset: input.offset()?,
        digest: input.entry_digest()?,
        epoch: input.epoch()?,
        version: Version::read_in(&mut input)?,
        tombstone: flag(&mut input, "tombstone")?,
        signed_at: input.timestamp()?,
    };
    Ok((record, input.rest()))
}

/// A sealed entry behind the path of its record.
pub(super) fn encode_entry(path: &str, sealed: &[u8]) -> Vec<u8> {
    let mut out = Encoder::with_capacity(4 + path.len() + sealed.len());
    out.bytes(path.as_bytes());
    out.raw(sealed);
    out.finish()
}

pub(super) fn entry_path(row: &[u8]) -> Result<&str, StateError> {
    Ok(Decoder::new(row).text(PATH_BYTES_MAX, "path")?)
}

pub(super) fn entry_sealed(row: &[u8]) -> Result<&[u8], StateError> {
    let mut input = Decoder::new(row);
    input.bytes(PATH_BYTES_MAX, "path")?;
    Ok(input.rest())
}

pub(super) fn encode_held(row: &HeldRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.offset(row.offset);
    out.term(row.term);
    out.entry_digest(&row.digest);
    out.u8(match row.kind {
        HeldKind::Value => 0,
        HeldKind::Tombstone => 1,
        HeldKind::Quarantined => 2,
    });
    out.bytes(row.path.as_ref().map_or(&[][..], |path| path.as_str().as_bytes()));
    out.bytes(&row.bytes);
    out.finish()
}

pub(super) fn decode_held(birth: Birth, bytes: &[u8]) -> Result<HeldRow, StateError> {
    let mut input = Decoder::new(bytes);
    let row = HeldRow {
        birth,
        offset: input.offset()?,
        term: input.term()?,
        digest: input.entry_digest()?,
        kind: match input.u8("kind")? {
            0 => HeldKind::Value,
            1 => HeldKind::Tombstone,
            2 => HeldKind::Quarantined,
            _ => return Err(DecodeError::Invalid("no such kind of held row").into()),
        },
        path: match input.text(PATH_BYTES_MAX, "path")? {
            "" => None,
            text => Some(path(text)?),
        },
        bytes: Bytes::copy_from_slice(input.bytes(ENTRY_BYTES_MAX, "held bytes")?),
    };
    input.finish()?;
    Ok(row)
}

pub(super) fn encode_staged(row: &StagedRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.offset(row.offset);
    out.entry_digest(&row.digest);
    out.raw(&row.entry);
    out.finish()
}

pub(super) fn decode_staged(birth: Birth, bytes: &[u8]) -> Result<StagedRow, StateError> {
    let mut input = Decoder::new(bytes);
    let (offset, digest) = (input.offset()?, input.entry_digest()?);
    Ok(StagedRow { birth, offset, digest, entry: Bytes::copy_from_slice(input.rest()) })
}

pub(super) fn encode_pending(row: &PendingRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.u8(match row.change.kind {
        ChangeKind::Create => 0,
        ChangeKind::Update => 1,
        ChangeKind::Delete => 2,
    });
    out.term(row.change.term);
    out.offset(row.change.offset);
    out.count(usize::from(row.handed.is_some()));
    if let Some(handed) = &row.handed {
        out.term(handed.term);
        out.offset(handed.offset);
        out.u8(u8::from(handed.exists));
    }
    out.raw(&row.change.mutation);
    out.finish()
}

pub(super) fn decode_pending(path: RecordPath, bytes: &[u8]) -> Result<PendingRow, StateError> {
    let mut input = Decoder::new(bytes);
    let kind = match input.u8("kind")? {
        0 => ChangeKind::Create,
        1 => ChangeKind::Update,
        2 => ChangeKind::Delete,
        _ => return Err(DecodeError::Invalid("no such kind of change").into()),
    };
    let (term, offset) = (input.term()?, input.offset()?);
    let handed = match input.count(1, "handed")? {
        0 => None,
        _ => Some(HandedOut { term: input.term()?, offset: input.offset()?, exists: flag(&mut input, "exists")? }),
    };
    let change = Change { path, kind, term, offset, mutation: Bytes::copy_from_slice(input.rest()) };
    Ok(PendingRow { change, handed })
}
