//! What is handed out, and when the cursor moves, beside a plain account of the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::RecordPath;
use tidings_core::reader::{Change, ChangeKind, ReaderStore};
use tidings_proto::{Offset, QueueId, Term};

use super::ChangeId;
use super::handout::HandOut;
use crate::state::{FollowTables, Keep, State, StateError};

const QUEUE: QueueId = QueueId::new([7; 32]);
const RECORDS: u8 = 12;

#[derive(Clone, Debug)]
enum Act {
    /// Changes of these records come, each a value or not.
    Come(Vec<(u8, bool)>),
    /// They come, and the transaction is given up after some were marked.
    Fail(Vec<(u8, bool)>),
    /// The application takes so many.
    Take(usize),
    /// It has handled every so-maniest of what it was handed and did not acknowledge.
    Acknowledge(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let come = || prop::collection::vec((0..RECORDS, prop::bool::weighted(0.8)), 1..6);
    let act = prop_oneof![
        4 => come().prop_map(Act::Come),
        1 => come().prop_map(Act::Fail),
        4 => (1..5_usize).prop_map(Act::Take),
        2 => (1..4_usize).prop_map(Act::Acknowledge),
    ];
    prop::collection::vec(act, 1..60)
}

fn path(record: u8) -> RecordPath {
    format!("/{record:02}").parse().expect("a path")
}

/// The application and an account of what it was handed.
struct World {
    state: State,
    handout: HandOut,
    offset: u64,
    /// The newest of each record that was handed out.
    handed: BTreeMap<RecordPath, Offset>,
    /// Not acknowledged.
    open: Vec<ChangeId>,
}

impl World {
    fn new() -> Self {
        let state = State::in_memory().expect("a state");
        let handout = HandOut::new(state.clone(), QUEUE);
        Self { state, handout, offset: 0, handed: BTreeMap::new(), open: Vec::new() }
    }

    /// As the step of a follow does it.
    fn come(&mut self, records: &[(u8, bool)], mark: usize, fails: bool) {
        let offset = &mut self.offset;
        let done = self.handout.within(|session| {
            let changes = self.state.write_with(|transaction| {
                let mut tables = FollowTables::open(transaction, &QUEUE)?;
                for (record, is_there) in records {
                    *offset += 1;
                    let kind = if *is_there { ChangeKind::Update } else { ChangeKind::Delete };
                    let (term, offset) = (Term::new(1), Offset::new(*offset));
                    tables.change(Change { path: path(*record), kind, term, offset, mutation: Bytes::from_static(b"m") })?;
                }
                session.unseen.changed(tables.take_touched());
                let changes = session.mark(&mut tables, mark)?;
                match fails {
                    true => Err(StateError::Failed),
                    false => Ok((changes, Keep::UntilCrash)),
                }
            })?;
            session.remember(&changes, None);
            Ok(changes)
        });
        assert_eq!(done.is_err(), fails);
        if let Ok(changes) = done {
            self.handed_out(&changes);
        }
    }

    fn handed_out(&mut self, changes: &[Change]) {
        assert!(changes.is_sorted_by(|one, other| one.path < other.path), "ascending, each record once");
        for change in changes {
            let before = self.handed.insert(change.path.clone(), change.offset);
            assert_ne!(before, Some(change.offset), "handed out twice");
            self.open.retain(|open| open.path != change.path);
            self.open.push(ChangeId { path: change.path.clone(), term: change.term, offset: change.offset });
        }
    }

    /// What waits and was not handed out, by looking at all of it.
    fn waiting(&self) -> usize {
        let rows = self.state.write_with(|transaction| {
            let rows = FollowTables::open(transaction, &QUEUE)?.pending_after(None, |_| true, usize::MAX)?;
            Ok::<_, StateError>((rows, Keep::UntilCrash))
        });
        let is_new = |path: &RecordPath, offset: Offset| {
            let is_open = self.open.iter().any(|open| open.path == *path && open.offset == offset);
            self.handed.get(path) != Some(&offset) || !is_open
        };
        rows.expect("read").iter().filter(|row| is_new(&row.change.path, row.change.offset)).count()
    }

    fn take(&mut self, limit: usize) {
        let wanted = self.waiting().min(limit);
        let changes = self.handout.take(limit).expect("taken");
        assert_eq!(changes.len(), wanted);
        self.handed_out(&changes);
    }

    fn acknowledge(&mut self, every: usize) {
        let (done, open) = std::mem::take(&mut self.open).into_iter().enumerate().partition::<Vec<_>, _>(|(at, _)| at % every == 0);
        self.open = open.into_iter().map(|(_, id)| id).collect();
        let done: Vec<ChangeId> = done.into_iter().map(|(_, id)| id).collect();
        // There is no reader in this state, whose cursor could move.
        assert_eq!(self.handout.acknowledge(&done, &[]).expect("acknowledged"), None);
    }
}

proptest! {
    /// [P-15] Everything that waits is handed out once, however it came and whatever failed, and nothing else is.
    #[test]
    fn what_was_not_handed_out_is_found_without_looking_at_what_was(acts in acts()) {
        let mut world = World::new();
        for act in acts {
            match act {
                Act::Come(records) => world.come(&records, 0, false),
                Act::Fail(records) => world.come(&records, 3, true),
                Act::Take(limit) => world.take(limit),
                Act::Acknowledge(every) => world.acknowledge(every),
            }
        }
        world.take(usize::from(RECORDS) + 1);
        prop_assert_eq!(world.waiting(), 0);
    }
}
