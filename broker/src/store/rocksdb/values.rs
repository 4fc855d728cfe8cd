//! Values that are not bytes of an owner or reader: how rows are written, and what of a row is no row.

use bytes::Bytes;
use tidings_core::codec::{DecodeError, Decoder, Encoder};
use tidings_proto::{Birth, HeadRank, Offset};

use super::super::{LiveRow, QueueRow};

/// Versions of [`QueueValue`]. The first two hold the access list's hash state, and the second of them the number of the branch; the
/// third holds that number and no such state.
const WITH_ACCESS: u8 = 1;
const WITH_ACCESS_BRANCHED: u8 = 2;
const WITHOUT_ACCESS: u8 = 3;
/// Bytes of a [`QueueValue`] beside head, descriptor and frontier.
const FIXED_BYTES: usize = 2_048 + 64;
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
    /// Its `access` is zeros if the row does not hold it.
    pub(super) row: QueueRow,
    /// Whether the row holds the access list's hash state.
    pub(super) holds_access: bool,
}

/// The row without the access list's hash state.
pub(super) fn encode_queue(first: Offset, branch: u64, row: &QueueRow) -> Vec<u8> {
    let mut out = Encoder::with_capacity(FIXED_BYTES + row.head.len() + row.descriptor.len() + row.frontier.len());
    out.u8(WITHOUT_ACCESS);
    out.u64(branch);
    out.offset(first);
    out.bytes(&row.head);
    out.timestamp(row.since);
    out.u64(row.live_bytes);
    out.bytes(&row.descriptor);
    out.bytes(&row.frontier);
    out.raw(&*row.live);
    out.finish()
}

impl QueueValue {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let Standing { first, branch, head, holds_access } = Standing::read(&mut input)?;
        let row = QueueRow {
            head,
            since: input.timestamp()?,
            live_bytes: input.u64("live bytes")?,
            descriptor: Bytes::copy_from_slice(input.bytes(ANY, "descriptor")?),
            frontier: Bytes::copy_from_slice(input.bytes(ANY, "frontier")?),
            live: Box::new(input.array("live set hash")?),
            access: Box::new(if holds_access { input.array("access set hash")? } else { [0; 2_048] }),
        };
        input.finish()?;
        Ok(Self { first, branch, row, holds_access })
    }
}

/// The front of a [`QueueValue`]: all that a scan needs of it.
pub(super) struct Standing {
    pub(super) first: Offset,
    pub(super) branch: u64,
    pub(super) head: Bytes,
    /// Whether the row holds the access list's hash state.
    pub(super) holds_access: bool,
}

impl Standing {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Decoder::new(bytes))
    }

    /// The number of the branch alone.
    pub(super) fn branch_of(bytes: &[u8]) -> Result<u64, DecodeError> {
        Ok(Self::start(&mut Decoder::new(bytes))?.0)
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let (branch, holds_access) = Self::start(input)?;
        Ok(Self { branch, holds_access, first: input.offset()?, head: Bytes::copy_from_slice(input.bytes(ANY, "head")?) })
    }

    /// Branch, and whether the access list's hash state is here.
    fn start(input: &mut Decoder<'_>) -> Result<(u64, bool), DecodeError> {
        match input.u8("version")? {
            WITH_ACCESS => Ok((0, true)),
            WITH_ACCESS_BRANCHED => Ok((input.u64("branch")?, true)),
            WITHOUT_ACCESS => Ok((input.u64("branch")?, false)),
            found => Err(DecodeError::TooNew { object: "queue row", found }),
        }
    }
}

/// What `births` keeps of the live entry of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BornRow {
    /// All.
    Whole(LiveRow),
    /// Only the offset; the rest is in `live`.
    Offset(Offset),
}

/// What `live` keeps of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AtRow {
    /// All.
    Whole(LiveRow),
    /// Only the birth; the rest is in `births`.
    Birth(Birth),
}

/// For `births`.
pub(super) fn encode_born(row: &LiveRow) -> [u8; 44] {
    let mut out = [0; 44];
    out[..8].copy_from_slice(&row.offset.value().to_be_bytes());
    out[8..40].copy_from_slice(row.digest.bytes());
    out[40..].copy_from_slice(&row.bytes.to_be_bytes());
    out
}

/// Reads what `births` keeps under `birth`.
pub(super) fn decode_born(birth: Birth, bytes: &[u8]) -> Result<BornRow, DecodeError> {
    let mut input = Decoder::new(bytes);
    let offset = input.offset()?;
    if bytes.len() == 8 {
        return Ok(BornRow::Offset(offset));
    }
    let row = LiveRow { offset, birth, digest: input.entry_digest()?, bytes: input.u32("bytes")? };
    input.finish()?;
    Ok(BornRow::Whole(row))
}

/// For `live`.
pub(super) fn encode_at(row: &LiveRow) -> [u8; 8] {
    row.birth.value().to_be_bytes()
}

/// Reads what `live` keeps under `offset`.
pub(super) fn decode_at(offset: Offset, bytes: &[u8]) -> Result<AtRow, DecodeError> {
    let mut input = Decoder::new(bytes);
    let birth = input.birth()?;
    if bytes.len() == 8 {
        return Ok(AtRow::Birth(birth));
    }
    let row = LiveRow { offset, birth, digest: input.entry_digest()?, bytes: input.u32("bytes")? };
    input.finish()?;
    Ok(AtRow::Whole(row))
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
pub(super) mod tests {
    use super::*;
    use tidings_hostile::{Meal, alone, feed};
    use tidings_proto::{EntryDigest, HeadNumber, Term, Timestamp};

    /// The row as builds before format 3 wrote it.
    pub(in super::super) fn encode_queue_with_access(first: Offset, branch: u64, row: &QueueRow) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(if branch == 0 { WITH_ACCESS } else { WITH_ACCESS_BRANCHED });
        if branch > 0 {
            out.u64(branch);
        }
        out.offset(first);
        out.bytes(&row.head);
        out.timestamp(row.since);
        out.u64(row.live_bytes);
        out.bytes(&row.descriptor);
        out.bytes(&row.frontier);
        out.raw(&*row.live);
        out.raw(&*row.access);
        out.finish()
    }

    /// What `live` held before format 3.
    pub(in super::super) fn encode_whole_at(row: &LiveRow) -> Vec<u8> {
        let mut out = Encoder::new();
        out.birth(row.birth);
        out.entry_digest(&row.digest);
        out.u32(row.bytes);
        out.finish()
    }

    fn row() -> QueueRow {
        QueueRow {
            descriptor: Bytes::from_static(b"descriptor"),
            head: Bytes::from_static(b"head"),
            live: Box::new([1; 2048]),
            access: Box::new([2; 2048]),
            frontier: Bytes::from_static(b"frontier"),
            live_bytes: 3,
            since: Timestamp::new(4),
        }
    }

    fn live() -> LiveRow {
        LiveRow { offset: Offset::new(9), birth: Birth::new(8), digest: EntryDigest::new([7; 32]), bytes: 6 }
    }

    #[test]
    fn a_queue_row_is_read_as_it_was_written_but_for_the_access_list() {
        for branch in [0, 1, u64::MAX] {
            let read = QueueRow { access: Box::new([0; 2048]), ..row() };
            let value = QueueValue { first: Offset::new(5), branch, row: read, holds_access: false };
            assert_eq!(QueueValue::decode(&encode_queue(Offset::new(5), branch, &row())), Ok(value));
        }
    }

    #[test]
    fn a_queue_row_of_an_older_format_is_read_whole() {
        for branch in [0, 1, u64::MAX] {
            let value = QueueValue { first: Offset::new(5), branch, row: row(), holds_access: true };
            assert_eq!(QueueValue::decode(&encode_queue_with_access(Offset::new(5), branch, &row())), Ok(value));
        }
    }

    /// The layout of format 3. A change here needs a new version of the row.
    #[test]
    fn a_queue_row_begins_with_what_a_scan_needs() {
        let bytes = encode_queue(Offset::new(5), 2, &row());
        assert_eq!(bytes[..25], [3, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 4, b'h', b'e', b'a', b'd']);
        assert_eq!(bytes.len(), 25 + 8 + 8 + 4 + 10 + 4 + 8 + 2048);
        assert_eq!(Standing::branch_of(&bytes), Ok(2));
    }

    #[test]
    fn a_row_cut_short_anywhere_is_an_error() {
        for bytes in [encode_queue(Offset::new(5), 1, &row()), encode_queue_with_access(Offset::new(5), 1, &row())] {
            assert!((0..bytes.len()).all(|length| QueueValue::decode(&bytes[..length]).is_err()));
        }
    }

    #[test]
    fn a_live_entry_is_44_bytes_by_birth_and_8_by_offset() {
        let (born, at) = (encode_born(&live()), encode_at(&live()));
        assert_eq!(decode_born(Birth::new(8), &born), Ok(BornRow::Whole(live())));
        assert_eq!(decode_at(Offset::new(9), &at), Ok(AtRow::Birth(Birth::new(8))));
        assert_eq!((born.len(), at.len()), (44, 8));
    }

    #[test]
    fn a_live_entry_of_an_older_format_is_44_bytes_by_offset_and_8_by_birth() {
        let at = encode_whole_at(&live());
        assert_eq!((at.len(), decode_at(Offset::new(9), &at)), (44, Ok(AtRow::Whole(live()))));
        assert_eq!(decode_born(Birth::new(8), &9_u64.to_be_bytes()), Ok(BornRow::Offset(Offset::new(9))));
    }

    #[test]
    fn a_row_of_a_live_entry_of_any_other_length_is_an_error() {
        for length in (0..44).filter(|length| *length != 8) {
            assert!(decode_born(Birth::new(1), &[0; 44][..length]).is_err() && decode_at(Offset::new(1), &[0; 44][..length]).is_err());
        }
        assert!(decode_born(Birth::new(1), &[0; 45]).is_err() && decode_at(Offset::new(1), &[0; 45]).is_err());
    }

    #[test]
    fn an_acknowledgement_is_read_as_it_was_written() {
        let rank = HeadRank { term: Term::new(2), number: HeadNumber::new(3) };
        assert_eq!(decode_acknowledgement(&encode_acknowledgement(rank, b"signed")), Ok((rank, Bytes::from_static(b"signed"))));
    }

    /// The front that a scan reads is that of the row, and never needs more of it.
    fn check_front(bytes: &[u8], value: Option<&QueueValue>) {
        let (standing, branch) = (Standing::decode(bytes), Standing::branch_of(bytes));
        if let Some(value) = value {
            let standing = standing.as_ref().expect("the front of a row");
            assert_eq!((standing.first, standing.branch, standing.holds_access), (value.first, value.branch, value.holds_access));
            assert_eq!(standing.head, value.row.head);
        }
        assert!(standing.is_err() || standing.map(|standing| standing.branch) == branch);
    }

    #[test]
    fn rows_of_queues_have_one_encoding_in_each_format() {
        alone(concat!(module_path!(), "::rows_of_queues_have_one_encoding_in_each_format"), || {
            let empty = QueueRow { descriptor: Bytes::new(), head: Bytes::new(), frontier: Bytes::new(), ..row() };
            let newest = [encode_queue(Offset::new(5), 2, &row()), encode_queue(NOTHING_LIVE, 0, &empty)];
            let older = [0, 1].map(|branch| encode_queue_with_access(Offset::new(5), branch, &row()));
            feed("queue", Meal::LARGE, &[newest, older].concat(), |bytes| {
                let value = QueueValue::decode(bytes).ok();
                check_front(bytes, value.as_ref());
                let QueueValue { first, branch, row, holds_access } = value?;
                let written = match (holds_access, bytes.first()) {
                    (false, _) => encode_queue(first, branch, &row),
                    // The first branch may stand in either of the older versions.
                    (true, Some(&WITH_ACCESS_BRANCHED)) if branch == 0 => {
                        let whole = encode_queue_with_access(first, branch, &row);
                        [&[WITH_ACCESS_BRANCHED], &[0; 8][..], &whole[1..]].concat()
                    }
                    (true, _) => encode_queue_with_access(first, branch, &row),
                };
                Some(written)
            });
        });
    }

    #[test]
    fn rows_of_entries_readers_and_ranks_have_one_encoding_each() {
        alone(concat!(module_path!(), "::rows_of_entries_readers_and_ranks_have_one_encoding_each"), || {
            let offset_alone = 9_u64.to_be_bytes().to_vec();
            feed("born", Meal::LARGE, &[encode_born(&live()).to_vec(), offset_alone.clone()], |bytes| {
                Some(match decode_born(live().birth, bytes).ok()? {
                    BornRow::Whole(row) => encode_born(&row).to_vec(),
                    BornRow::Offset(offset) => offset.value().to_be_bytes().to_vec(),
                })
            });
            feed("live", Meal::LARGE, &[encode_whole_at(&live()), encode_at(&live()).to_vec()], |bytes| {
                Some(match decode_at(live().offset, bytes).ok()? {
                    AtRow::Whole(row) => encode_whole_at(&row),
                    AtRow::Birth(birth) => birth.value().to_be_bytes().to_vec(),
                })
            });
            let rank = HeadRank { term: Term::new(2), number: HeadNumber::new(3) };
            let acknowledgements = [&b"signed"[..], b""].map(|signed| encode_acknowledgement(rank, signed));
            feed("acknowledgement", Meal::LARGE, &acknowledgements, |bytes| {
                let (rank, signed) = decode_acknowledgement(bytes).ok()?;
                Some(encode_acknowledgement(rank, &signed))
            });
            feed("rank", Meal::LARGE, &[encode_rank(rank)], |bytes| Some(encode_rank(decode_rank(bytes).ok()?)));
        });
    }
}
