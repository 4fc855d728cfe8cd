//! The writer as one durable row.

use std::sync::Arc;

use tidings_proto::caps::{ATTACHMENT_BYTES_MAX, HEAD_BYTES_MAX, HEAD_EPOCHS_MAX, READERS_MAX};

use super::{EpochInUse, Writer, access::Reader};
use crate::access::{AccessRow, OwnerCopy};
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::epoch::EpochSecret;
use crate::head::{SignedHead, WriterId};
use crate::history::Frontier;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};
use crate::version::Version;

impl Object for Writer {
    const NAME: &'static str = "writer";

    fn write(&self, out: &mut Encoder) {
        out.bytes(&self.descriptor.encode());
        out.raw(&self.writer.0);
        out.term(self.term);
        out.bytes(self.head.as_ref().map_or(&[][..], |head| head.bytes()));
        self.floor_version.write_in(out);
        out.raw(&self.live.state());
        out.u64(self.live_count);
        out.raw(&self.access.state());
        out.bytes(&self.frontier.encode());
        out.count(self.epochs.len());
        for used in &self.epochs {
            out.bytes(&used.secret.encode());
            out.u64(used.live);
        }
        out.count(self.readers.len());
        for reader in self.readers.iter() {
            out.bytes(&reader.row.encode());
            out.bytes(&reader.copy.encode());
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let descriptor = QueueDescriptor::decode(input.bytes(HEAD_BYTES_MAX, "descriptor")?)?;
        let writer = WriterId(input.array("writer id")?);
        let term = input.term()?;
        let head = match input.bytes(HEAD_BYTES_MAX, "head")? {
            [] => None,
            bytes => Some(SignedHead::parse(bytes.to_vec().into())?),
        };
        Ok(Self {
            queue: descriptor.id(),
            descriptor,
            writer,
            term,
            head,
            floor_version: Version::read_in(input)?,
            live: SetHash::from_state(SetKind::Live, &input.array("live set")?),
            live_count: input.u64("live count")?,
            access: SetHash::from_state(SetKind::Access, &input.array("access set")?),
            frontier: Frontier::decode(input.bytes(HEAD_BYTES_MAX, "frontier")?)?,
            epochs: read_epochs(input)?,
            readers: Arc::new(read_readers(input)?),
        })
    }
}

fn read_epochs(input: &mut Decoder<'_>) -> Result<Vec<EpochInUse>, DecodeError> {
    let count = input.count(HEAD_EPOCHS_MAX, "epochs")?;
    if count == 0 {
        return Err(DecodeError::Invalid("a writer without an epoch"));
    }
    (0..count)
        .map(|_| Ok(EpochInUse { secret: EpochSecret::decode(input.bytes(HEAD_BYTES_MAX, "epoch")?)?, live: input.u64("live in epoch")? }))
        .collect()
}

fn read_readers(input: &mut Decoder<'_>) -> Result<Vec<Reader>, DecodeError> {
    let count = input.count(READERS_MAX, "readers")?;
    let mut readers = Vec::new();
    for _ in 0..count {
        let row = AccessRow::decode(input.bytes(ATTACHMENT_BYTES_MAX, "row")?)?;
        let copy = OwnerCopy::decode(input.bytes(ATTACHMENT_BYTES_MAX, "copy")?)?;
        readers.push(Reader { row, copy });
    }
    Ok(readers)
}
