//! The writer as one durable row, of version 2. Rows of version 1 open too: they end before what is known about a new term.

use std::sync::Arc;

use tidings_proto::caps::{ATTACHMENT_BYTES_MAX, HEAD_BYTES_MAX, HEAD_EPOCHS_MAX, READERS_MAX};

use super::{EpochInUse, Writer, access::Reader, term::Standing};
use crate::access::{AccessRow, OwnerCopy};
use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::epoch::EpochSecret;
use crate::head::{SignedHead, WriterId};
use crate::history::Frontier;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};
use crate::version::Version;

/// Version of rows written by this build.
const ROW_VERSION: u8 = 2;

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
        write_readers(&self.readers, out);
        out.u8(match self.standing {
            Standing::Going => 0,
            Standing::Open => 1,
            Standing::Found => 2,
        });
        out.count(usize::from(self.keys_due.is_some()));
        self.keys_due.iter().for_each(|seen| out.epoch(*seen));
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(ROW_VERSION);
        self.write(&mut out);
        out.finish()
    }

    fn decode_in(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match input.u8("version")? {
            ROW_VERSION => Self::read(input),
            VERSION => read_first(input),
            found => Err(DecodeError::TooNew { object: Self::NAME, found }),
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut writer = read_first(input)?;
        writer.standing = match input.u8("standing")? {
            0 => Standing::Going,
            1 => Standing::Open,
            2 => Standing::Found,
            _ => return Err(DecodeError::Invalid("a writer goes on, opened a term or was found")),
        };
        if input.count(1, "keys that are due")? == 1 {
            writer.keys_due = Some(input.epoch()?);
        }
        Ok(writer)
    }
}

impl Writer {
    /// The row without its readers, who are many and seldom change. [`Writer::with_readers`] makes it whole again.
    pub fn encode_without_readers(&self) -> Vec<u8> {
        Self { readers: Arc::default(), ..self.clone() }.encode()
    }

    /// The readers alone.
    pub fn encode_readers(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        write_readers(&self.readers, &mut out);
        out.finish()
    }

    /// This writer with readers that were encoded alone.
    ///
    /// # Errors
    /// They do not decode.
    pub fn with_readers(self, bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let readers = Arc::new(read_readers(&mut input)?);
        input.finish()?;
        Ok(Self { readers, ..self })
    }

    /// Whether the other one has the very readers of this one, unchanged since it was cloned.
    pub fn has_readers_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.readers, &other.readers)
    }
}

fn write_readers(readers: &[Reader], out: &mut Encoder) {
    out.count(readers.len());
    for reader in readers {
        out.bytes(&reader.row.encode());
        out.bytes(&reader.copy.encode());
    }
}

/// The fields that rows of every version have.
fn read_first(input: &mut Decoder<'_>) -> Result<Writer, DecodeError> {
    let descriptor = QueueDescriptor::decode(input.bytes(HEAD_BYTES_MAX, "descriptor")?)?;
    let writer = WriterId(input.array("writer id")?);
    let term = input.term()?;
    let head = match input.bytes(HEAD_BYTES_MAX, "head")? {
        [] => None,
        bytes => Some(SignedHead::parse(bytes.to_vec().into())?),
    };
    Ok(Writer {
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
        standing: Standing::Going,
        keys_due: None,
    })
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
