//! The durable reader store against the one in memory.

use bytes::Bytes;
use proptest::prelude::*;
use tidings_core::RecordPath;
use tidings_core::reader::{Change, ChangeKind, HeldKind, HeldRow, MemoryReaderStore, ReaderStore, StagedRow};
use tidings_proto::{Birth, EntryDigest, Offset, QueueId, Term};

use super::*;

const QUEUE: QueueId = QueueId::new([7; 32]);
/// Neighbours in every index: whatever happens to `QUEUE` must not touch them.
const NEIGHBOURS: [QueueId; 2] = [QueueId::new([6; 32]), QueueId::new([8; 32])];

#[derive(Clone, Debug)]
enum Operation {
    PutHeld(HeldRow),
    RemoveHeld(Birth),
    Stage(StagedRow),
    Unstage(Birth),
    ClearStaged,
    SetAside,
    ClearAside,
    Change(Change),
}

fn path(number: u8) -> RecordPath {
    // One path is the beginning of another.
    ["/a", "/a/b", "/b", "/ab"][usize::from(number % 4)].parse().expect("a path")
}

fn held_row() -> impl Strategy<Value = HeldRow> {
    (1..8u64, 1..40u64, 0..3u8, any::<u8>()).prop_map(|(birth, offset, kind, named)| {
        let kind = [HeldKind::Value, HeldKind::Tombstone, HeldKind::Quarantined][usize::from(kind)];
        HeldRow {
            birth: Birth::new(birth),
            // Offsets are distinct in a queue.
            offset: Offset::new(offset * 8 + birth),
            term: Term::new(1),
            digest: EntryDigest::new([named; 32]),
            kind,
            path: (kind != HeldKind::Quarantined).then(|| path(named)),
            bytes: Bytes::from(vec![named; usize::from(named)]),
        }
    })
}

fn staged_row() -> impl Strategy<Value = StagedRow> {
    (1..8u64, 1..40u64, any::<u8>()).prop_map(|(birth, offset, fill)| StagedRow {
        birth: Birth::new(birth),
        offset: Offset::new(offset),
        digest: EntryDigest::new([fill; 32]),
        entry: Bytes::from(vec![fill; 3]),
    })
}

fn change() -> impl Strategy<Value = Change> {
    (any::<u8>(), 0..3u8, 1..40u64).prop_map(|(named, kind, offset)| Change {
        path: path(named),
        kind: [ChangeKind::Create, ChangeKind::Update, ChangeKind::Delete][usize::from(kind)],
        term: Term::new(1),
        offset: Offset::new(offset),
        mutation: Bytes::from(vec![named; 2]),
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => held_row().prop_map(Operation::PutHeld),
        2 => (1..8u64).prop_map(|birth| Operation::RemoveHeld(Birth::new(birth))),
        4 => staged_row().prop_map(Operation::Stage),
        2 => (1..8u64).prop_map(|birth| Operation::Unstage(Birth::new(birth))),
        1 => Just(Operation::ClearStaged),
        1 => Just(Operation::SetAside),
        1 => Just(Operation::ClearAside),
        4 => change().prop_map(Operation::Change),
    ]
}

fn apply<S: ReaderStore>(store: &mut S, operation: Operation) -> Result<(), S::Error> {
    match operation {
        Operation::PutHeld(row) => {
            let old = store.held(row.birth)?;
            store.put_held(row, old.as_ref())
        }
        Operation::RemoveHeld(birth) => store.remove_held(birth),
        Operation::Stage(row) => store.stage(row),
        Operation::Unstage(birth) => store.unstage(birth),
        Operation::ClearStaged => store.clear_staged(),
        Operation::SetAside => store.set_aside(),
        Operation::ClearAside => store.clear_aside(),
        Operation::Change(change) => store.change(change),
    }
}

type Look = (
    Vec<HeldRow>,
    Vec<HeldRow>,
    Vec<StagedRow>,
    Vec<StagedRow>,
    Vec<Vec<HeldRow>>,
    Vec<(Option<HeldRow>, Option<HeldRow>)>,
    Vec<RecordPath>,
);

/// Everything a reader can ask.
fn look<S: ReaderStore>(store: &S) -> Result<Look, S::Error> {
    let ending = |floor: u64| {
        let mut rows = store.ending_through(Offset::new(floor))?;
        rows.sort_by_key(|row| row.birth);
        Ok(rows)
    };
    Ok((
        store.held_after(Birth::ZERO, 100)?,
        store.held_after(Birth::new(3), 2)?,
        store.staged_after(Birth::ZERO, 100)?,
        store.staged_after(Birth::new(3), 2)?,
        [0, 50, 150, 400].into_iter().map(ending).collect::<Result<_, _>>()?,
        (0..4).map(|number| Ok((store.winner(&path(number))?, store.aside(&path(number))?))).collect::<Result<_, _>>()?,
        store.aside_paths()?,
    ))
}

fn waiting(tables: &FollowTables<'_>) -> Vec<Change> {
    let rows = tables.pending_after(None, |_| true, usize::MAX).expect("read");
    rows.into_iter().map(|row| row.change).collect()
}

fn in_step<T>(state: &State, queue: &QueueId, step: impl FnOnce(&mut FollowTables<'_>) -> T) -> T {
    let done = state.write(|transaction| {
        let mut tables = FollowTables::open(transaction, queue)?;
        let done = step(&mut tables);
        tables.keep_staged()?;
        Ok::<_, StateError>(done)
    });
    done.expect("committed")
}

fn furnish(tables: &mut FollowTables<'_>) {
    let birth = Birth::new(3);
    let held = |kind, path| HeldRow {
        birth,
        offset: Offset::new(4),
        term: Term::new(1),
        digest: EntryDigest::ZERO,
        kind,
        path,
        bytes: Bytes::new(),
    };
    tables.put_held(held(HeldKind::Tombstone, Some(path(1))), None).expect("put");
    tables.set_aside().expect("set aside");
    tables.put_held(held(HeldKind::Tombstone, Some(path(1))), None).expect("put");
    tables.stage(StagedRow { birth, offset: Offset::new(5), digest: EntryDigest::ZERO, entry: Bytes::new() }).expect("staged");
    let kind = ChangeKind::Create;
    tables.change(Change { path: path(1), kind, term: Term::new(1), offset: Offset::new(4), mutation: Bytes::new() }).expect("kept");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_durable_store_gives_what_the_one_in_memory_gives(script in prop::collection::vec(prop::collection::vec(operation(), 1..6), 1..20)) {
        let state = State::in_memory().expect("a state");
        let mut memory = MemoryReaderStore::default();
        for neighbour in &NEIGHBOURS {
            in_step(&state, neighbour, furnish);
        }
        let undisturbed = in_step(&state, &NEIGHBOURS[0], |tables| look(tables).expect("looked"));
        for step in script {
            for operation in step.clone() {
                let Ok(()) = apply(&mut memory, operation);
            }
            let Ok(expected) = look(&memory);
            // In the step itself, before anything is written that was staged in it, and in the next one.
            let looked = in_step(&state, &QUEUE, |tables| {
                step.into_iter().try_for_each(|operation| apply(tables, operation)).and_then(|()| look(tables))
            });
            prop_assert_eq!(&looked.expect("looked"), &expected);
            let (looked, changes) = in_step(&state, &QUEUE, |tables| (look(tables).expect("looked"), waiting(tables)));
            prop_assert_eq!(looked, expected);
            prop_assert_eq!(changes, memory.clone().take_changes());
        }
        in_step(&state, &QUEUE, |tables| tables.clear()).expect("cleared");
        let Ok(nothing) = look(&MemoryReaderStore::default());
        prop_assert_eq!(in_step(&state, &QUEUE, |tables| look(tables).expect("looked")), nothing);
        for neighbour in &NEIGHBOURS {
            prop_assert_eq!(&in_step(&state, neighbour, |tables| look(tables).expect("looked")), &undisturbed);
        }
    }
}
