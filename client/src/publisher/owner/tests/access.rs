//! Revocations, and that there is always room for another epoch.

use tidings_core::Entry;
use tidings_core::Grant;
use tidings_core::Object;
use tidings_proto::Epoch;
use tidings_proto::caps::HEAD_EPOCHS_MAX;

use super::super::super::error::RevokeFailure;
use super::sealed::{assert_is_what_the_head_signs, pseudonyms, snapshot};
use super::*;

fn node(number: u32) -> NodeKey {
    let mut seed = [9; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_seed(seed)
}

/// An owner with so many readers.
fn with_readers(count: u32) -> Owner {
    let mut owner = owner();
    for number in 0..count {
        granted(&mut owner, node(number).card());
    }
    owner
}

fn pseudonym(owner: &Owner, node: &NodeKey) -> Pseudonym {
    let of_node = |reader: &&tidings_core::writer::GrantedReader| reader.copy.card.verifying_key == node.verifying_key();
    owner.writer.readers().iter().find(of_node).expect("a reader").row.pseudonym
}

fn newest(owner: &Owner) -> Publish {
    leaving(owner).into_values().last().expect("a publish")
}

fn epochs(publish: &Publish) -> Vec<Epoch> {
    publish.entries.iter().map(|bytes| Entry::decode(bytes).expect("an entry").epoch).collect()
}

/// [P-17]
#[test]
fn a_revocation_is_one_publish_with_a_new_epoch_and_a_grant_for_everybody_who_remains() {
    let mut owner = with_readers(3);
    written(&mut owner, &[put("/waits", "1")]);
    let gone = pseudonym(&owner, &node(1));
    owner.revoke(&gone, at(0)).expect("revoked");
    let publish = newest(&owner);
    assert_eq!((publish.access_removed.clone(), publish.entries.len(), unsigned(&owner)), (vec![gone], 0, 1));
    let opens =
        |node: &NodeKey| publish.attachments.iter().filter(|bytes| Grant::open(bytes, node, owner.writer.descriptor()).is_ok()).count();
    assert_eq!([0, 1, 2].map(|number| opens(&node(number))), [1, 0, 1]);
    assert_eq!(opens(&key()), 1);
    assert_eq!(owner.writer.head().expect("a head").head().epoch, Epoch::new(2));
}

/// [P-17] What was written before a revocation and is signed after it must be out of reach of whom it removed.
#[test]
fn what_waits_during_a_revocation_is_sealed_under_the_new_epoch() {
    let mut owner = with_readers(1);
    written(&mut owner, &[put("/before", "1")]);
    sign(&mut owner, 0);
    assert_eq!(epochs(&newest(&owner)), [Epoch::new(1)]);
    written(&mut owner, &[put("/waits", "1")]);
    owner.revoke(&pseudonyms(&owner)[0], at(0)).expect("revoked");
    written(&mut owner, &[put("/after", "1")]);
    sign(&mut owner, 0);
    assert_eq!(epochs(&newest(&owner)), [Epoch::new(2), Epoch::new(2)]);
}

#[test]
fn a_second_revocation_and_one_of_the_owner_change_nothing() {
    let mut owner = with_readers(1);
    let gone = pseudonyms(&owner)[0];
    owner.revoke(&gone, at(0)).expect("revoked");
    let own = owner.writer.readers()[0].row.pseudonym;
    for nobody in [gone, own] {
        assert!(matches!(owner.revoke(&nobody, at(0)), Err(RevokeFailure::NoSuchReader)));
    }
    assert_eq!(owner.rank().number.value(), 2);
}

#[test]
fn a_reader_that_was_revoked_can_be_granted_again_under_another_name() {
    let mut owner = with_readers(1);
    let first = pseudonym(&owner, &node(0));
    owner.revoke(&first, at(0)).expect("revoked");
    let invitation = granted(&mut owner, node(0).card());
    assert_ne!(pseudonym(&owner, &node(0)), first);
    assert!(Invitation::parse(&invitation).is_ok());
}

#[test]
fn an_acknowledgement_of_a_revoked_reader_holds_no_tombstone() {
    let mut owner = with_tombstone();
    owner.revoke(&pseudonyms(&owner)[0], at(0)).expect("revoked");
    sign(&mut owner, 0);
    assert_eq!(owner.writer.live_count(), 0);
}

/// [P-17] Records that nobody touches would hold on to their epochs until the head has no place left.
#[test]
fn two_hundred_revocations_over_untouched_records_find_a_place_each() {
    let mut owner = owner();
    for round in 0..200 {
        written(&mut owner, &[put(&format!("/{round}/a"), "1"), put(&format!("/{round}/b"), "2")]);
        while sign(&mut owner, 0).is_some() {}
        granted(&mut owner, node(round).card());
        let reader = pseudonym(&owner, &node(round));
        owner.revoke(&reader, at(0)).expect("revoked");
        assert!(owner.writer.head().expect("a head").head().epochs.len() <= 50);
    }
    assert_eq!(owner.writer.live_count(), 400);
    assert_is_what_the_head_signs(&snapshot(&owner));
}

/// [P-17] Without a publish between them that has room, a revocation makes the room itself.
#[test]
fn a_revocation_empties_old_epochs_if_nothing_else_did() {
    let mut owner = owner();
    let one = Limits { publish_entries_max: 1, ..LIMITS };
    for round in 0..80 {
        written(&mut owner, &[put(&format!("/{round}"), "1")]);
        owner.sign(&one, at(0)).expect("signed");
        granted(&mut owner, node(round).card());
        let reader = pseudonym(&owner, &node(round));
        owner.revoke(&reader, at(0)).expect("revoked");
        assert!(owner.writer.head().expect("a head").head().epochs.len() < HEAD_EPOCHS_MAX);
    }
    assert_eq!(owner.writer.live_count(), 80);
}

/// [P-17]
#[test]
fn records_that_are_signed_again_keep_their_values_and_versions() {
    let mut owner = owner();
    let value = |owner: &Owner| owner.state.read(|transaction| OwnView(transaction).record(&path("/0"))).expect("read").expect("there");
    written(&mut owner, &[put("/0", "untouched")]);
    sign(&mut owner, 0);
    let (first, before) = value(&owner);
    for round in 1..60 {
        granted(&mut owner, node(round).card());
        let reader = pseudonym(&owner, &node(round));
        owner.revoke(&reader, at(0)).expect("revoked");
        written(&mut owner, &[put(&format!("/{round}"), "1")]);
        while sign(&mut owner, 0).is_some() {}
    }
    let (again, after) = value(&owner);
    assert!(again.epoch > first.epoch && again.offset > first.offset && again.birth == first.birth);
    assert_eq!((before, first.version), (after, again.version));
}

#[test]
fn a_record_that_waits_and_is_due_to_be_signed_again_is_signed_once() {
    let mut owner = owner();
    written(&mut owner, &[put("/0", "1")]);
    for round in 0..49 {
        sign(&mut owner, 0);
        granted(&mut owner, node(round).card());
        let reader = pseudonym(&owner, &node(round));
        owner.revoke(&reader, at(0)).expect("revoked");
        written(&mut owner, &[put(&format!("/{}", round + 1), "1")]);
    }
    written(&mut owner, &[put("/0", "2")]);
    assert!(sign(&mut owner, 0).expect("signed").paths.contains(&path("/0")));
    assert_is_what_the_head_signs(&snapshot(&owner));
    assert_eq!(unsigned(&owner), 0);
}

/// A write that waits behind others must not be lost because its record is signed again before it.
#[test]
fn a_record_that_is_signed_again_keeps_the_write_that_still_waits() {
    let mut owner = owner();
    written(&mut owner, &[put("/0", "1")]);
    for round in 0..49 {
        sign(&mut owner, 0);
        granted(&mut owner, node(round).card());
        let reader = pseudonym(&owner, &node(round));
        owner.revoke(&reader, at(0)).expect("revoked");
        written(&mut owner, &[put(&format!("/{}", round + 1), "1")]);
    }
    let large = "x".repeat(INLINE_BYTES_MAX);
    let writes: Vec<Write> = (0..7).map(|number| put(&format!("/large/{number}"), &large)).chain([put("/0", "2")]).collect();
    written(&mut owner, &writes);
    let small = Limits { publish_bytes_max: 1, ..LIMITS };
    let before = owner.rank().number;
    while owner.sign(&small, at(0)).expect("signed").is_some() {}
    let entries = |number: u64| leaving(&owner)[&number].entries.len();
    assert!(entries(before.value() + 1) > 7, "something is signed again beside what waits");
    let value = owner.state.read(|transaction| OwnView(transaction).record(&path("/0"))).expect("read").expect("there").1;
    assert_eq!((value.inline.as_deref(), unsigned(&owner)), (Some(&b"2"[..]), 0));
}
