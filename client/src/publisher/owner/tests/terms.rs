//! Terms: what may be signed before everything was compared, and what a merge leaves behind.

use tidings_core::writer::{AccessChange, NewTerm, TermKeys, WriterName};
use tidings_proto::caps::HEAD_EPOCHS_MAX;

use super::*;

fn floor(owner: &Owner) -> u64 {
    owner.writer.head().expect("a head").head().floor.value()
}

/// [P-6] Another branch may hold values that only these tombstones keep out.
#[test]
fn the_floor_stays_at_the_base_of_the_term_until_everything_was_compared() {
    let mut owner = owner();
    owner.compared = false;
    for write in [put("/a", "1"), delete("/a"), put("/b", "1")] {
        written(&mut owner, &[write]);
        sign(&mut owner, 0).expect("something");
    }
    assert_eq!(floor(&owner), 0);
    owner.compared = true;
    written(&mut owner, &[put("/b", "2")]);
    sign(&mut owner, 0).expect("something");
    assert!(floor(&owner) >= 2);
}

/// [P-4] A session that did not compare does not sign in the term of before; it says so once.
#[test]
fn a_session_that_did_not_compare_opens_one_term() {
    let mut owner = owner();
    written(&mut owner, &[put("/a", "1")]);
    sign(&mut owner, 0).expect("something");
    let before = owner.writer.head().expect("a head").cursor();
    owner.settle(false).expect("settled");
    owner.settle(false).expect("settled");
    assert!(sign(&mut owner, 0).is_none());
    written(&mut owner, &[put("/a", "2")]);
    sign(&mut owner, 0).expect("something");
    let head = owner.writer.head().expect("a head").head().clone();
    assert!(head.term > before.rank.term && head.base == before && head.number.value() == 2);
    assert_eq!(leaving(&owner).values().flat_map(|publish| &publish.access_put).count(), 1);
}

/// [P-5] Receipts: with two needed, the older of two is what counts.
#[test]
fn a_publish_is_kept_until_so_many_brokers_hold_it_as_have_to() {
    let mut owner = owner();
    owner.receipts = 2;
    for number in 0..3 {
        written(&mut owner, &[put("/a", &number.to_string())]);
        sign(&mut owner, 0).expect("something");
    }
    for (broker, number, kept) in [(1, 3, 3), (2, 1, 2), (2, 3, 0)] {
        let broker = tidings_core::ReceiptKey::from_seed([broker; 32]);
        let cursor = owner.cursor_of(HeadNumber::new(number)).expect("read").expect("signed");
        let receipt = Receipt { queue: owner.writer.queue(), rank: cursor.rank, head: cursor.head, since: at(0) };
        owner.receipted(&broker.verifying_key(), &receipt.sign(&broker), &receipt).expect("kept");
        assert_eq!(leaving(&owner).len(), kept);
    }
}

/// A merge came when live entries took all places of epochs: the new one found none, and nothing could be signed any more, for ever.
/// [P-5, P-17]
#[test]
fn where_live_entries_take_all_epochs_a_merge_makes_room_for_its_own() {
    let mut owner = owner();
    let one = Limits { publish_entries_max: 1, ..LIMITS };
    for round in 0..HEAD_EPOCHS_MAX {
        let access = Access::Change(AccessChange { rotate: round > 0, ..AccessChange::default() });
        owner.try_sign(&Room::none(), access, at(0), |_, _| Ok(())).expect("signed");
        written(&mut owner, &[put(&format!("/{round}"), "1")]);
        owner.sign(&one, at(0)).expect("signed");
    }
    let how = NewTerm { writer: WriterName::Kept, keys: TermKeys::New { seen: owner.writer.current_epoch() } };
    owner.writer.open_term(owner.seen, how, &mut clock::entropy().expect("randomness")).expect("opened");
    assert!(!owner.writer.epoch_fits());
    written(&mut owner, &[put("/waits", "1")]);
    granted(&mut owner, NodeKey::from_seed([2; 32]).card());
    assert!(!owner.writer.keys_are_due());
    assert_eq!((unsigned(&owner), owner.writer.live_count()), (1, HEAD_EPOCHS_MAX as u64));
    super::sealed::assert_is_what_the_head_signs(&super::sealed::snapshot(&owner));
}
