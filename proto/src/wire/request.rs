//! What a client sends.

use super::FrameError;
use super::bounded::{array, bytes, count, cut, hash_or_nothing, list, name_out, names, owned, sum, text};
use super::schema::{self, request::Kind};
use crate::caps;
use crate::frames::{Hello, Open, Prove, Publish, Request, Subscribe, Transfer};
use crate::ids::{HeadNumber, Offset, Pseudonym, QueueId, VerifyingKey};

impl From<&Request> for schema::Request {
    fn from(request: &Request) -> Self {
        let kind = match request {
            Request::Hello(hello) => Kind::Hello(schema::Hello { software: cut(&hello.software) }),
            Request::Prove(prove) => Kind::Prove(prove_out(prove)),
            Request::Open(open) => Kind::Open(schema::Open { descriptor: open.descriptor.clone() }),
            Request::Publish(publish) => Kind::Publish(publish_out(publish)),
            Request::AskReaders => Kind::AskReaders(schema::AskReaders {}),
            Request::Subscribe(subscribe) => Kind::Subscribe(subscribe_out(subscribe)),
            Request::AskBitmap => Kind::AskBitmap(schema::AskBitmap {}),
            Request::Acknowledge(signed) => Kind::Acknowledge(schema::Acknowledge { acknowledgement: signed.clone() }),
            Request::Pulse(pulse) => Kind::Pulse(schema::Pulse { pulse: pulse.clone() }),
            Request::Transfer(part) => Kind::Transfer(transfer_out(part)),
            Request::Recover => Kind::Recover(schema::Recover {}),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<schema::Request> for Request {
    type Error = FrameError;

    fn try_from(message: schema::Request) -> Result<Self, FrameError> {
        Ok(match message.kind.ok_or(FrameError::TooNew)? {
            Kind::Hello(hello) => Self::Hello(Hello { software: text(hello.software, "software")? }),
            Kind::Prove(prove) => Self::Prove(prove_in(prove)?),
            Kind::Open(open) => Self::Open(Open { descriptor: bytes(open.descriptor, caps::DESCRIPTOR_BYTES_MAX, "descriptor")? }),
            Kind::Publish(publish) => Self::Publish(publish_in(publish)?),
            Kind::AskReaders(_) => Self::AskReaders,
            Kind::Subscribe(subscribe) => Self::Subscribe(subscribe_in(subscribe)?),
            Kind::AskBitmap(_) => Self::AskBitmap,
            Kind::Acknowledge(signed) => Self::Acknowledge(bytes(signed.acknowledgement, caps::SIGNED_BYTES_MAX, "acknowledgement")?),
            Kind::Pulse(pulse) => Self::Pulse(bytes(pulse.pulse, caps::SIGNED_BYTES_MAX, "pulse")?),
            Kind::Transfer(part) => Self::Transfer(transfer_in(part)?),
            Kind::Recover(_) => Self::Recover,
        })
    }
}

fn prove_out(prove: &Prove) -> schema::Prove {
    schema::Prove { key: name_out(prove.key.bytes()), signature: prove.signature.to_vec().into() }
}

fn prove_in(prove: schema::Prove) -> Result<Prove, FrameError> {
    Ok(Prove { key: VerifyingKey::new(array(&prove.key, "key")?), signature: array(&prove.signature, "signature")? })
}

fn publish_out(publish: &Publish) -> schema::Publish {
    schema::Publish {
        head: publish.head.clone(),
        entries: publish.entries.clone(),
        purged: publish.purged.iter().map(|offset| offset.value()).collect(),
        access_put: publish.access_put.clone(),
        access_removed: publish.access_removed.iter().map(|reader| name_out(reader.bytes())).collect(),
        attachments: publish.attachments.clone(),
    }
}

fn publish_in(publish: schema::Publish) -> Result<Publish, FrameError> {
    sum(&publish.entries, caps::PUBLISH_BYTES_MAX, "entries")?;
    sum(&publish.attachments, caps::PUBLISH_ATTACHMENT_BYTES_MAX, "attachments")?;
    let removed = names(publish.access_removed, caps::PUBLISH_ACCESS_MAX, "access rows removed")?;
    Ok(Publish {
        head: owned(&publish.head, caps::HEAD_BYTES_MAX, "head")?,
        entries: list(publish.entries, caps::PUBLISH_ENTRIES_MAX, caps::ENTRY_BYTES_MAX, "entries")?,
        purged: count(publish.purged, caps::PUBLISH_PURGED_MAX, "purged")?.into_iter().map(Offset::new).collect(),
        access_put: list(publish.access_put, caps::PUBLISH_ACCESS_MAX, caps::ACCESS_ROW_BYTES_MAX, "access rows")?,
        access_removed: removed.into_iter().map(Pseudonym::new).collect(),
        attachments: list(publish.attachments, 2 * caps::PUBLISH_ACCESS_MAX, caps::ATTACHMENT_BYTES_MAX, "attachments")?,
    })
}

fn subscribe_out(subscribe: &Subscribe) -> schema::Subscribe {
    schema::Subscribe {
        queue: name_out(subscribe.queue.bytes()),
        reader: name_out(subscribe.reader.bytes()),
        cursor: subscribe.cursor.value(),
        position: subscribe.position.value(),
        grant: subscribe.grant.clone(),
    }
}

fn subscribe_in(subscribe: schema::Subscribe) -> Result<Subscribe, FrameError> {
    Ok(Subscribe {
        queue: QueueId::new(array(&subscribe.queue, "queue")?),
        reader: Pseudonym::new(array(&subscribe.reader, "reader")?),
        cursor: HeadNumber::new(subscribe.cursor),
        position: Offset::new(subscribe.position),
        grant: hash_or_nothing(subscribe.grant, "grant")?,
    })
}

pub(super) fn transfer_out(part: &Transfer) -> schema::Transfer {
    schema::Transfer {
        history: part.history.iter().map(name_out).collect(),
        after: part.after.value(),
        through: part.through.value(),
        live: part.live.clone(),
        entries: part.entries.clone(),
        attachments: part.attachments.clone(),
        head: part.head.clone(),
        rows: part.rows.clone(),
    }
}

pub(super) fn transfer_in(part: schema::Transfer) -> Result<Transfer, FrameError> {
    sum(&part.entries, caps::PUBLISH_BYTES_MAX, "entries")?;
    sum(&part.attachments, caps::PUBLISH_ATTACHMENT_BYTES_MAX, "attachments")?;
    Ok(Transfer {
        history: names(part.history, caps::TRANSFER_HISTORY_MAX, "history")?,
        after: Offset::new(part.after),
        through: Offset::new(part.through),
        live: bytes(part.live, caps::BITMAP_BYTES_MAX, "bitmap")?,
        entries: list(part.entries, caps::PUBLISH_ENTRIES_MAX, caps::ENTRY_BYTES_MAX, "entries")?,
        attachments: list(part.attachments, 2 * caps::PUBLISH_ACCESS_MAX, caps::ATTACHMENT_BYTES_MAX, "attachments")?,
        head: owned(&part.head, caps::HEAD_BYTES_MAX, "head")?,
        rows: list(part.rows, caps::READERS_MAX, caps::ACCESS_ROW_BYTES_MAX, "access rows")?,
    })
}
