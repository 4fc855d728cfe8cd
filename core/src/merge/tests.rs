//! Every case of a merge, and the place of what is rescued.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::codec::Object;

fn version(clock: u64) -> Version {
    Version { clock, node: [1; 16] }
}

fn value(clock: u64, value: &'static str) -> Mutation {
    let path = "/a".parse().expect("a path");
    let inline = Some(Bytes::from(value));
    Mutation { path, operation: Operation::Update, version: version(clock), object: None, inline, headers: vec![], unknown: vec![] }
}

fn delete(clock: u64) -> Mutation {
    Mutation { operation: Operation::Delete, inline: None, ..value(clock, "") }
}

/// [P-5]
#[test]
fn a_value_is_published_if_it_is_later_and_rescued_if_it_is_not() {
    let row = value(5, "mine");
    let cases = [
        (None, 4, Fate::Publish),
        (None, 5, Fate::Rescue),
        (None, 9, Fate::Rescue),
        (Some(value(4, "theirs")), 9, Fate::Publish),
        (Some(delete(4)), 9, Fate::Publish),
        (Some(value(6, "theirs")), 0, Fate::Rescue),
        (Some(delete(6)), 0, Fate::Rescue),
        (Some(value(5, "mine")), 9, Fate::There),
    ];
    for (live, floor, expected) in cases {
        assert_eq!(fate(&row, live.as_ref(), version(floor)), expected, "{live:?} above {floor}");
    }
}

/// [P-5] A copied home wrote in the same millisecond as the one it was copied from: the equal version once counted as the same
/// write, and one of the two values was lost.
#[test]
fn another_value_of_the_same_version_is_rescued() {
    assert_eq!(fate(&value(5, "mine"), Some(&value(5, "theirs")), Version::ZERO), Fate::Rescue);
    assert_eq!(fate(&value(5, "mine"), Some(&delete(5)), Version::ZERO), Fate::Rescue);
    assert_ne!(rescue(&value(5, "mine")).path, rescue(&value(5, "theirs")).path);
}

/// [P-5]
#[test]
fn a_delete_needs_something_older_to_delete() {
    let row = delete(5);
    let live = [None, Some(value(6, "theirs")), Some(value(5, "theirs")), Some(delete(4)), Some(delete(6))];
    assert!(live.iter().all(|live| fate(&row, live.as_ref(), Version::ZERO) == Fate::Nothing));
    assert_eq!(fate(&row, Some(&value(4, "theirs")), version(9)), Fate::Publish);
    assert_eq!(fate(&row, Some(&delete(5)), version(9)), Fate::There);
}

/// [P-5] What was created in one branch is updated in the other.
#[test]
fn the_same_write_is_the_same_as_create_and_as_update() {
    let created = Mutation { operation: Operation::Create, ..value(5, "mine") };
    assert_eq!(fate(&created, Some(&value(5, "mine")), Version::ZERO), Fate::There);
}

/// [P-5] A person's decision stays: what was taken or dropped at the base does not come back from a tail.
#[test]
fn a_rescued_value_is_put_back_only_where_nothing_is_known_of_it() {
    let rescued = rescue(&value(5, "mine"));
    let dropped = Mutation { path: rescued.path.clone(), ..delete(7) };
    assert_eq!(fate(&rescued, None, version(9)), Fate::Publish);
    assert_eq!(fate(&rescued, Some(&rescued), version(9)), Fate::There);
    assert_eq!(fate(&rescued, Some(&dropped), version(0)), Fate::Nothing);
    assert_eq!(fate(&dropped, Some(&rescued), version(9)), Fate::Publish);
    assert_eq!(fate(&dropped, None, version(0)), Fate::Nothing);
}

/// [P-5]
#[test]
fn a_rescued_value_says_what_it_was_and_survives_its_encoding() {
    let rescued = rescue(&value(5, "mine"));
    let read = Mutation::decode(&rescued.encode()).expect("a mutation");
    assert_eq!(read.rescued(), Some(Rescued { path: "/a".parse().expect("a path"), version: version(5) }));
    assert_eq!((read.inline, read.path.is_rescued()), (Some("mine".into()), true));
    assert_eq!(value(5, "mine").rescued(), None);
}

#[test]
fn a_note_of_a_rescue_is_refused_at_other_paths_in_deletes_and_when_it_is_broken() {
    let rescued = rescue(&value(5, "mine"));
    let elsewhere = Mutation { path: "/b".parse().expect("a path"), ..rescued.clone() };
    let deleted = Mutation { operation: Operation::Delete, inline: None, ..rescued.clone() };
    let mut broken = rescued;
    broken.unknown[0].1 = Bytes::from_static(b"nonsense");
    assert!([elsewhere, deleted, broken].iter().all(|bent| Mutation::decode(&bent.encode()).is_err()));
}

/// [P-5] The longest mutation that was ever sealed can be rescued too: a merge that fails on it would lose what was receipted.
#[test]
fn the_longest_mutation_fits_when_it_is_rescued() {
    let path = format!("/{}", "p".repeat(1_000)).parse().expect("a path");
    let unknown = vec![(9, Bytes::from(vec![7; 9_000]))];
    let mut row = Mutation { path, inline: Some(vec![1; 4_096].into()), unknown, ..value(5, "") };
    assert!(fits(&row));
    assert!(fits(&rescue(&row)));
    row.unknown[0].1 = Bytes::from_static(b"short");
    assert_eq!(rescue(&row).unknown.len(), 2);
}

proptest! {
    /// [P-5] Merging twice changes nothing: after a fate came true, the row is there, or a delete has nothing left to do.
    #[test]
    fn what_was_done_is_done(mine in 0u64..4, theirs in prop::option::of((0u64..4, any::<bool>())), deletes: bool, floor in 0u64..4) {
        let row = if deletes { delete(mine) } else { value(mine, "mine") };
        let live = theirs.map(|(clock, deleted)| if deleted { delete(clock) } else { value(clock, "theirs") });
        let (path, after) = match fate(&row, live.as_ref(), version(floor)) {
            Fate::Publish => (row.path.clone(), Some(row.clone())),
            Fate::Rescue => { let kept = rescue(&row); (kept.path.clone(), Some(kept)) }
            Fate::There | Fate::Nothing => (row.path.clone(), live.clone()),
        };
        let again = Mutation { path: path.clone(), ..after.clone().filter(|_| path != row.path).unwrap_or(row) };
        let fate = fate(&again, after.as_ref(), version(floor));
        prop_assert!(matches!(fate, Fate::There | Fate::Nothing), "{:?}", fate);
    }
}
