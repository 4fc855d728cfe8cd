//! Changes on their way to the application and back. [P-15]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_core::reader::{Change, ChangeKind};
use tidings_core::{Cursor, RecordPath};
use tidings_proto::{Offset, QueueId, Term};

use super::event::ChangeId;
use crate::state::{FollowStep, FollowTables, FollowView, HandedOut, PendingRow, Row, State, StateError, put_rows};

/// What was handed out in this session. Clones share it.
///
/// Whoever hands out holds the session from before the transaction until it is remembered, so nothing is handed out twice.
#[derive(Clone)]
pub(super) struct HandOut {
    pub(super) state: State,
    pub(super) queue: QueueId,
    session: Arc<Mutex<Session>>,
}

/// What is handed out and not acknowledged.
#[derive(Default)]
pub(super) struct Session {
    /// Handed out and not acknowledged: the newest of each record.
    handed: HashMap<RecordPath, (Term, Offset)>,
    /// The cursor when everything that waited had been handed out, and what of that is not acknowledged yet.
    sweep: Option<(Cursor, HashSet<ChangeId>)>,
}

impl HandOut {
    pub(super) fn new(state: State, queue: QueueId) -> Self {
        Self { state, queue, session: Arc::default() }
    }

    /// At most `limit` waiting changes that this session has not handed out. They are marked durably first: from then on the
    /// application may know them, so none of them may cancel out with a later one.
    pub(super) fn take(&self, limit: usize) -> Result<Vec<Change>, StateError> {
        let mut session = self.session();
        if !self.state.read(|transaction| FollowView(transaction).has_pending(&self.queue, |row| !session.is_new(row)))? {
            return Ok(Vec::new());
        }
        let (changes, cursor) = self.state.write(|transaction| {
            let mut tables = FollowTables::open(transaction, &self.queue)?;
            let changes = session.mark(&mut tables, limit)?;
            drop(tables);
            let cursor = FollowStep(transaction).reader(&self.queue)?.map(|reader| reader.cursor());
            Ok::<_, StateError>((changes, cursor))
        })?;
        session.remember(&changes, cursor.filter(|_| changes.len() < limit));
        Ok(changes)
    }

    /// Keeps others from handing out. Not to be taken inside a transaction.
    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application has made `done` durable, and with it `rows` change. Gives the cursor to acknowledge, if it advanced.
    pub(super) fn acknowledge(&self, done: &[ChangeId], rows: &[Row]) -> Result<Option<Cursor>, StateError> {
        let swept = self.swept(done);
        let cursor = self.state.write(|transaction| {
            let mut tables = FollowTables::open(transaction, &self.queue)?;
            done.iter().try_for_each(|id| settle(&mut tables, id))?;
            let none_waits = tables.pending(Some, 1)?.is_empty();
            drop(tables);
            put_rows(transaction, rows)?;
            let step = FollowStep(transaction);
            let reader = step.reader(&self.queue)?;
            let reached = if none_waits { reader.map(|reader| reader.cursor()) } else { swept };
            step.acknowledge(&self.queue, reached)
        })?;
        let mut session = self.session();
        for id in done {
            if session.handed.get(&id.path) == Some(&(id.term, id.offset)) {
                session.handed.remove(&id.path);
            }
        }
        Ok(cursor)
    }

    /// The cursor under which all that was handed out is done, if `done` completes that.
    fn swept(&self, done: &[ChangeId]) -> Option<Cursor> {
        let mut session = self.session();
        let (cursor, left) = session.sweep.as_mut()?;
        let done: HashSet<&ChangeId> = done.iter().collect();
        left.retain(|id| !done.contains(id));
        let cursor = *cursor;
        if !left.is_empty() {
            return None;
        }
        session.sweep = None;
        Some(cursor)
    }
}

impl Session {
    fn is_new(&self, row: &PendingRow) -> bool {
        self.handed.get(&row.change.path) != Some(&(row.change.term, row.change.offset))
    }

    /// At most `limit` waiting changes that were not handed out, marked as handed out. They are once this transaction is durable and
    /// they are remembered.
    pub(super) fn mark(&self, tables: &mut FollowTables<'_>, limit: usize) -> Result<Vec<Change>, StateError> {
        let mut rows = tables.pending(|row| self.is_new(&row).then_some(row), limit)?;
        for row in &mut rows {
            let change = &row.change;
            row.handed = Some(HandedOut { term: change.term, offset: change.offset, exists: change.kind != ChangeKind::Delete });
            tables.put_pending(row)?;
        }
        Ok(rows.into_iter().map(|row| row.change).collect())
    }

    /// These are handed out. `whole`: the cursor, if nothing else waits under it.
    pub(super) fn remember(&mut self, changes: &[Change], whole: Option<Cursor>) {
        self.handed.extend(changes.iter().map(|change| (change.path.clone(), (change.term, change.offset))));
        if let Some(cursor) = whole {
            let out =
                |(path, (term, offset)): (&RecordPath, &(Term, Offset))| ChangeId { path: path.clone(), term: *term, offset: *offset };
            self.sweep = Some((cursor, self.handed.iter().map(out).collect()));
        }
    }
}

/// What of a waiting change is left after the application has handled `done`.
fn settle(tables: &mut FollowTables<'_>, done: &ChangeId) -> Result<(), StateError> {
    let Some(row) = tables.pending_row(&done.path)? else { return Ok(()) };
    if (row.change.term, row.change.offset) == (done.term, done.offset) {
        return tables.remove_pending(&done.path);
    }
    // A later change came meanwhile: it is told relative to what is handled now.
    let Some(handed) = row.handed.filter(|handed| (handed.term, handed.offset) == (done.term, done.offset)) else { return Ok(()) };
    let kind = match (handed.exists, row.change.kind) {
        (false, ChangeKind::Delete) => return tables.remove_pending(&done.path),
        (true, ChangeKind::Delete) => ChangeKind::Delete,
        (true, _) => ChangeKind::Update,
        (false, _) => ChangeKind::Create,
    };
    tables.put_pending(&PendingRow { change: Change { kind, ..row.change }, handed: None })
}
