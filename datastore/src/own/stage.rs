//! Staging: what is about to be written to storage is durable before.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_client::{Named, State, StateError};
use tidings_core::{ObjectReference, RecordPath};
use tokio::sync::mpsc;

use super::ledger::{LedgerEntry, STAGED, Staged, Standing, sequence};
use super::{Datastore, DatastoreError, FailPoint};
use crate::object::object_name;

/// Staged rows that a call of this process works at; others are what a crash or a dropped call left.
#[derive(Clone)]
pub(super) struct Active {
    numbers: Arc<Mutex<Numbers>>,
    left: mpsc::Sender<()>,
}

struct Numbers {
    next: u64,
    active: BTreeSet<u64>,
}

/// A staged row that is worked at until this is dropped: by one call alone.
pub(super) struct Turn {
    pub(super) sequence: u64,
    ended: AtomicBool,
    active: Active,
}

impl Active {
    /// Goes on after the rows that are there. Gives word when a turn is over and its row is still there.
    pub(super) fn after(state: &State) -> Result<(Self, mpsc::Receiver<()>), StateError> {
        let mut next = 1;
        while let Some((key, _)) = state.rows(STAGED, &[], Some(&u64::to_be_bytes(next - 1)), 1)?.first() {
            next = sequence(key)?.saturating_add(1);
        }
        let (left, word) = mpsc::channel(1);
        Ok((Self { numbers: Arc::new(Mutex::new(Numbers { next, active: BTreeSet::new() })), left }, word))
    }

    /// The next row, which is not there yet.
    pub(super) fn begin(&self) -> Turn {
        let mut numbers = self.numbers();
        let sequence = numbers.next;
        numbers.next += 1;
        numbers.active.insert(sequence);
        self.turn(sequence)
    }

    /// A row that is there, if nobody works at it.
    pub(super) fn take(&self, sequence: u64) -> Option<Turn> {
        self.numbers().active.insert(sequence).then(|| self.turn(sequence))
    }

    /// Some rows are left.
    pub(super) fn leave(&self) {
        // If one word waits already, that is enough.
        let _ = self.left.try_send(());
    }

    fn turn(&self, sequence: u64) -> Turn {
        Turn { sequence, ended: AtomicBool::new(false), active: self.clone() }
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// The row is gone, or is left to a later one.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.active.numbers().active.remove(&self.sequence);
        if !self.ended.load(Ordering::Relaxed) {
            self.active.leave();
        }
    }
}

impl Datastore {
    /// Makes staged rows for values, in one transaction.
    pub(super) async fn stage(&self, values: Vec<(RecordPath, ObjectReference)>) -> Result<Vec<Arc<Turn>>, DatastoreError> {
        let datastore = self.clone();
        blocking(move || {
            let (mut turns, mut rows) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
            for (path, object) in values {
                let clock = newest_clock(&datastore.shared.publisher.named(&path)?);
                let turn = Arc::new(datastore.shared.active.begin());
                rows.push(Staged { path, object, clock }.row(turn.sequence));
                turns.push(turn);
            }
            datastore.shared.state.put_rows(&rows)?;
            Ok(turns)
        })
        .await
    }

    /// Ends a staged row without a write. Its object may be in storage: the ledger knows it until it is not.
    pub(super) async fn withdraw(&self, turn: &Turn, path: &RecordPath, object: &ObjectReference) -> Result<(), DatastoreError> {
        let marked = [Staged::remove(turn.sequence), LedgerEntry::row(path, &object.id, Standing::Unused)];
        let state = self.shared.state.clone();
        blocking(move || Ok(state.put_rows(&marked)?)).await?;
        turn.end();
        self.reach(FailPoint::WithdrawMarked);
        if self.shared.config.storage.remove(&object_name(&object.id)).await.is_err() {
            // The next collection tries again.
            return Ok(());
        }
        self.reach(FailPoint::WithdrawRemoved);
        let (state, id) = (self.shared.state.clone(), object.id);
        blocking(move || Ok(state.put_rows(&[LedgerEntry::remove(&id)])?)).await
    }
}

/// Clock of the newest version of a record; 0 if there is none.
pub(super) fn newest_clock(named: &Named) -> u64 {
    let signed = named.signed.as_ref().map(|(mutation, _)| mutation);
    [named.waiting.as_ref(), signed].into_iter().flatten().map(|mutation| mutation.version.clock).max().unwrap_or(0)
}

/// Work that blocks, off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DatastoreError> + Send + 'static,
) -> Result<T, DatastoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| DatastoreError::State(StateError::Io(std::io::Error::other(error))))?
}
