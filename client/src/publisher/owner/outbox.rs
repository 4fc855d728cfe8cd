//! What was written and waits to be signed.

use std::collections::HashMap;

use bytes::Bytes;
use tidings_core::{Mutation, ObjectReference, Operation, RecordPath, Version};
use tidings_proto::Timestamp;
use tidings_proto::caps::{INLINE_BYTES_MAX, OBJECT_BYTES_MAX, REFERENCE_TEXT_BYTES_MAX};

use super::super::error::WriteError;
use super::super::write::{CONTENT_TYPE, Write};
use super::Owner;
use crate::state::{OwnStep, Row, StateError, put_rows};

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
    pub(in super::super) fn write_parts(
        &mut self,
        parts: &[Part],
        now: Timestamp,
    ) -> Result<Vec<Result<Vec<Taken>, WriteError>>, StateError> {
        let mut clock = self.clock;
        let node = self.key.version_node();
        let taken = self.state.write(|transaction| {
            let step = OwnStep(transaction);
            let mut answers = Vec::with_capacity(parts.len());
            for part in parts {
                if let Some(refused) = refusal(&step, part)? {
                    answers.push(Err(refused));
                    continue;
                }
                let mut taken = Vec::with_capacity(part.writes.len());
                for write in &part.writes {
                    let version = Version::after(Version { clock, ..Version::ZERO }, now, node);
                    clock = version.clock;
                    taken.push(take(&step, write, version)?);
                }
                put_rows(transaction, &part.rows)?;
                answers.push(Ok(taken));
            }
            step.put_clock(clock)?;
            Ok::<_, StateError>(answers)
        })?;
        self.clock = clock;
        Ok(taken)
    }
}

/// Why these writes cannot be taken as they stand, looked at before anything of them is changed.
fn refusal(step: &OwnStep<'_>, part: &Part) -> Result<Option<WriteError>, StateError> {
    let mut exists: HashMap<&RecordPath, bool> = HashMap::new();
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
                None => Known::of(step, path)?.exists(),
            };
            if !there {
                return Ok(Some(WriteError::NotFound(path.clone())));
            }
        }
        exists.insert(path, !deletes);
    }
    Ok(None)
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
    /// Its live entry is a value.
    signed: bool,
    /// Place in the outbox and operation of what waits.
    waits: Option<(u64, Operation)>,
}

impl Known {
    fn of(step: &OwnStep<'_>, path: &RecordPath) -> Result<Self, StateError> {
        let signed = step.record(path)?.is_some_and(|record| !record.tombstone);
        let waits = step.outbox_row(path)?.map(|row| (row.sequence, row.mutation.operation));
        Ok(Self { signed, waits })
    }

    fn exists(&self) -> bool {
        self.waits.map_or(self.signed, |(_, operation)| operation != Operation::Delete)
    }
}

/// One write, not refused, against what is signed and what waits.
fn take(step: &OwnStep<'_>, write: &Write, version: Version) -> Result<Taken, StateError> {
    let path = write.path().clone();
    let known = Known::of(step, &path)?;
    if matches!(write, Write::Delete { .. }) && !known.signed {
        step.remove_outbox(&path)?;
        return Ok(Taken::Undone(path));
    }
    step.put_outbox(&mutation(write, version, known.signed), known.waits.map(|(sequence, _)| sequence))?;
    Ok(Taken::Waits(path))
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
