//! The reader as one durable row, of version 3. Older rows open too: those of version 2 end before what is known about a rewind, those
//! of version 1 before the ancestor and the pulse.

use tidings_proto::caps::{ATTACHMENT_BYTES_MAX, HEAD_BYTES_MAX, HEAD_EPOCHS_MAX, LOCATOR_BYTES_MAX};
use tidings_proto::{HeadRank, Offset};

use super::pulse::LastPulse;
use super::{Reader, Staging};
use crate::codec::{DecodeError, Decoder, Encoder, Object, VERSION};
use crate::cursor::Cursor;
use crate::epoch::EpochSecret;
use crate::head::SignedHead;
use crate::queue::QueueDescriptor;
use crate::set_hash::{SetHash, SetKind};

/// Version of rows written by this build.
const ROW_VERSION: u8 = 3;
/// Rows that end before what is known about a rewind.
const BEFORE_REWINDS: u8 = 2;

/// Holds secrets (pseudonym seed, epoch secrets): kept as private as the node key. What one connection is about is not kept.
impl Object for Reader {
    const NAME: &'static str = "reader";

    fn write(&self, out: &mut Encoder) {
        out.bytes(&self.descriptor.encode());
        out.raw(self.seed.as_ref());
        out.content_hash(&self.grant);
        out.count(self.secrets.len());
        self.secrets.iter().for_each(|secret| out.bytes(&secret.encode()));
        out.bytes(self.locator.as_bytes());
        out.bytes(&self.cursor.encode());
        out.bytes(self.head.as_ref().map_or(&[][..], |head| head.bytes()));
        out.raw(&self.live.state());
        out.u64(self.live_count);
        out.offset(self.staging.position);
        out.rank(self.staging.stamp);
        out.u8(u8::from(self.staging.floor.is_some()));
        out.offset(self.staging.floor.unwrap_or_default());
        out.u8(u8::from(self.rebuilding));
        out.bytes(self.ancestor.as_ref().map_or(&[][..], |head| head.bytes()));
        out.count(usize::from(self.pulse.is_some()));
        if let Some(pulse) = &self.pulse {
            out.rank(pulse.rank);
            out.head_hash(&pulse.head);
            out.timestamp(pulse.time);
            out.timestamp(pulse.next);
        }
        out.u8(u8::from(self.rewinding));
        out.u8(u8::from(self.damaged));
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
            BEFORE_REWINDS => read_second(input),
            VERSION => read_first(input),
            found => Err(DecodeError::TooNew { object: Self::NAME, found }),
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut reader = read_second(input)?;
        reader.rewinding = flag(input, "rewinding")?;
        reader.damaged = flag(input, "damaged")?;
        Ok(reader)
    }
}

/// The fields that rows have from version 2 on.
fn read_second(input: &mut Decoder<'_>) -> Result<Reader, DecodeError> {
    let mut reader = read_first(input)?;
    reader.ancestor = read_head(input, "ancestor")?;
    if input.count(1, "pulse")? == 1 {
        let (rank, head) = (input.rank()?, input.head_hash()?);
        reader.pulse = Some(LastPulse { rank, head, time: input.timestamp()?, next: input.timestamp()? });
    }
    Ok(reader)
}

/// The fields that rows of every version have.
fn read_first(input: &mut Decoder<'_>) -> Result<Reader, DecodeError> {
    let descriptor = QueueDescriptor::decode(input.bytes(HEAD_BYTES_MAX, "descriptor")?)?;
    let seed = zeroize::Zeroizing::new(input.array("seed")?);
    let grant = input.content_hash()?;
    // A grant may hold one epoch more than a head lists.
    let count = input.count(2 * HEAD_EPOCHS_MAX, "secrets")?;
    let secrets = (0..count).map(|_| EpochSecret::decode(input.bytes(ATTACHMENT_BYTES_MAX, "secret")?)).collect::<Result<_, _>>()?;
    let locator = input.text(LOCATOR_BYTES_MAX, "locator")?.to_owned();
    let cursor = Cursor::decode(input.bytes(HEAD_BYTES_MAX, "cursor")?)?;
    let head = read_head(input, "head")?;
    let (live, live_count) = (SetHash::from_state(SetKind::Live, &input.array("live set")?), input.u64("live count")?);
    let (staging, rebuilding) = (read_staging(input)?, flag(input, "rebuilding")?);
    Ok(Reader {
        queue: descriptor.id(),
        descriptor,
        seed,
        grant,
        secrets,
        locator,
        cursor,
        head,
        live,
        live_count,
        staging,
        rebuilding,
        ancestor: None,
        rewinding: false,
        // Nothing else was a reason to read again.
        damaged: rebuilding,
        pulse: None,
        suspect: None,
        attempt: None,
    })
}

fn read_head(input: &mut Decoder<'_>, field: &'static str) -> Result<Option<SignedHead>, DecodeError> {
    match input.bytes(HEAD_BYTES_MAX, field)? {
        [] => Ok(None),
        bytes => Ok(Some(SignedHead::parse(bytes.to_vec().into())?)),
    }
}

fn read_staging(input: &mut Decoder<'_>) -> Result<Staging, DecodeError> {
    let (position, stamp): (Offset, HeadRank) = (input.offset()?, input.rank()?);
    let known = flag(input, "floor")?;
    match (known, input.offset()?) {
        (true, floor) => Ok(Staging { position, stamp, floor: Some(floor) }),
        (false, Offset::ZERO) => Ok(Staging { position, stamp, floor: None }),
        _ => Err(DecodeError::Invalid("a floor that is not known is not zero")),
    }
}

fn flag(input: &mut Decoder<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match input.u8(field)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Invalid("a flag is neither 0 nor 1")),
    }
}
