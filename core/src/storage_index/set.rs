//! The live entries, their offsets, and the hashes of earlier heads.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_proto::{Offset, caps};

use super::part::Part;
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::entry::Entry;
use crate::label::Label;

/// Entries that were live when this was written, verbatim, ascending by offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Offset and encoded entry.
    pub entries: Vec<(Offset, Bytes)>,
}

impl Object for Segment {
    const NAME: &'static str = "storage-segment";

    fn write(&self, out: &mut Encoder) {
        out.count(self.entries.len());
        self.entries.iter().for_each(|(_, bytes)| out.bytes(bytes));
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = input.count(caps::STORAGE_SEGMENT_BYTES_MAX, "entries")?;
        let mut entries: Vec<(Offset, Bytes)> = Vec::new();
        for _ in 0..count {
            let bytes = input.bytes(caps::ENTRY_BYTES_MAX, "entry")?;
            let offset = Entry::decode(bytes)?.offset;
            if entries.last().is_some_and(|(last, _)| *last >= offset) {
                return Err(DecodeError::Invalid("the offsets of a segment ascend"));
            }
            entries.push((offset, Bytes::copy_from_slice(bytes)));
        }
        Ok(Self { entries })
    }
}

impl Part for Segment {
    const LABEL: Label = Label::STORAGE_SEGMENT;
    const FOLDER: &'static str = "index";
    const BYTES_MAX: usize = caps::STORAGE_SEGMENT_BYTES_MAX;
}

/// Offsets of all live entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LivePart(pub RoaringTreemap);

impl Object for LivePart {
    const NAME: &'static str = "storage-live";

    fn write(&self, out: &mut Encoder) {
        out.bytes(&serialized(&self.0));
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let bytes = input.bytes(caps::STORAGE_LIVE_BYTES_MAX, "live offsets")?;
        let live = RoaringTreemap::deserialize_from(bytes).map_err(|_| DecodeError::Invalid("live offsets are a roaring bitmap"))?;
        // One set has one encoding, and nothing follows it.
        if serialized(&live) != bytes {
            return Err(DecodeError::Invalid("live offsets are encoded in the shortest way"));
        }
        Ok(Self(live))
    }
}

impl Part for LivePart {
    const LABEL: Label = Label::STORAGE_LIVE;
    const FOLDER: &'static str = "live";
    const BYTES_MAX: usize = caps::STORAGE_LIVE_BYTES_MAX;
}

/// Hashes of heads with numbers in a row, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistoryRun(pub Vec<[u8; 32]>);

impl Object for HistoryRun {
    const NAME: &'static str = "storage-history";

    fn write(&self, out: &mut Encoder) {
        out.count(self.0.len());
        self.0.iter().for_each(|hash| out.raw(hash));
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = input.count(caps::STORAGE_RUN_HASHES_MAX, "hashes")?;
        (0..count).map(|_| input.array("head hash")).collect::<Result<_, _>>().map(Self)
    }
}

impl Part for HistoryRun {
    const LABEL: Label = Label::STORAGE_HISTORY;
    const FOLDER: &'static str = "history";
    const BYTES_MAX: usize = 1 + 4 + 32 * caps::STORAGE_RUN_HASHES_MAX;
}

fn serialized(live: &RoaringTreemap) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(live.serialized_size());
    live.serialize_into(&mut bytes).expect("writing to memory cannot fail");
    bytes
}
