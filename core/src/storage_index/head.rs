//! The one object of a queue in storage that is replaced.

use bytes::Bytes;
use tidings_proto::caps;

use super::access::AccessPart;
use super::part::PartReference;
use super::reference::{RunReference, SegmentReference, cover};
use super::set::LivePart;
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::head::SignedHead;

/// A signed head and where in the storage all is that it commits to.
///
/// It has no signature of its own: the head in it has one, and whatever it names is compared with that head's roots. A storage
/// that writes another one can withhold and delay, as a broker can, but cannot make a reader accept anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageHead {
    /// The owner's newest receipted head, verbatim.
    pub head: SignedHead,
    /// The owner's newest pulse; empty if none.
    pub pulse: Bytes,
    /// Offsets of the live entries.
    pub live: PartReference,
    /// The entries. Their ranges cover 1 to the head's offset without a gap, ascending; dead entries are in them until a merge.
    pub segments: Vec<SegmentReference>,
    /// Hashes of all earlier heads: numbers 1 to the one before the head's, without a gap, ascending.
    pub history: Vec<RunReference>,
    /// Access rows and what they name.
    pub access: PartReference,
}

impl StorageHead {
    /// What holds for each by itself.
    fn check(&self) -> Result<(), DecodeError> {
        let head = self.head.head();
        let segments = self.segments.iter().map(|segment| (segment.first.value(), segment.last.value()));
        // Without an entry there is nothing to cover.
        let covered = if self.segments.is_empty() { 0 } else { head.offset.value() };
        if !cover(segments, covered) {
            return Err(DecodeError::Invalid("the segments cover the offsets of the head without a gap"));
        }
        let fits =
            |segment: &SegmentReference| segment.count > 0 && u64::from(segment.count) <= segment.last.value() - segment.first.value() + 1;
        let counted: u64 = self.segments.iter().map(|segment| u64::from(segment.count)).sum();
        if !self.segments.iter().all(fits) || counted < head.live_count {
            return Err(DecodeError::Invalid("the segments hold as many entries as the head counts"));
        }
        let runs = self.history.iter().map(|run| (run.first.value(), run.last.value()));
        if !cover(runs, head.number.value() - 1) {
            return Err(DecodeError::Invalid("the history covers the heads before without a gap"));
        }
        Ok(())
    }
}

impl Object for StorageHead {
    const NAME: &'static str = "storage-head";

    fn write(&self, out: &mut Encoder) {
        out.bytes(self.head.bytes());
        out.bytes(&self.pulse);
        self.live.write(out);
        out.count(self.segments.len());
        self.segments.iter().for_each(|segment| segment.write(out));
        out.count(self.history.len());
        self.history.iter().for_each(|run| run.write(out));
        self.access.write(out);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let head = SignedHead::parse(Bytes::copy_from_slice(input.bytes(caps::HEAD_BYTES_MAX, "head")?))?;
        let pulse = Bytes::copy_from_slice(input.bytes(caps::SIGNED_BYTES_MAX, "pulse")?);
        let live = PartReference::read::<LivePart>(input)?;
        let count = input.count(caps::STORAGE_SEGMENTS_MAX, "segments")?;
        let segments = (0..count).map(|_| SegmentReference::read(input)).collect::<Result<_, _>>()?;
        let count = input.count(caps::STORAGE_RUNS_MAX, "runs")?;
        let history = (0..count).map(|_| RunReference::read(input)).collect::<Result<_, _>>()?;
        let head = Self { head, pulse, live, segments, history, access: PartReference::read::<AccessPart>(input)? };
        head.check().map(|()| head)
    }
}
