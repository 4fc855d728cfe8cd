//! What was written and waits to be signed.

use std::collections::HashMap;

use bytes::Bytes;
use redb::WriteTransaction;
use tidings_core::writer::{Draft, OwnRecord};
use tidings_core::{Mutation, ObjectReference, Operation, RecordPath, Version};
use tidings_proto::Timestamp;
use tidings_proto::caps::{INLINE_BYTES_MAX, OBJECT_BYTES_MAX, REFERENCE_TEXT_BYTES_MAX};

use super::super::error::WriteError;
use super::super::write::{CONTENT_TYPE, Write};
use super::Owner;
use crate::state::{LiveTables, OutboxTables, OwnStep, Row, StateError, put_rows};

/// Writes that are taken all or none, and rows of the layer above that are kept with them.
#[derive(Debug, Default)]
pub(in super::super) struct Part {
    pub(in super::super) writes: Vec<Write>,
    pub(in super::super) rows: Vec<Row>,
    /// It may name reserved paths: it is of this program, not of an application.
    pub(in super::super) reserved: bool,
}

/// What became of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Taken {
    /// It waits in the outbox.
    Waits(RecordPath),
    /// It undid a write that was not signed yet.
    Undone(RecordPath),
}

impl Owner {
    /// Puts the writes of each part into the outbox, all or none of a part, and conflates them with what waits for the same
    /// record. One transaction for all parts: a part that is refused leaves the others as they are. [P-3]
    pub(in super::super) fn write_parts(&mut self, parts: &[Part], now: Timestamp) -> Result<Vec<Answer>, StateError> {
        let mut clock = self.clock;
        let answers = self.state.write(|transaction| {
            let step = OwnStep(transaction);
            let mut intake = Intake::to_outbox(&step)?;
            let answers = intake.take_all(parts, &mut clock, now, self.key.version_node())?;
            drop(intake);
            put_beside(transaction, &step, parts, &answers, clock)?;
            Ok::<_, StateError>(answers)
        })?;
        self.clock = clock;
        Ok(answers)
    }
}

/// What became of the writes of one part, or why none of them was taken.
pub(in super::super) type Answer = Result<Vec<Taken>, WriteError>;

/// The rows of the parts that were taken, and the clock.
pub(super) fn put_beside(
    transaction: &WriteTransaction,
    step: &OwnStep<'_>,
    parts: &[Part],
    answers: &[Answer],
    clock: u64,
) -> Result<(), StateError> {
    let taken = parts.iter().zip(answers).filter(|(_, answer)| answer.is_ok());
    taken.into_iter().try_for_each(|(part, _)| put_rows(transaction, &part.rows))?;
    step.put_clock(clock)
}

/// Takes writes one after the other, each against what is signed and what waits.
pub(super) struct Intake<'t> {
    live: LiveTables<'t>,
    waiting: Waiting<'t>,
}

/// Where writes wait.
enum Waiting<'t> {
    /// In the outbox.
    Outbox(Box<OutboxTables<'t>>),
    /// In memory, until the end of this very transaction. The outbox is empty.
    Fresh(Fresh),
}

/// Mutations in their order, each with the record that lives, at most one of a path.
#[derive(Default)]
struct Fresh {
    rows: Vec<Option<Draft>>,
    places: HashMap<RecordPath, usize>,
}

impl Fresh {
    fn waits(&self, path: &RecordPath) -> Option<(u64, Operation)> {
        let at = *self.places.get(path)?;
        Some((at as u64, self.rows[at].as_ref()?.mutation.operation))
    }

    fn put(&mut self, mutation: Mutation, prior: Option<OwnRecord>, at: Option<u64>) {
        let place = at.and_then(|at| self.rows.get_mut(usize::try_from(at).ok()?));
        match place {
            Some(row) => *row = Some(Draft { mutation, prior }),
            None => {
                self.places.insert(mutation.path.clone(), self.rows.len());
                self.rows.push(Some(Draft { mutation, prior }));
            }
        }
    }

    fn remove(&mut self, path: &RecordPath) {
        if let Some(at) = self.places.remove(path) {
            self.rows[at] = None;
        }
    }
}

impl<'t> Intake<'t> {
    fn to_outbox(step: &'t OwnStep<'_>) -> Result<Self, StateError> {
        Ok(Self { live: step.live()?, waiting: Waiting::Outbox(Box::new(step.outbox()?)) })
    }

    /// For writes that are signed in the same transaction. `None` if others wait in front of them.
    pub(super) fn to_sign(step: &'t OwnStep<'_>) -> Result<Option<Self>, StateError> {
        if !step.outbox()?.is_empty()? {
            return Ok(None);
        }
        Ok(Some(Self { live: step.live()?, waiting: Waiting::Fresh(Fresh::default()) }))
    }

    pub(super) fn take_all(&mut self, parts: &[Part], clock: &mut u64, now: Timestamp, node: [u8; 16]) -> Result<Vec<Answer>, StateError> {
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            if let Some(refused) = self.refusal(part)? {
                answers.push(Err(refused));
                continue;
            }
            let mut taken = Vec::with_capacity(part.writes.len());
            for write in &part.writes {
                let version = Version::after(Version { clock: *clock, ..Version::ZERO }, now, node);
                *clock = version.clock;
                taken.push(self.take(write, version)?);
            }
            answers.push(Ok(taken));
        }
        Ok(answers)
    }

    /// What waits in memory, in its order.
    pub(super) fn into_drafts(self) -> Vec<Draft> {
        match self.waiting {
            Waiting::Outbox(_) => Vec::new(),
            Waiting::Fresh(fresh) => fresh.rows.into_iter().flatten().collect(),
        }
    }

    /// Why these writes cannot be taken as they stand, looked at before anything of them is changed.
    fn refusal(&self, part: &Part) -> Result<Option<WriteError>, StateError> {
        let mut exists: HashMap<&RecordPath, bool> = HashMap::new();
        // Of one write there is nothing before it to remember.
        let one = part.writes.len() == 1;
        for write in &part.writes {
            if !part.reserved && write.path().is_reserved() {
                return Ok(Some(WriteError::Reserved(write.path().clone())));
            }
            if let Err(error) = check(write) {
                return Ok(Some(error));
            }
            let path = write.path();
            let deletes = matches!(write, Write::Delete { .. });
            if deletes {
                let there = match exists.get(path) {
                    Some(there) => *there,
                    None => self.known(path)?.exists(),
                };
                if !there {
                    return Ok(Some(WriteError::NotFound(path.clone())));
                }
            }
            if !one {
                exists.insert(path, !deletes);
            }
        }
        Ok(None)
    }

    /// One write, not refused, against what is signed and what waits.
    fn take(&mut self, write: &Write, version: Version) -> Result<Taken, StateError> {
        let path = write.path();
        let known = self.known(path)?;
        let signed = known.is_signed();
        if matches!(write, Write::Delete { .. }) && !signed {
            match &mut self.waiting {
                Waiting::Outbox(outbox) => outbox.remove(path)?,
                Waiting::Fresh(fresh) => fresh.remove(path),
            }
            return Ok(Taken::Undone(path.clone()));
        }
        let (mutation, at) = (mutation(write, version, signed), known.waits.map(|(at, _)| at));
        match &mut self.waiting {
            Waiting::Outbox(outbox) => outbox.put(&mutation, at)?,
            Waiting::Fresh(fresh) => fresh.put(mutation, known.record, at),
        }
        Ok(Taken::Waits(path.clone()))
    }

    fn known(&self, path: &RecordPath) -> Result<Known, StateError> {
        let waits = match &self.waiting {
            Waiting::Outbox(outbox) => outbox.row(path)?.map(|row| (row.sequence, row.mutation.operation)),
            Waiting::Fresh(fresh) => fresh.waits(path),
        };
        Ok(Known { record: self.live.record(path)?, waits })
    }
}

fn check(write: &Write) -> Result<(), WriteError> {
    match write {
        Write::Put { path, value, .. } if value.len() > INLINE_BYTES_MAX => {
            Err(WriteError::TooLarge { path: path.clone(), size: value.len() })
        }
        Write::Put { path, content_type, .. } if content_type.len() > REFERENCE_TEXT_BYTES_MAX => {
            Err(WriteError::ContentType(path.clone()))
        }
        Write::PutObject { path, object } if object.content_type.len() > REFERENCE_TEXT_BYTES_MAX => {
            Err(WriteError::ContentType(path.clone()))
        }
        Write::PutObject { path, object } if object.name.len() > REFERENCE_TEXT_BYTES_MAX || object.size > OBJECT_BYTES_MAX => {
            Err(WriteError::Object(path.clone()))
        }
        _ => Ok(()),
    }
}

/// What is known of a record before a write.
struct Known {
    /// Its live entry, a tombstone included.
    record: Option<OwnRecord>,
    /// Place among what waits, and operation.
    waits: Option<(u64, Operation)>,
}

impl Known {
    /// Its live entry is a value.
    fn is_signed(&self) -> bool {
        self.record.as_ref().is_some_and(|record| !record.tombstone)
    }

    fn exists(&self) -> bool {
        self.waits.map_or(self.is_signed(), |(_, operation)| operation != Operation::Delete)
    }
}

/// At least as many bytes as the mutation has encoded.
pub(super) fn size(mutation: &Mutation) -> usize {
    let headers: usize = mutation.headers.iter().map(|(name, value)| 16 + name.len() + value.len()).sum();
    let object = mutation.object.as_ref().map_or(0, |object| 256 + object.name.len() + object.content_type.len());
    128 + mutation.path.as_str().len() + mutation.inline.as_ref().map_or(0, Bytes::len) + headers + object
}

fn mutation(write: &Write, version: Version, signed: bool) -> Mutation {
    let put = if signed { Operation::Update } else { Operation::Create };
    let (operation, object, inline, headers) = match write {
        Write::Put { value, content_type, .. } => (put, None, Some(value.clone()), type_header(content_type)),
        Write::PutObject { object, .. } => (put, Some(ObjectReference::clone(object)), None, Vec::new()),
        Write::Delete { .. } => (Operation::Delete, None, None, Vec::new()),
    };
    Mutation { path: write.path().clone(), operation, version, object, inline, headers, unknown: Vec::new() }
}

fn type_header(content_type: &str) -> Vec<(String, Bytes)> {
    if content_type.is_empty() {
        return Vec::new();
    }
    vec![(CONTENT_TYPE.to_owned(), Bytes::copy_from_slice(content_type.as_bytes()))]
}
