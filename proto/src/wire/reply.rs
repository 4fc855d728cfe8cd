//! What a broker answers.

use bytes::Bytes;

use super::FrameError;
use super::bounded::{array, bytes, cut, hash_or_nothing, list, name_out, names, owned, rank, rank_out, sum, text};
use super::request::{transfer_in, transfer_out};
use super::schema::{self, reply::Kind};
use crate::caps;
use crate::frames::{Announce, Bitmap, Chunk, Limits, Readers, Reply, Welcome};
use crate::ids::{HeadNumber, Offset, VerifyingKey};
use crate::refusal::{Refusal, RefusalCode};

impl From<&Reply> for schema::Reply {
    fn from(reply: &Reply) -> Self {
        let kind = match reply {
            Reply::Welcome(welcome) => Kind::Welcome(welcome_out(welcome)),
            Reply::Proven(key) => Kind::Proven(schema::Proven { key: name_out(key.bytes()) }),
            Reply::Standing(head) => Kind::Standing(schema::Standing { head: head.clone() }),
            Reply::Receipt(receipt) => Kind::Receipt(schema::Receipt { receipt: receipt.clone() }),
            Reply::Readers(readers) => Kind::Readers(readers_out(readers)),
            Reply::Grant(grant) => Kind::Grant(schema::Grant { grant: grant.clone() }),
            Reply::Announce(announce) => Kind::Announce(announce_out(announce)),
            Reply::Chunk(chunk) => Kind::Chunk(chunk_out(chunk)),
            Reply::Bitmap(bitmap) => Kind::Bitmap(bitmap_out(bitmap)),
            Reply::Acknowledged(rank) => Kind::Acknowledged(schema::Acknowledged { rank: rank_out(*rank) }),
            Reply::Refused(refusal) => Kind::Refused(refused_out(refusal)),
            Reply::Pulse(pulse) => Kind::Pulse(schema::Pulse { pulse: pulse.clone() }),
            Reply::Part(part) => Kind::Part(transfer_out(part)),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<schema::Reply> for Reply {
    type Error = FrameError;

    fn try_from(message: schema::Reply) -> Result<Self, FrameError> {
        Ok(match message.kind.ok_or(FrameError::TooNew)? {
            Kind::Welcome(welcome) => Self::Welcome(welcome_in(welcome)?),
            Kind::Proven(proven) => Self::Proven(VerifyingKey::new(array(&proven.key, "key")?)),
            Kind::Standing(standing) => Self::Standing(owned(&standing.head, caps::HEAD_BYTES_MAX, "head")?),
            Kind::Receipt(receipt) => Self::Receipt(bytes(receipt.receipt, caps::SIGNED_BYTES_MAX, "receipt")?),
            Kind::Readers(readers) => Self::Readers(readers_in(readers)?),
            Kind::Grant(grant) => Self::Grant(bytes(grant.grant, caps::ATTACHMENT_BYTES_MAX, "grant")?),
            Kind::Announce(announce) => Self::Announce(announce_in(announce)?),
            Kind::Chunk(chunk) => Self::Chunk(chunk_in(chunk)?),
            Kind::Bitmap(bitmap) => Self::Bitmap(bitmap_in(bitmap)?),
            Kind::Acknowledged(acknowledged) => Self::Acknowledged(rank(acknowledged.rank)),
            Kind::Refused(refused) => Self::Refused(refused_in(refused)?),
            Kind::Pulse(pulse) => Self::Pulse(bytes(pulse.pulse, caps::SIGNED_BYTES_MAX, "pulse")?),
            Kind::Part(part) => Self::Part(transfer_in(part)?),
        })
    }
}

fn welcome_out(welcome: &Welcome) -> schema::Welcome {
    let limits = schema::Limits {
        publish_entries_max: welcome.limits.publish_entries_max,
        publish_bytes_max: welcome.limits.publish_bytes_max,
        entry_bytes_max: welcome.limits.entry_bytes_max,
        publishes_in_flight_max: welcome.limits.publishes_in_flight_max,
        readers_max: welcome.limits.readers_max,
        live_bytes_max: welcome.limits.live_bytes_max,
    };
    schema::Welcome { software: cut(&welcome.software), receipt_key: name_out(welcome.receipt_key.bytes()), limits: Some(limits) }
}

fn welcome_in(welcome: schema::Welcome) -> Result<Welcome, FrameError> {
    let limits = welcome.limits.ok_or(FrameError::Malformed("limits"))?;
    let limits = Limits {
        publish_entries_max: limits.publish_entries_max,
        publish_bytes_max: limits.publish_bytes_max,
        entry_bytes_max: limits.entry_bytes_max,
        publishes_in_flight_max: limits.publishes_in_flight_max,
        readers_max: limits.readers_max,
        live_bytes_max: limits.live_bytes_max,
    };
    let receipt_key = VerifyingKey::new(array(&welcome.receipt_key, "receipt key")?);
    Ok(Welcome { software: text(welcome.software, "software")?, receipt_key, limits })
}

fn readers_out(readers: &Readers) -> schema::Readers {
    schema::Readers { rows: readers.rows.clone(), acknowledgements: readers.acknowledgements.clone() }
}

fn readers_in(readers: schema::Readers) -> Result<Readers, FrameError> {
    Ok(Readers {
        rows: access_rows(readers.rows)?,
        acknowledgements: list(readers.acknowledgements, caps::READERS_MAX, caps::SIGNED_BYTES_MAX, "acknowledgements")?,
    })
}

fn access_rows(rows: Vec<Bytes>) -> Result<Vec<Bytes>, FrameError> {
    list(rows, caps::READERS_MAX, caps::ACCESS_ROW_BYTES_MAX, "access rows")
}

fn announce_out(announce: &Announce) -> schema::Announce {
    schema::Announce {
        head: announce.head.clone(),
        base: announce.base.value(),
        leaf: announce.leaf.clone(),
        proof: announce.proof.iter().map(name_out).collect(),
    }
}

fn announce_in(announce: schema::Announce) -> Result<Announce, FrameError> {
    Ok(Announce {
        head: owned(&announce.head, caps::HEAD_BYTES_MAX, "head")?,
        base: HeadNumber::new(announce.base),
        leaf: hash_or_nothing(announce.leaf, "leaf")?,
        proof: names(announce.proof, caps::PROOF_HASHES_MAX, "proof")?,
    })
}

fn chunk_out(chunk: &Chunk) -> schema::Chunk {
    schema::Chunk { stamp: rank_out(chunk.stamp), entries: chunk.entries.clone(), complete: chunk.complete }
}

fn chunk_in(chunk: schema::Chunk) -> Result<Chunk, FrameError> {
    let entries = list(chunk.entries, caps::CHUNK_ENTRIES_MAX, caps::ENTRY_BYTES_MAX, "entries")?;
    sum(&entries, caps::CHUNK_BYTES_MAX.max(caps::ENTRY_BYTES_MAX), "entries")?;
    Ok(Chunk { stamp: rank(chunk.stamp), entries, complete: chunk.complete })
}

fn bitmap_out(bitmap: &Bitmap) -> schema::Bitmap {
    schema::Bitmap {
        stamp: rank_out(bitmap.stamp),
        after: bitmap.after.value(),
        through: bitmap.through.value(),
        live: bitmap.live.clone(),
        last: bitmap.last,
    }
}

fn bitmap_in(bitmap: schema::Bitmap) -> Result<Bitmap, FrameError> {
    Ok(Bitmap {
        stamp: rank(bitmap.stamp),
        after: Offset::new(bitmap.after),
        through: Offset::new(bitmap.through),
        live: bytes(bitmap.live, caps::BITMAP_BYTES_MAX, "bitmap")?,
        last: bitmap.last,
    })
}

fn refused_out(refusal: &Refusal) -> schema::Refused {
    schema::Refused { code: refusal.code.number(), detail: cut(&refusal.detail), head: refusal.head.clone(), rows: refusal.rows.clone() }
}

fn refused_in(refused: schema::Refused) -> Result<Refusal, FrameError> {
    Ok(Refusal {
        code: RefusalCode::from_number(refused.code),
        detail: text(refused.detail, "detail")?,
        head: owned(&refused.head, caps::HEAD_BYTES_MAX, "head")?,
        rows: access_rows(refused.rows)?,
    })
}
