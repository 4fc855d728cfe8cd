//! What is kept sealed is what the newest head signs, whatever happened before.

use proptest::prelude::*;
use tidings_core::access::AccessRow;
use tidings_core::{Entry, Frontier, SetHash, SetKind, attachment_hash};
use tidings_proto::caps::ENTRY_BYTES_MAX;

use super::*;

/// Checks a snapshot against its own signed head, as a broker that is filled from it would.
pub(super) fn assert_is_what_the_head_signs(snapshot: &OwnSnapshot) {
    let head = snapshot.head().head();
    let newest = head.offset;
    let entries = snapshot.entries(Offset::ZERO, newest, usize::MAX).expect("read");
    let mut live = SetHash::new(SetKind::Live);
    let mut births = std::collections::BTreeSet::new();
    for (offset, bytes) in &entries {
        let entry = Entry::decode(bytes).expect("an entry");
        assert_eq!(entry.offset, *offset);
        assert!(births.insert(entry.birth), "one entry for each birth");
        live.add(entry.digest(&head.queue).bytes());
    }
    assert_eq!((entries.len() as u64, live.root()), (head.live_count, head.live_root));
    let offsets: Vec<u64> = entries.iter().map(|(offset, _)| offset.value()).collect();
    assert_eq!(snapshot.live(newest).expect("read").iter().collect::<Vec<_>>(), offsets);

    let (rows, attachments) = snapshot.access().expect("read");
    let mut access = SetHash::new(SetKind::Access);
    rows.iter().for_each(|row| access.add(row));
    assert_eq!((rows.len() as u32, access.root()), (head.access_count, head.access_root));
    let rows: Vec<AccessRow> = rows.iter().map(|row| AccessRow::decode(row).expect("a row")).collect();
    assert!(rows.is_sorted_by_key(|row| row.pseudonym));
    let named: Vec<_> = rows.iter().flat_map(|row| [row.grant, row.owner_copy]).collect();
    assert_eq!(attachments.iter().map(|bytes| attachment_hash(bytes)).collect::<Vec<_>>(), named);

    let (mut frontier, _) = Frontier::start(&head.queue);
    for hash in snapshot.history(HeadNumber::ZERO, usize::MAX).expect("read") {
        frontier.append(hash.bytes());
    }
    assert_eq!((frontier.leaves(), frontier.root()), (head.number.value(), head.history_root));
}

pub(super) fn snapshot(owner: &Owner) -> OwnSnapshot {
    owner.snapshot().expect("read").expect("a head")
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Grant(u8),
    Revoke,
    Acknowledge,
    Sign,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..6u8, any::<u8>()).prop_map(|(name, value)| Step::Put(name, value)),
        3 => (0..6u8).prop_map(Step::Delete),
        1 => (2..5u8).prop_map(Step::Grant),
        1 => Just(Step::Revoke),
        2 => Just(Step::Acknowledge),
        6 => Just(Step::Sign),
    ]
}

fn run(owner: &mut Owner, step: Step) {
    match step {
        Step::Put(name, value) => drop(written(owner, &[put(&format!("/{name}"), &value.to_string())])),
        // A delete of nothing is refused, which is as good.
        Step::Delete(name) => drop(owner.write(&[delete(&format!("/{name}"))], at(0))),
        Step::Grant(node) => drop(owner.grant(NodeKey::from_seed([node; 32]).card(), String::new(), Vec::new(), at(0))),
        Step::Revoke => {
            if let Some(reader) = pseudonyms(owner).first() {
                owner.revoke(reader, at(0)).expect("revoked");
            }
        }
        Step::Acknowledge => {
            let keys = owner.writer.readers().iter().map(|reader| PseudonymKey::from_seed(&reader.copy.seed));
            let Some(cursor) = owner.writer.head().map(|head| head.cursor()) else { return };
            let sign = |key: PseudonymKey| Acknowledgement { queue: owner.writer.queue(), reader: key.pseudonym(), cursor }.sign(&key);
            let acknowledgements = keys.map(sign).collect();
            owner.take_readers(&Readers { rows: Vec::new(), acknowledgements }).expect("taken");
        }
        Step::Sign => drop(sign(owner, 0)),
    }
}

/// Readers but the owner.
pub(super) fn pseudonyms(owner: &Owner) -> Vec<Pseudonym> {
    let readers = owner.writer.readers().iter().filter(|reader| reader.row.rights == Rights::Read);
    readers.map(|reader| reader.row.pseudonym).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// [P-10, P-21]
    #[test]
    fn a_snapshot_is_what_the_newest_head_signs(steps in prop::collection::vec(step(), 1..40)) {
        let mut owner = owner();
        for step in steps {
            run(&mut owner, step);
            if let Some(snapshot) = owner.snapshot().expect("read") {
                assert_is_what_the_head_signs(&snapshot);
                let (live, readers) = (owner.writer.live_count(), owner.writer.readers().len() as u64);
                prop_assert_eq!(owner.state.sealed_counts(), [live, 2 * readers]);
            }
        }
    }
}

#[test]
fn there_is_no_snapshot_before_the_first_head() {
    assert!(owner().snapshot().expect("read").is_none());
}

#[test]
fn a_snapshot_stays_as_it_was_whatever_is_signed_meanwhile() {
    let mut owner = owner();
    written(&mut owner, &[put("/a", "1"), put("/b", "1")]);
    sign(&mut owner, 0);
    let before = snapshot(&owner);
    written(&mut owner, &[put("/a", "2")]);
    grant(&mut owner);
    sign(&mut owner, 0);
    assert_is_what_the_head_signs(&before);
    assert_eq!((before.head().rank().number.value(), snapshot(&owner).head().rank().number.value()), (1, 3));
}

#[test]
fn entries_come_in_runs_of_the_size_that_is_asked_for() {
    let mut owner = owner();
    let writes: Vec<Write> = (0..50).map(|number| put(&format!("/{number}"), "1")).collect();
    written(&mut owner, &writes);
    sign(&mut owner, 0);
    let snapshot = snapshot(&owner);
    let (mut after, mut runs) = (Offset::new(10), Vec::new());
    loop {
        let run = snapshot.entries(after, Offset::new(40), 1_500).expect("read");
        let Some((last, _)) = run.last() else { break };
        after = *last;
        assert!(run.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 1_500);
        runs.push(run);
    }
    assert!(runs.len() > 3 && runs.iter().flatten().map(|(offset, _)| offset.value()).eq(11..=40));
    assert_eq!(snapshot.entries(Offset::ZERO, Offset::new(40), 1).expect("read").len(), 1);
    assert!(snapshot.entries(Offset::new(50), Offset::new(50), ENTRY_BYTES_MAX).expect("read").is_empty());
}

#[test]
fn a_part_of_the_history_is_what_lies_between() {
    let mut owner = owner();
    for step in 0..6 {
        written(&mut owner, &[put("/a", &step.to_string())]);
        sign(&mut owner, 0);
    }
    let hashes = |after: u64, limit| snapshot(&owner).history(HeadNumber::new(after), limit).expect("read");
    let of = |number: u64| owner.cursor_of(HeadNumber::new(number)).expect("read").expect("signed").head;
    assert_eq!(hashes(2, 10), [of(3), of(4), of(5)]);
    assert_eq!(hashes(2, 2), [of(3), of(4)]);
    assert!(hashes(5, 10).is_empty() && hashes(9, 10).is_empty());
}
