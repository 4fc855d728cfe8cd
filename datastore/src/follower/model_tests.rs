//! Random histories of changes and printers against a person who remembers what was printed.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tidings_client::State;
use tidings_core::reader::{Change, ChangeKind};
use tidings_core::{Mutation, Object, Operation, RecordPath, ValueHasher, Version};
use tidings_proto::{Offset, QueueId, Term, Timestamp};

use super::desk::Desk;
use super::printers::{Unprinted, Wanted};

#[derive(Clone, Debug)]
enum Happening {
    /// The record has another value, or one if it had none.
    Write(usize),
    /// The record has none.
    Delete(usize),
    /// The owner publishes the record as it is once more.
    Repeat(usize),
    /// A printer takes so many changes.
    Take(usize),
    /// The printer confirms what it has.
    Confirm,
    /// The printer dies with what it has; whether the person saw it.
    Die(bool),
    /// The process is killed and started again.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..4usize).prop_map(Happening::Write),
        3 => (0..4usize).prop_map(Happening::Delete),
        2 => (0..4usize).prop_map(Happening::Repeat),
        3 => (1..4usize).prop_map(Happening::Take),
        3 => Just(Happening::Confirm),
        1 => any::<bool>().prop_map(Happening::Die),
        1 => Just(Happening::Restart),
    ]
}

/// The owner's records, the reader's desk, and the person.
struct Play {
    state: State,
    desk: Desk,
    /// By record: version of its value.
    truth: BTreeMap<RecordPath, u64>,
    seen: BTreeMap<RecordPath, [u8; 32]>,
    had: Vec<Unprinted>,
    clock: u64,
    /// Some printer died: a person may be told again, or told of a delete of what was not seen.
    died: bool,
}

const QUEUE: QueueId = QueueId::new([7; 32]);

fn path(number: usize) -> RecordPath {
    format!("/{number}").parse().expect("a path")
}

fn value(version: u64) -> Bytes {
    Bytes::copy_from_slice(&version.to_be_bytes())
}

fn mutation(path: &RecordPath, version: u64) -> Bytes {
    let mutation = Mutation {
        path: path.clone(),
        operation: Operation::Update,
        version: Version { clock: version, node: [1; 16] },
        object: None,
        inline: Some(value(version)),
        headers: Vec::new(),
        unknown: Vec::new(),
    };
    mutation.encode().into()
}

impl Play {
    fn new() -> Self {
        let state = State::in_memory().expect("a state");
        let desk = Desk::new(state.clone(), QUEUE, false);
        Self { state, desk, truth: BTreeMap::new(), seen: BTreeMap::new(), had: Vec::new(), clock: 0, died: false }
    }

    fn change(&mut self, path: RecordPath, kind: ChangeKind, version: Option<u64>) {
        self.clock += 1;
        let mutation = version.map(|version| mutation(&path, version)).unwrap_or_default();
        let change = Change { path, kind, term: Term::new(1), offset: Offset::new(self.clock), mutation };
        self.desk.merge(&[change], Timestamp::new(1), |rows| self.state.put_rows(rows)).expect("merged");
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Write(number) => {
                let (path, version) = (path(number), self.clock + 1);
                let before = self.truth.insert(path.clone(), version);
                let kind = if before.is_some() { ChangeKind::Update } else { ChangeKind::Create };
                self.change(path, kind, Some(version));
            }
            Happening::Delete(number) => {
                if self.truth.remove(&path(number)).is_some() {
                    self.change(path(number), ChangeKind::Delete, None);
                }
            }
            Happening::Repeat(number) => {
                if let Some(version) = self.truth.get(&path(number)).copied() {
                    self.change(path(number), ChangeKind::Update, Some(version));
                }
            }
            Happening::Take(limit) => self.had.extend(self.desk.unprinted(Wanted::Fetched, limit).expect("read")),
            Happening::Confirm => self.confirm(),
            Happening::Die(shown) => self.die(shown),
            Happening::Restart => {
                self.die(false);
                self.desk = Desk::new(self.state.clone(), QUEUE, false);
            }
        }
    }

    fn show(&mut self, change: &Unprinted) {
        let seen = self.seen.get(&change.path).copied();
        let news = match change.kind {
            ChangeKind::Create => seen.is_none(),
            ChangeKind::Update => seen.is_some_and(|hash| Some(hash) != change.hash),
            ChangeKind::Delete => seen.is_some(),
        };
        assert!(news || self.died, "{:?} is no news", change.kind);
        let _ = match change.hash {
            Some(hash) => self.seen.insert(change.path.clone(), hash),
            None => self.seen.remove(&change.path),
        };
    }

    fn confirm(&mut self) {
        let had = std::mem::take(&mut self.had);
        had.iter().for_each(|change| self.show(change));
        self.desk.printed(&had).expect("kept");
    }

    fn die(&mut self, shown: bool) {
        let had = std::mem::take(&mut self.had);
        self.died |= !had.is_empty();
        if shown {
            had.iter().for_each(|change| self.show(change));
        }
    }

    /// Everything is printed; what the person knows then.
    fn end(&mut self) -> BTreeMap<RecordPath, [u8; 32]> {
        self.confirm();
        self.had = self.desk.unprinted(Wanted::Fetched, usize::MAX).expect("read");
        self.confirm();
        assert!(self.desk.unprinted(Wanted::Fetched, 1).expect("read").is_empty());
        self.seen.clone()
    }

    fn expected(&self) -> BTreeMap<RecordPath, [u8; 32]> {
        self.truth.iter().map(|(path, version)| (path.clone(), hash(&value(*version)))).collect()
    }
}

fn hash(value: &[u8]) -> [u8; 32] {
    let mut hasher = ValueHasher::new();
    hasher.update(value);
    hasher.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// [P-15] Whatever happens, every printed change is news, and in the end the person knows what is.
    #[test]
    fn a_person_who_reads_everything_knows_what_is(script in prop::collection::vec(happening(), 1..40)) {
        let mut play = Play::new();
        script.into_iter().for_each(|happening| play.happen(happening));
        prop_assert_eq!(play.end(), play.expected());
    }
}

/// An owner that publishes old entries under another epoch changes nothing that a person would want to know.
#[test]
fn a_value_that_was_published_again_as_it_was_is_no_news() {
    let mut play = Play::new();
    let script = [Happening::Write(1), Happening::Take(9), Happening::Confirm, Happening::Repeat(1)];
    script.into_iter().for_each(|happening| play.happen(happening));
    assert!(play.desk.unprinted(Wanted::NotNeeded, 9).expect("read").is_empty());
}

/// A reader of an earlier build printed without remembering what.
#[test]
fn an_update_of_what_an_earlier_build_printed_is_an_update() {
    let mut play = Play::new();
    play.change(path(1), ChangeKind::Update, Some(5));
    play.change(path(2), ChangeKind::Delete, None);
    let kinds: Vec<_> = play.desk.unprinted(Wanted::NotNeeded, 9).expect("read").iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Update, ChangeKind::Delete]);
}
