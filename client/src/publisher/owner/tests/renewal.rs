//! A state of the format before, which kept nothing sealed: it is signed again.

use super::sealed::{assert_is_what_the_head_signs, pseudonyms, snapshot};
use super::*;

/// A state file of format 1 whose owner had signed records, a tombstone, a reader and something that waits.
fn old_state(folder: &TempDir) -> State {
    let file = folder.path().join("state.redb");
    let state = State::open(&file).expect("created");
    let mut owner = open(state.clone());
    grant(&mut owner);
    written(&mut owner, &[put("/a", "1"), put("/b", "1"), put("/c", "1")]);
    sign(&mut owner, 0);
    written(&mut owner, &[delete("/b")]);
    sign(&mut owner, 0);
    written(&mut owner, &[put("/c", "2")]);
    drop(owner);
    state.forget_sealed();
    drop(state);
    State::open(&file).expect("migrated")
}

fn values(owner: &Owner) -> Vec<tidings_core::Mutation> {
    let of = |text| owner.state.read(|transaction| OwnView(transaction).record(&path(text))).expect("read").expect("there").1;
    ["/a", "/b"].map(of).into()
}

#[test]
fn a_state_that_kept_nothing_sealed_has_no_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(open(old_state(&folder)).snapshot(), Err(StateError::Damaged(_))));
}

#[test]
fn what_an_old_state_did_not_keep_sealed_is_signed_again_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut owner = open(old_state(&folder));
    let before = (values(&owner), owner.writer.live_count(), pseudonyms(&owner));
    let published = owner.make_whole(at(1)).expect("signed");
    assert_is_what_the_head_signs(&snapshot(&owner));
    assert_eq!((values(&owner), owner.writer.live_count(), pseudonyms(&owner)), before);
    assert_eq!(published.last().expect("signed").paths, [path("/c")]);
}

#[test]
fn the_usual_publishes_make_an_old_state_whole_and_then_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut owner = open(old_state(&folder));
    let few = Limits { publish_entries_max: 2, ..LIMITS };
    let mut publishes = 0;
    while owner.sign(&few, at(1)).expect("signed").is_some() {
        publishes += 1;
    }
    assert_eq!((publishes, owner.make_whole(at(1)).expect("whole").len()), (3, 0));
    assert_is_what_the_head_signs(&snapshot(&owner));
}

/// A crash between two publishes of a renewal.
#[test]
fn a_renewal_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = old_state(&folder);
    let mut owner = open(state.clone());
    assert!(sign(&mut owner, 1).is_some());
    drop(owner);
    let mut owner = open(state);
    owner.make_whole(at(1)).expect("signed");
    assert_is_what_the_head_signs(&snapshot(&owner));
}

/// Format 3 kept values and epochs in tables of their own, and sealed entries without their paths.
#[test]
fn a_state_of_format_3_opens_with_all_that_it_kept() {
    opens_with_all_that_it_kept(State::unjoin);
}

/// Format 4 lacked the table of rewinds.
#[test]
fn a_state_of_format_4_opens_with_all_that_it_kept() {
    opens_with_all_that_it_kept(State::forget_rewinds);
}

fn opens_with_all_that_it_kept(made_older: fn(&State)) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("state.redb");
    let state = State::open(&file).expect("created");
    let mut owner = open(state.clone());
    grant(&mut owner);
    let many: Vec<Write> = (0..3_000).map(|number| put(&format!("/many/{number}"), "1")).collect();
    many.chunks(1_000).for_each(|some| {
        written(&mut owner, some);
        sign(&mut owner, 0);
    });
    written(&mut owner, &[delete("/many/7"), put("/many/8", "2")]);
    sign(&mut owner, 0);
    let (before, live) = (snapshot(&owner).head().rank(), owner.writer.live_count());
    drop(owner);
    made_older(&state);
    drop(state);

    let mut owner = open(State::open(&file).expect("migrated"));
    assert_is_what_the_head_signs(&snapshot(&owner));
    assert_eq!((snapshot(&owner).head().rank(), owner.writer.live_count()), (before, live));
    let value = owner.state.read(|transaction| OwnView(transaction).record(&path("/many/8"))).expect("read").expect("there").1;
    assert_eq!(value.inline.as_deref(), Some(&b"2"[..]));
    written(&mut owner, &[put("/many/9", "3")]);
    sign(&mut owner, 0);
    assert_is_what_the_head_signs(&snapshot(&owner));
}
