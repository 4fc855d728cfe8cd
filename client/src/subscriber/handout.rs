//! Changes on their way to the application and back. [P-15]

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_core::reader::{Change, ChangeKind};
use tidings_core::{Cursor, RecordPath};
use tidings_proto::{Offset, QueueId, Term};

use super::event::ChangeId;
use crate::state::{FollowStep, FollowTables, HandedOut, Keep, PendingRow, Row, State, StateError, put_rows};

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
    /// The newest of each record.
    handed: HashMap<RecordPath, Handed>,
    /// Numbers of all of them.
    numbers: BTreeSet<u64>,
    next: u64,
    /// The cursor when everything that waited had been handed out, and the number that was next then.
    sweep: Option<(Cursor, u64)>,
    /// Where changes may wait that are not handed out.
    pub(super) unseen: Unseen,
}

struct Handed {
    id: (Term, Offset),
    /// That of the first change of this record that is not acknowledged: they count up as they are handed out.
    number: u64,
}

impl HandOut {
    pub(super) fn new(state: State, queue: QueueId) -> Self {
        Self { state, queue, session: Arc::default() }
    }

    /// At most `limit` waiting changes that this session has not handed out. They are marked durably first: from then on the
    /// application may know them, so none of them may cancel out with a later one.
    pub(super) fn take(&self, limit: usize) -> Result<Vec<Change>, StateError> {
        self.within(|session| {
            if session.unseen.is_nowhere() {
                return Ok(Vec::new());
            }
            let (changes, cursor) = self.state.write_with(|transaction| {
                let mut tables = FollowTables::open(transaction, &self.queue)?;
                let changes = session.mark(&mut tables, limit)?;
                drop(tables);
                let cursor = FollowStep(transaction).reader(&self.queue)?.map(|reader| reader.cursor());
                let keep = if changes.is_empty() { Keep::UntilCrash } else { Keep::Durably };
                Ok::<_, StateError>(((changes, cursor), keep))
            })?;
            session.remember(&changes, cursor.filter(|_| changes.len() < limit));
            Ok(changes)
        })
    }

    /// Does a step that changes what waits, or hands out: with its transaction inside, and nobody else at it meanwhile. After one that
    /// fails, everything that waits is looked at again.
    pub(super) fn within<T>(&self, step: impl FnOnce(&mut Session) -> Result<T, StateError>) -> Result<T, StateError> {
        let mut session = self.session();
        step(&mut session).inspect_err(|_| session.unseen = Unseen::default())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The application has made `done` durable, and with it `rows` change. Gives the cursor to acknowledge, if it advanced.
    pub(super) fn acknowledge(&self, done: &[ChangeId], rows: &[Row]) -> Result<Option<Cursor>, StateError> {
        let swept = self.session().swept(done);
        let cursor = self.state.write(|transaction| {
            let mut tables = FollowTables::open(transaction, &self.queue)?;
            done.iter().try_for_each(|id| settle(&mut tables, id))?;
            let none_waits = tables.none_waits()?;
            drop(tables);
            put_rows(transaction, rows)?;
            let step = FollowStep(transaction);
            let reader = step.reader(&self.queue)?;
            let reached = if none_waits { reader.map(|reader| reader.cursor()) } else { swept };
            step.acknowledge(&self.queue, reached)
        })?;
        self.session().forget(done);
        Ok(cursor)
    }
}

impl Session {
    fn is_new(&self, row: &PendingRow) -> bool {
        self.handed.get(&row.change.path).is_none_or(|handed| handed.id != (row.change.term, row.change.offset))
    }

    /// At most `limit` waiting changes that were not handed out, marked as handed out, ascending by path. They are once this transaction
    /// is durable and they are remembered. [`HandOut::within`] a step.
    pub(super) fn mark(&mut self, tables: &mut FollowTables<'_>, limit: usize) -> Result<Vec<Change>, StateError> {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(path) = self.unseen.some.pop_first()
        {
            rows.extend(tables.pending_row(&path)?.filter(|row| self.is_new(row)));
        }
        if rows.len() < limit && self.unseen.above != Above::Nothing {
            let (wanted, after) = (limit - rows.len(), self.unseen.above.path());
            let found = tables.pending_after(after, |row| self.is_new(row), wanted)?;
            self.unseen.above = match found.last() {
                Some(last) if found.len() >= wanted => Above::Path(last.change.path.clone()),
                _ => Above::Nothing,
            };
            rows.extend(found);
        }
        rows.sort_by(|one, other| one.change.path.cmp(&other.change.path));
        for row in &mut rows {
            let change = &row.change;
            row.handed = Some(HandedOut { term: change.term, offset: change.offset, exists: change.kind != ChangeKind::Delete });
            tables.put_pending(row)?;
        }
        Ok(rows.into_iter().map(|row| row.change).collect())
    }

    /// These are handed out. `whole`: the cursor, if nothing else waits under it.
    pub(super) fn remember(&mut self, changes: &[Change], whole: Option<Cursor>) {
        for change in changes {
            let id = (change.term, change.offset);
            match self.handed.entry(change.path.clone()) {
                Entry::Occupied(mut handed) => handed.get_mut().id = id,
                Entry::Vacant(place) => {
                    place.insert(Handed { id, number: self.next });
                    self.numbers.insert(self.next);
                    self.next += 1;
                }
            }
        }
        if let Some(cursor) = whole {
            self.sweep = Some((cursor, self.next));
        }
    }

    /// The number of a change, if it is the newest of its record that is handed out.
    fn number(&self, id: &ChangeId) -> Option<u64> {
        self.handed.get(&id.path).filter(|handed| handed.id == (id.term, id.offset)).map(|handed| handed.number)
    }

    /// The cursor under which all that was handed out is done, if `done` completes that.
    fn swept(&self, done: &[ChangeId]) -> Option<Cursor> {
        let (cursor, next) = self.sweep?;
        let done: HashSet<u64> = done.iter().filter_map(|id| self.number(id)).collect();
        self.numbers.range(..next).all(|number| done.contains(number)).then_some(cursor)
    }

    /// These are acknowledged.
    fn forget(&mut self, done: &[ChangeId]) {
        for id in done {
            if let Some(number) = self.number(id) {
                self.handed.remove(&id.path);
                self.numbers.remove(&number);
            }
        }
    }
}

/// Where changes may wait that a session has not handed out: what a session never looks at again, it need not read.
#[derive(Default)]
pub(super) struct Unseen {
    above: Above,
    /// And at these, which are not above.
    some: BTreeSet<RecordPath>,
}

/// Records that were not looked at since changes wait for them.
#[derive(Default, PartialEq, Eq)]
enum Above {
    /// All.
    #[default]
    Start,
    /// Those with a higher path.
    Path(RecordPath),
    /// None.
    Nothing,
}

impl Above {
    fn path(&self) -> Option<&RecordPath> {
        match self {
            Self::Path(path) => Some(path),
            Self::Start | Self::Nothing => None,
        }
    }

    fn has(&self, path: &RecordPath) -> bool {
        match self {
            Self::Start => true,
            Self::Path(last) => path > last,
            Self::Nothing => false,
        }
    }
}

impl Unseen {
    /// Paths that are remembered one by one; with more of them all are looked at again.
    const SOME_MAX: usize = 100_000;

    fn is_nowhere(&self) -> bool {
        self.above == Above::Nothing && self.some.is_empty()
    }

    /// Changes of these records were written; `None`: of many. To be told in the transaction that writes them, so that nobody
    /// hands out between.
    pub(super) fn changed(&mut self, touched: Option<Vec<RecordPath>>) {
        let Some(touched) = touched else { return *self = Self::default() };
        self.some.extend(touched.into_iter().filter(|path| !self.above.has(path)));
        if self.some.len() > Self::SOME_MAX {
            *self = Self::default();
        }
    }
}

/// What of a waiting change is left after the application has handled `done`.
fn settle(tables: &mut FollowTables<'_>, done: &ChangeId) -> Result<(), StateError> {
    let Some(row) = tables.take_pending(&done.path)? else { return Ok(()) };
    if (row.change.term, row.change.offset) == (done.term, done.offset) {
        return Ok(());
    }
    // A later change came meanwhile: it is told relative to what is handled now.
    let handled = row.handed.filter(|handed| (handed.term, handed.offset) == (done.term, done.offset));
    let Some(handed) = handled else { return tables.put_pending(&row) };
    let kind = match (handed.exists, row.change.kind) {
        (false, ChangeKind::Delete) => return Ok(()),
        (true, ChangeKind::Delete) => ChangeKind::Delete,
        (true, _) => ChangeKind::Update,
        (false, _) => ChangeKind::Create,
    };
    tables.put_pending(&PendingRow { change: Change { kind, ..row.change }, handed: None })
}
