//! Writing and reading one record.

use std::sync::Arc;

use bytes::Bytes;
use tidings_client::{Ticket, Write, WriteError};
use tidings_core::{ObjectReference, RecordPath};

use super::release::Intent;
use super::stage::{Turn, blocking};
use super::{Datastore, DatastoreError, FailPoint};
use crate::object::{Draft, Prepared, Sealed, Source, VerifiedFile, fetch, object_name, open_value, prepare};

/// The value of a record, verified whole.
#[derive(Debug)]
pub enum Value {
    /// It came with the record.
    Inline(Bytes),
    /// It came from storage.
    File(VerifiedFile),
}

impl Value {
    /// Length, bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::File(file) => file.size(),
        }
    }
}

impl Datastore {
    /// Creates or replaces a record. Durable when this returns: the value in storage, the write in the outbox.
    ///
    /// Of two puts of one record at once the one that is released later wins. In memory is about 1 MiB of the value.
    ///
    /// # Errors
    /// The record stands as before, but for `Unsettled`. Safe to cancel: then it is soon written, or withdrawn, or was written.
    pub async fn put(&self, path: RecordPath, value: Source, content_type: String) -> Result<Ticket, DatastoreError> {
        match prepare(value, content_type.clone(), &self.shared.config.spool).await? {
            Prepared::Inline(value) => self.release_one(Write::Put { path, value, content_type }, None).await,
            Prepared::Sealed(sealed) => self.put_object(path, sealed).await,
        }
    }

    /// Deletes a record. Durable when this returns.
    ///
    /// # Errors
    /// The record stands as before; `Write(NotFound)` if there is none.
    pub async fn delete(&self, path: RecordPath) -> Result<Ticket, DatastoreError> {
        let ticket = self.release_one(Write::Delete { path }, None).await?;
        self.reach(FailPoint::DeleteReleased);
        Ok(ticket)
    }

    /// The value that this node wrote last, verified whole; `None` without a record.
    ///
    /// # Errors
    /// `Fetch` if the storage does not have it, or has something else.
    pub async fn get(&self, path: &RecordPath) -> Result<Option<Value>, DatastoreError> {
        let (publisher, path) = (self.shared.publisher.clone(), path.clone());
        let Some(own) = blocking(move || Ok(publisher.get(&path)?)).await? else { return Ok(None) };
        let Some(object) = own.mutation.object else { return Ok(Some(Value::Inline(own.mutation.inline.unwrap_or_default()))) };
        self.fetched(&object).await.map(|file| Some(Value::File(file)))
    }

    async fn fetched(&self, object: &ObjectReference) -> Result<VerifiedFile, DatastoreError> {
        let spool = &self.shared.config.spool;
        let (sealed, _) = Draft::create(spool).map_err(DatastoreError::Spool)?;
        fetch(self.shared.config.storage.as_ref(), object, sealed.path()).await.map_err(DatastoreError::Fetch)?;
        open_value(sealed.path(), object, spool).await.map_err(DatastoreError::Fetch)
    }

    async fn put_object(&self, path: RecordPath, sealed: Sealed) -> Result<Ticket, DatastoreError> {
        self.reach(FailPoint::PutSealed);
        let turns = self.stage(vec![(path.clone(), sealed.reference.clone())]).await?;
        let turn = turns.into_iter().next().expect("one for each value");
        self.reach(FailPoint::PutStaged);
        let done = self.finish(&path, &sealed, &turn).await;
        match done {
            Err(error) if nothing_written(&error) => {
                self.withdraw(&turn, &path, &sealed.reference).await.map_err(unsettled)?;
                Err(error)
            }
            // A put whose release failed told that nothing was written, and the next start wrote it.
            done => done.map_err(unsettled),
        }
    }

    async fn finish(&self, path: &RecordPath, sealed: &Sealed, turn: &Arc<Turn>) -> Result<Ticket, DatastoreError> {
        self.store(sealed).await?;
        self.reach(FailPoint::PutStored);
        let write = Write::PutObject { path: path.clone(), object: sealed.reference.clone() };
        let ticket = self.release_one(write, Some(Arc::clone(turn))).await?;
        self.reach(FailPoint::PutReleased);
        Ok(ticket)
    }

    pub(super) async fn store(&self, sealed: &Sealed) -> Result<(), DatastoreError> {
        let name = object_name(&sealed.reference.id);
        self.shared.config.storage.create(&name, sealed.content()).await.map_err(DatastoreError::Storage)
    }

    pub(super) async fn release_one(&self, write: Write, staged: Option<Arc<Turn>>) -> Result<Ticket, DatastoreError> {
        let tickets = self.shared.releases.release(vec![Intent { write, staged }]).await?;
        Ok(tickets.into_iter().next().expect("one for each write"))
    }
}

/// The staged row is still there, and what it tells of is written or withdrawn when the state answers again.
fn unsettled(error: DatastoreError) -> DatastoreError {
    match error {
        // That says so by itself.
        DatastoreError::Write(WriteError::Closed) => error,
        error => DatastoreError::Unsettled(Box::new(error)),
    }
}

/// Whether it is certain that the outbox does not name the object. Else it must not be removed: the row is settled later.
pub(super) fn nothing_written(error: &DatastoreError) -> bool {
    match error {
        DatastoreError::Write(error) => !matches!(error, WriteError::Closed | WriteError::State(_)),
        DatastoreError::State(_) => false,
        _ => true,
    }
}
