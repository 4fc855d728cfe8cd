//! Segments and runs as the head object lists them: what each covers, without a gap.

use tidings_proto::{HeadNumber, Offset};

use super::part::PartReference;
use super::set::{HistoryRun, Segment};
use crate::codec::{DecodeError, Decoder, Encoder};

/// A segment: all entries with offsets from `first` to `last` that were live when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentReference {
    /// First offset covered.
    pub first: Offset,
    /// Last offset covered.
    pub last: Offset,
    /// Entries in it; at least 1.
    pub count: u32,
    /// The object.
    pub part: PartReference,
}

/// A run of head hashes: those of the heads with numbers from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunReference {
    /// Number of the first head.
    pub first: HeadNumber,
    /// Number of the last head.
    pub last: HeadNumber,
    /// The object.
    pub part: PartReference,
}

impl SegmentReference {
    pub(super) fn write(&self, out: &mut Encoder) {
        out.offset(self.first);
        out.offset(self.last);
        out.u32(self.count);
        self.part.write(out);
    }

    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { first: input.offset()?, last: input.offset()?, count: input.u32("count")?, part: PartReference::read::<Segment>(input)? })
    }
}

impl RunReference {
    pub(super) fn write(&self, out: &mut Encoder) {
        out.number(self.first);
        out.number(self.last);
        self.part.write(out);
    }

    pub(super) fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self { first: input.number()?, last: input.number()?, part: PartReference::read::<HistoryRun>(input)? })
    }
}

/// Whether the ranges cover 1 to `last` without gap or overlap; nothing if `last` is 0.
pub(super) fn cover(ranges: impl Iterator<Item = (u64, u64)>, last: u64) -> bool {
    let mut covered = 0;
    for (first, through) in ranges {
        // Neither wraps: `covered` is below `first`.
        if first <= covered || first - covered != 1 || through < first {
            return false;
        }
        covered = through;
    }
    covered == last
}
