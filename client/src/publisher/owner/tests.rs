//! The owner's steps: conflation, what a crash leaves, and that nothing that left is ever different.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tidings_core::access::Rights;
use tidings_core::{Object, PseudonymKey};
use tidings_proto::Offset;
use tidings_proto::frames::Publish;

use tidings_core::{Card, Invitation};
use tidings_proto::caps::INLINE_BYTES_MAX;
use tidings_proto::frames::Limits;

use super::super::error::WriteError;
use super::super::room::Room;
use super::super::write::Write;
use super::signing::Access;
use super::*;

mod access;
mod renewal;
mod sealed;
mod terms;

const LIMITS: Limits = Limits {
    publish_entries_max: 4_096,
    publish_bytes_max: 4 << 20,
    entry_bytes_max: 16_384,
    publishes_in_flight_max: 64,
    readers_max: 16,
    live_bytes_max: 0,
};
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn at(millis: u64) -> Timestamp {
    Timestamp::new(1_700_000_000_000 + millis)
}

fn key() -> Arc<NodeKey> {
    Arc::new(NodeKey::from_seed([1; 32]))
}

fn open(state: State) -> Owner {
    let mut owner = Owner::open(state, key(), FloorPolicy::new(Duration::from_secs(30 * 24 * 60 * 60)), String::new()).expect("opened");
    owner.compared = true;
    owner
}

impl Owner {
    fn write(&mut self, writes: &[Write], now: Timestamp) -> Result<Vec<Taken>, WriteError> {
        let part = Part { writes: writes.to_vec(), ..Part::default() };
        self.write_parts(&[part], now)?.remove(0)
    }
}

fn owner() -> Owner {
    open(State::in_memory().expect("a state"))
}

fn path(text: &str) -> RecordPath {
    text.parse().expect("a path")
}

fn put(text: &str, value: &str) -> Write {
    Write::Put { path: path(text), value: Bytes::copy_from_slice(value.as_bytes()), content_type: String::new() }
}

fn delete(text: &str) -> Write {
    Write::Delete { path: path(text) }
}

fn sign(owner: &mut Owner, millis: u64) -> Option<Published> {
    owner.sign(&LIMITS, at(millis)).expect("signed")
}

fn written(owner: &mut Owner, writes: &[Write]) -> Vec<Taken> {
    owner.write(writes, at(0)).expect("written")
}

/// Publishes that may leave, by number.
fn leaving(owner: &Owner) -> BTreeMap<u64, Publish> {
    let (mut found, mut from) = (BTreeMap::new(), HeadNumber::new(1));
    while let Some((number, request)) = owner.unreceipted_from(from).expect("read") {
        let Request::Publish(publish) = request else { panic!("a publish") };
        found.insert(number.value(), publish);
        from = HeadNumber::new(number.value() + 1);
    }
    found
}

fn unsigned(owner: &Owner) -> u64 {
    owner.waiting().expect("read").unsigned
}

/// A reader that was granted, and an acknowledgement of the newest head by it.
fn acknowledgement(owner: &Owner) -> Bytes {
    let reader = owner.writer.readers().iter().find(|reader| reader.row.rights == Rights::Read).expect("a reader");
    let key = PseudonymKey::from_seed(&reader.copy.seed);
    let cursor = owner.writer.head().expect("a head").cursor();
    Acknowledgement { queue: owner.writer.queue(), reader: key.pseudonym(), cursor }.sign(&key)
}

fn grant(owner: &mut Owner) -> String {
    granted(owner, NodeKey::from_seed([2; 32]).card())
}

fn granted(owner: &mut Owner, card: Card) -> String {
    owner.grant(card, "reader".into(), Vec::new(), at(0)).expect("granted").0
}

/// [P-3]
#[test]
fn unsigned_writes_of_one_record_become_one_entry() {
    let mut owner = owner();
    written(&mut owner, &[put("/a", "1"), put("/b", "1"), put("/a", "2")]);
    written(&mut owner, &[put("/a", "3")]);
    assert_eq!(sign(&mut owner, 0).expect("something").paths, [path("/a"), path("/b")]);
    let value = owner.state.read(|transaction| OwnView(transaction).record(&path("/a"))).expect("read").expect("there").1;
    assert_eq!(value.inline.as_deref(), Some(&b"3"[..]));
}

#[test]
fn a_create_and_a_delete_that_were_not_signed_leave_nothing() {
    let mut owner = owner();
    let taken = written(&mut owner, &[put("/a", "1"), delete("/a")]);
    assert_eq!(taken, [Taken::Waits(path("/a")), Taken::Undone(path("/a"))]);
    assert!(sign(&mut owner, 0).is_none());
    assert!(owner.writer.head().is_none());
}

#[test]
fn a_delete_of_nothing_takes_none_of_the_writes() {
    let mut owner = owner();
    let refused = owner.write(&[put("/a", "1"), delete("/b")], at(0));
    assert!(matches!(refused, Err(WriteError::NotFound(missing)) if missing == path("/b")));
    assert_eq!(unsigned(&owner), 0);
}

#[test]
fn a_record_that_is_deleted_and_written_again_keeps_its_birth() {
    let mut owner = owner();
    for writes in [[put("/a", "1")], [delete("/a")], [put("/a", "2")]] {
        written(&mut owner, &writes);
        sign(&mut owner, 0);
    }
    let record = owner.state.read(|transaction| OwnView(transaction).record(&path("/a"))).expect("read").expect("there").0;
    assert_eq!((record.birth.value(), record.offset, record.tombstone), (1, Offset::new(3), false));
    assert_eq!(owner.writer.live_count(), 1);
}

#[test]
fn a_delete_and_a_write_that_wait_together_are_one_update() {
    let mut owner = owner();
    written(&mut owner, &[put("/a", "1")]);
    sign(&mut owner, 0);
    written(&mut owner, &[delete("/a"), put("/a", "2")]);
    sign(&mut owner, 0);
    assert_eq!((owner.writer.live_count(), owner.writer.head().expect("a head").head().offset), (1, Offset::new(2)));
}

#[test]
fn a_value_that_does_not_fit_is_refused_before_anything_is_written() {
    let mut owner = owner();
    let large = "x".repeat(INLINE_BYTES_MAX + 1);
    assert!(matches!(owner.write(&[put("/a", &large)], at(0)), Err(WriteError::TooLarge { .. })));
    written(&mut owner, &[put("/a", &large[1..])]);
    assert!(sign(&mut owner, 0).is_some());
}

/// One refused write once cost a transaction, and so a sync, for each of all the others.
#[test]
fn many_writes_share_one_transaction_although_some_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut owner = open(State::open(&folder.path().join("state.redb")).expect("created"));
    let write = |number| if number % 20 == 0 { delete("/nothing") } else { put(&format!("/{number}"), "1") };
    let parts: Vec<Part> = (0..1_500).map(|number| Part { writes: vec![write(number)], ..Part::default() }).collect();
    let began = std::time::Instant::now();
    let taken = owner.write_parts(&parts, at(0)).expect("written");
    println!("1,500 writes, 75 of them refused: {:?}", began.elapsed());
    assert_eq!((taken.iter().filter(|taken| taken.is_ok()).count(), unsigned(&owner)), (1_425, 1_425));
}

/// Writes of one command that go together are taken together, whatever the others of the same transaction do.
#[test]
fn a_refused_part_leaves_the_others_and_nothing_of_itself() {
    let mut owner = owner();
    let parts = [vec![put("/a", "1")], vec![put("/b", "1"), delete("/c")], vec![delete("/a"), put("/c", "1")], vec![delete("/a")]];
    let parts = parts.map(|writes| Part { writes, ..Part::default() });
    let taken = owner.write_parts(&parts, at(0)).expect("written");
    assert_eq!(taken.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false]);
    assert_eq!(sign(&mut owner, 0).expect("something").paths, [path("/c")]);
}

#[test]
fn versions_ascend_although_the_clock_goes_back_and_the_state_is_opened_again() {
    let mut owner = owner();
    owner.write(&[put("/a", "1")], at(5_000)).expect("written");
    let state = owner.state.clone();
    drop(owner);
    let mut owner = open(state);
    owner.write(&[put("/b", "1")], at(0)).expect("written");
    let version =
        |text| owner.state.read(|transaction| OwnView(transaction).outbox_row(&path(text))).expect("read").expect("waits").version;
    assert!(version("/b") > version("/a"));
}

#[test]
fn more_than_one_publish_takes_is_signed_in_order() {
    let mut owner = owner();
    let writes: Vec<Write> = (0..5).map(|number| put(&format!("/{}", 9 - number), "1")).collect();
    written(&mut owner, &writes);
    let limits = Limits { publish_entries_max: 2, ..LIMITS };
    let mut order = Vec::new();
    while let Some(published) = owner.sign(&limits, at(0)).expect("signed") {
        assert!(published.paths.len() <= 2);
        order.extend(published.paths);
    }
    assert_eq!(order, ["/9", "/8", "/7", "/6", "/5"].map(path));
}

#[test]
fn large_values_are_split_by_bytes() {
    let mut owner = owner();
    let value = "x".repeat(INLINE_BYTES_MAX);
    let writes: Vec<Write> = (0..1_500).map(|number| put(&format!("/{number}"), &value)).collect();
    written(&mut owner, &writes);
    while sign(&mut owner, 0).is_some() {}
    assert!(leaving(&owner).len() > 1);
    assert_eq!((unsigned(&owner), owner.writer.live_count()), (0, 1_500));
}

fn copy(from: &Path, folder: &TempDir, step: usize) -> State {
    let to = folder.path().join(format!("{step}.redb"));
    std::fs::copy(from, &to).expect("copied");
    State::open(&to).expect("opened")
}

/// [P-3] What left before a crash is what is sent after it, at whatever step the crash comes.
#[test]
fn after_a_crash_at_any_step_the_same_bytes_are_sent_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.redb");
    let mut owner = open(State::open(&file).expect("created"));
    let mut left: BTreeMap<u64, Publish> = BTreeMap::new();
    for step in 0..24 {
        match step % 4 {
            0 => drop(written(&mut owner, &[put("/a", &step.to_string()), put(&format!("/{step}"), "1")])),
            2 if step == 10 => drop(grant(&mut owner)),
            2 => drop(written(&mut owner, &[delete("/a")])),
            _ => drop(sign(&mut owner, step)),
        }
        left.extend(leaving(&owner));
        let crashed = open(copy(&file, &folder, step as usize));
        assert_eq!(leaving(&crashed), left, "step {step}");
        assert_eq!(crashed.writer.encode(), owner.writer.encode(), "step {step}");
        assert_eq!(crashed.waiting().expect("read"), owner.waiting().expect("read"), "step {step}");
    }
    assert_eq!(left.len(), 12);
}

/// [P-3] A number that is not durable has not left, so it may be signed again; one that is durable is never signed again.
#[test]
fn a_copy_goes_on_with_the_next_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.redb");
    let mut owner = open(State::open(&file).expect("created"));
    for step in 0..6 {
        written(&mut owner, &[put("/a", &step.to_string())]);
        sign(&mut owner, 0);
        let mut crashed = open(copy(&file, &folder, step));
        let before = leaving(&crashed);
        written(&mut crashed, &[put("/b", "1")]);
        let published = sign(&mut crashed, 0).expect("something");
        assert_eq!(published.number.value(), step as u64 + 2);
        let mut after = leaving(&crashed);
        after.remove(&published.number.value());
        assert_eq!(after, before);
    }
}

/// [P-3] A publish whose transaction failed once is not known to be durable: signing its number again could make two.
#[test]
fn after_a_failed_transaction_nothing_is_signed_until_the_state_is_opened_again() {
    let mut owner = owner();
    written(&mut owner, &[put("/a", "1")]);
    let failing = owner.try_sign(&Room::new(&LIMITS), Access::Same, at(0), |_, _| Err(StateError::Damaged("on purpose".into())));
    assert!(matches!(failing, Err(SignError::State(_))));
    assert!(owner.sign(&LIMITS, at(0)).is_err());
    assert!(leaving(&owner).is_empty() && owner.writer.head().is_none());
    let state = owner.state.clone();
    drop(owner);
    assert!(sign(&mut open(state), 0).is_some());
}

#[test]
fn one_state_has_one_owner_at_a_time_and_of_one_key() {
    let owner = owner();
    let again = |key: NodeKey| Owner::open(owner.state.clone(), Arc::new(key), FloorPolicy::new(Duration::ZERO), String::new()).err();
    assert!(matches!(again(NodeKey::from_seed([1; 32])), Some(PublisherError::AlreadyOpen)));
    let state = owner.state.clone();
    drop(owner);
    let other = Owner::open(state, Arc::new(NodeKey::from_seed([9; 32])), FloorPolicy::new(Duration::ZERO), String::new()).err();
    assert!(matches!(other, Some(PublisherError::OtherKey)));
}

#[test]
fn a_second_grant_for_a_node_is_the_first_one() {
    let mut owner = owner();
    let first = grant(&mut owner);
    assert_eq!(grant(&mut owner), first);
    assert!(Invitation::parse(&first).is_ok());
    assert_eq!(leaving(&owner).len(), 1);
}

/// An owner with a reader and a tombstone at offset 2.
fn with_tombstone() -> Owner {
    let mut owner = owner();
    grant(&mut owner);
    for writes in [[put("/a", "1")], [delete("/a")]] {
        written(&mut owner, &writes);
        sign(&mut owner, 0);
    }
    owner
}

/// [P-6]
#[test]
fn a_tombstone_goes_when_every_reader_has_acknowledged_it() {
    let mut owner = with_tombstone();
    assert!(sign(&mut owner, 0).is_none());
    let readers = Readers { rows: Vec::new(), acknowledgements: vec![acknowledgement(&owner)] };
    owner.take_readers(&readers).expect("kept");
    let published = sign(&mut owner, 0).expect("a purge");
    assert_eq!(leaving(&owner)[&published.number.value()].purged, [Offset::new(2)]);
    assert_eq!((owner.writer.live_count(), sign(&mut owner, 0).is_none()), (0, true));
}

/// [P-6]
#[test]
fn a_tombstone_goes_after_thirty_days_whoever_has_not_acknowledged_it() {
    let mut owner = with_tombstone();
    assert!(sign(&mut owner, 30 * DAY - 1).is_none());
    assert!(sign(&mut owner, 30 * DAY).is_some());
    assert_eq!(owner.writer.head().expect("a head").head().floor, Offset::new(2));
}

/// [P-6]
#[test]
fn acknowledgements_of_others_of_other_heads_and_forged_ones_do_not_count() {
    let mut owner = with_tombstone();
    let right = acknowledgement(&owner);
    let reader = Acknowledgement::verify(&right).expect("signed");
    let stranger = PseudonymKey::from_seed(&[9; 32]);
    let seed = owner.writer.readers().iter().find(|known| known.row.pseudonym == reader.reader).expect("a reader").copy.seed;
    let known = PseudonymKey::from_seed(&seed);
    let mut cursor = reader.cursor;
    cursor.head = tidings_proto::HeadHash::new([7; 32]);
    let mut forged = right.to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let acknowledgements = vec![
        Acknowledgement { reader: stranger.pseudonym(), ..reader }.sign(&stranger),
        Acknowledgement { cursor, ..reader }.sign(&known),
        Acknowledgement { queue: tidings_proto::QueueId::ZERO, ..reader }.sign(&known),
        forged.into(),
        Bytes::from_static(b"nothing"),
    ];
    owner.take_readers(&Readers { rows: Vec::new(), acknowledgements }).expect("taken");
    assert!(owner.acknowledged().is_empty() && sign(&mut owner, 0).is_none());
}

#[test]
fn acknowledgements_are_known_after_the_state_was_opened_again() {
    let mut owner = with_tombstone();
    let readers = Readers { rows: Vec::new(), acknowledgements: vec![acknowledgement(&owner)] };
    owner.take_readers(&readers).expect("kept");
    let (state, before) = (owner.state.clone(), owner.acknowledged());
    drop(owner);
    assert_eq!((open(state).acknowledged(), before.len()), (before, 1));
}

#[test]
fn a_receipt_is_for_its_head_and_all_before_it() {
    let mut owner = owner();
    for step in 0..3 {
        written(&mut owner, &[put("/a", &step.to_string())]);
        sign(&mut owner, 0);
    }
    let cursor = owner.cursor_of(HeadNumber::new(2)).expect("read").expect("signed");
    let broker = tidings_core::ReceiptKey::from_seed([5; 32]);
    let receipt = Receipt { queue: owner.writer.queue(), rank: cursor.rank, head: cursor.head, since: at(0) };
    owner.receipted(&broker.verifying_key(), &receipt.sign(&broker), &receipt).expect("kept");
    assert_eq!(leaving(&owner).into_keys().collect::<Vec<_>>(), [3]);
}
