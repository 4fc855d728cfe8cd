//! Values that are not bytes of an owner or reader: how rows are written, and what of a row is no row.

use bytes::Bytes;
use tidings_core::codec::{DecodeError, Decoder, Encoder};
use tidings_proto::{HeadRank, Offset};

use super::super::{LiveRow, QueueRow};

/// Version of [`QueueValue`]: that of a queue whose first branch stands, as it always was, and with the number of the branch.
const QUEUE_VALUE: u8 = 1;
const QUEUE_VALUE_BRANCHED: u8 = 2;
/// No length in a row is capped here: it was capped on its way in, and is bounded by the row.
const ANY: usize = u32::MAX as usize;
/// In place of the first live offset if nothing is live.
pub(super) const NOTHING_LIVE: Offset = Offset::new(u64::MAX);

/// The row of a queue and what this store adds to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueueValue {
    /// No live entry has a lower offset, so no iterator starts below and steps over what was deleted there.
    pub(super) first: Offset,
    /// How often a higher term replaced the branch that stood.
    pub(super) branch: u64,
    pub(super) row: QueueRow,
}

impl QueueValue {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(if self.branch == 0 { QUEUE_VALUE } else { QUEUE_VALUE_BRANCHED });
        if self.branch > 0 {
            out.u64(self.branch);
        }
        out.offset(self.first);
        out.bytes(&self.row.head);
        out.timestamp(self.row.since);
        out.u64(self.row.live_bytes);
        out.bytes(&self.row.descriptor);
        out.bytes(&self.row.frontier);
        out.raw(&*self.row.live);
        out.raw(&*self.row.access);
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let Standing { first, branch, head } = Standing::read(&mut input)?;
        let row = QueueRow {
            head,
            since: input.timestamp()?,
            live_bytes: input.u64("live bytes")?,
            descriptor: Bytes::copy_from_slice(input.bytes(ANY, "descriptor")?),
            frontier: Bytes::copy_from_slice(input.bytes(ANY, "frontier")?),
            live: Box::new(input.array("live set hash")?),
            access: Box::new(input.array("access set hash")?),
        };
        input.finish()?;
        Ok(Self { first, branch, row })
    }
}

/// The front of a [`QueueValue`]: all that a scan needs of it.
pub(super) struct Standing {
    pub(super) first: Offset,
    pub(super) branch: u64,
    pub(super) head: Bytes,
}

impl Standing {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Decoder::new(bytes))
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let branch = match input.u8("version")? {
            QUEUE_VALUE => 0,
            QUEUE_VALUE_BRANCHED => input.u64("branch")?,
            found => return Err(DecodeError::TooNew { object: "queue row", found }),
        };
        Ok(Self { branch, first: input.offset()?, head: Bytes::copy_from_slice(input.bytes(ANY, "head")?) })
    }
}

pub(super) fn encode_live(row: &LiveRow) -> Vec<u8> {
    let mut out = Encoder::new();
    out.birth(row.birth);
    out.entry_digest(&row.digest);
    out.u32(row.bytes);
    out.finish()
}

/// Reads the live row whose key holds `offset`.
pub(super) fn decode_live(offset: Offset, bytes: &[u8]) -> Result<LiveRow, DecodeError> {
    let mut input = Decoder::new(bytes);
    let row = LiveRow { offset, birth: input.birth()?, digest: input.entry_digest()?, bytes: input.u32("bytes")? };
    input.finish()?;
    Ok(row)
}

/// Reads what `births` keeps.
pub(super) fn decode_offset(bytes: &[u8]) -> Result<Offset, DecodeError> {
    let mut input = Decoder::new(bytes);
    let offset = input.offset()?;
    input.finish()?;
    Ok(offset)
}

pub(super) fn encode_acknowledgement(rank: HeadRank, signed: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.rank(rank);
    out.raw(signed);
    out.finish()
}

/// Rank and signed acknowledgement.
pub(super) fn decode_acknowledgement(bytes: &[u8]) -> Result<(HeadRank, Bytes), DecodeError> {
    let mut input = Decoder::new(bytes);
    let rank = input.rank()?;
    Ok((rank, Bytes::copy_from_slice(input.rest())))
}

pub(super) fn encode_rank(rank: HeadRank) -> Vec<u8> {
    let mut out = Encoder::new();
    out.rank(rank);
    out.finish()
}

pub(super) fn decode_rank(bytes: &[u8]) -> Result<HeadRank, DecodeError> {
    let mut input = Decoder::new(bytes);
    let rank = input.rank()?;
    input.finish()?;
    Ok(rank)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::{Birth, EntryDigest, HeadNumber, Term, Timestamp};

    fn value() -> QueueValue {
        let row = QueueRow {
            descriptor: Bytes::from_static(b"descriptor"),
            head: Bytes::from_static(b"head"),
            live: Box::new([1; 2048]),
            access: Box::new([2; 2048]),
            frontier: Bytes::from_static(b"frontier"),
            live_bytes: 3,
            since: Timestamp::new(4),
        };
        QueueValue { first: Offset::new(5), branch: 0, row }
    }

    #[test]
    fn a_queue_row_is_read_as_it_was_written() {
        for branch in [0, 1, u64::MAX] {
            let value = QueueValue { branch, ..value() };
            assert_eq!(QueueValue::decode(&value.encode()), Ok(value));
        }
    }

    /// The layout of format 1. A change here needs a new version of the row.
    #[test]
    fn a_queue_row_begins_with_what_a_scan_needs() {
        let bytes = value().encode();
        assert_eq!(bytes[..17], [1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, b'h', b'e', b'a', b'd']);
        assert_eq!(bytes.len(), 17 + 8 + 8 + 4 + 10 + 4 + 8 + 2 * 2048);
    }

    #[test]
    fn a_row_cut_short_anywhere_is_an_error() {
        let bytes = value().encode();
        assert!((0..bytes.len()).all(|length| QueueValue::decode(&bytes[..length]).is_err()));
    }

    #[test]
    fn a_live_row_is_44_bytes_and_is_read_as_it_was_written() {
        let row = LiveRow { offset: Offset::new(9), birth: Birth::new(8), digest: EntryDigest::new([7; 32]), bytes: 6 };
        let bytes = encode_live(&row);
        assert_eq!((bytes.len(), decode_live(row.offset, &bytes)), (44, Ok(row)));
    }

    #[test]
    fn an_acknowledgement_is_read_as_it_was_written() {
        let rank = HeadRank { term: Term::new(2), number: HeadNumber::new(3) };
        assert_eq!(decode_acknowledgement(&encode_acknowledgement(rank, b"signed")), Ok((rank, Bytes::from_static(b"signed"))));
    }
}
