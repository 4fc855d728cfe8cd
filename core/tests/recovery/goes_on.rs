//! What is recovered is the owner's state, and its writer goes on in a new term.

use std::collections::BTreeMap;

use tidings_core::writer::{OwnRecord, SignRequest, WriterError};
use tidings_core::{Entropy, Grant, NewTerm, Object, Opened, Writer};
use tidings_proto::{Epoch, HeadNumber, Term, Timestamp};

use crate::paper::{Dice, Owner, PaperBroker, path};
use crate::{broker, node, owner, publish, recover};

/// An owner that lost everything but its key, at what its broker held.
fn rebuilt(before: &Owner, opened: Opened) -> Owner {
    let mut owner = before.copied(7);
    owner.records = opened.records.iter().map(|record| (record.record.path.clone(), record.record.clone())).collect();
    let value = |record: &tidings_core::OpenedRecord| Some((record.record.path.clone(), record.mutation.inline.clone()?));
    owner.values = opened.records.iter().filter_map(value).collect();
    owner.writer = Writer::decode(&opened.writer.encode()).expect("a row opens");
    owner
}

/// When they were signed is all that is not kept.
fn timeless(records: &BTreeMap<tidings_core::path::RecordPath, OwnRecord>) -> Vec<OwnRecord> {
    records.values().map(|record| OwnRecord { signed_at: Timestamp::ZERO, ..record.clone() }).collect()
}

fn goes_on(dice: &mut Dice, owner: &mut Owner, broker: &mut PaperBroker) {
    for _ in 0..4 {
        publish(dice, owner);
        broker.receive(&owner.log, 1);
        broker.assert_sets_are_signed();
    }
}

/// [P-4] [P-5] [P-7]
#[test]
fn what_a_broker_holds_of_a_random_history_becomes_the_owners_state_again_and_its_writer_goes_on() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let publishes = dice.roll(40);
        let before = owner(&mut dice, seed, publishes);
        let mut broker = broker(&before);
        broker.assert_sets_are_signed();
        let size = 1 + dice.roll(9) as usize;
        let whole = recover(&before, broker.parts(size)).expect("what an honest broker holds");
        let head = before.writer.head().expect("a head");
        for number in 0..=head.rank().number.value() {
            let expected = if number == 0 { *head.head().queue.bytes() } else { *broker.heads[number as usize - 1].hash().bytes() };
            assert_eq!(whole.hash_of(HeadNumber::new(number)).map(|hash| *hash.bytes()), Some(expected));
        }
        assert_eq!(whole.hash_of(head.rank().number.next().expect("small")), None);
        let opened = whole.open(&before.key).expect("the owner opens it");
        let mut after = rebuilt(&before, opened);
        assert_eq!((timeless(&after.records), &after.values), (timeless(&before.records), &before.values), "seed {seed}");
        assert_eq!(after.writer.readers().len(), before.writer.readers().len());
        assert_eq!(after.writer.writer(), before.writer.writer());
        after.open_term(head.rank().term, NewTerm::on_found_head(Epoch::new(9)));
        goes_on(&mut dice, &mut after, &mut broker);
        let new = after.writer.head().expect("a head").head();
        assert!(new.term > head.rank().term && new.base == head.cursor() && new.writer != head.head().writer);
        assert!(new.epoch > head.head().epoch.max(Epoch::new(9)));
        let again = recover(&after, broker.parts(3)).expect("the new term is recovered too").open(&after.key).expect("opens");
        assert_eq!(again.records.len(), after.records.len());
    }
}

/// [P-3] The successor of a head that was found may be signed already: a second one would make the owner a forger.
#[test]
fn a_recovered_writer_signs_nothing_before_a_new_term_and_takes_a_new_name_and_new_keys_whatever_it_is_told() {
    let before = owner(&mut Dice::new(1), 1, 9);
    let opened = recover(&before, broker(&before).parts(9)).expect("whole").open(&before.key).expect("opens");
    let mut writer = Writer::decode(&opened.writer.encode()).expect("a row");
    let mut entropy = Entropy::new([3; 32]);
    let refused = writer.sign(&before.key, SignRequest::default(), Timestamp::new(1), &mut entropy);
    assert!(matches!(refused, Err(WriterError::NeedsTerm)));
    assert!(matches!(writer.close(&before.key, Timestamp::new(1), &mut entropy), Err(WriterError::NeedsTerm)));
    writer.open_term(Term::ZERO, NewTerm::ON_OWN_HEAD, &mut entropy).expect("a term");
    assert!(writer.keys_are_due() && writer.writer() != before.writer.writer());
    let signed = writer.sign(&before.key, SignRequest::default(), Timestamp::new(1), &mut entropy).expect("signed");
    assert_eq!(signed.attachments.len(), writer.readers().len());
}

/// [P-17] Readers that a merge removes, and new keys: one publish carries both, and those that stay read on.
#[test]
fn the_first_publish_of_a_term_with_new_keys_grants_all_that_stay_and_removes_the_others() {
    let mut before = Owner::new(5);
    let keys = [node(0), node(1)];
    keys.iter().for_each(|key| _ = before.grant(key));
    before.publish(&[(path(1), Some("one".into()))], None);
    let mut broker = broker(&before);
    let opened = recover(&before, broker.parts(4)).expect("whole").open(&before.key).expect("opens");
    assert_eq!(opened.locator, "");
    let mut after = rebuilt(&before, opened);
    after.open_term(Term::new(77), NewTerm::on_found_head(Epoch::new(1_000)));
    let of = |key: &tidings_core::NodeKey| {
        let reader = after.writer.readers().iter().find(|reader| reader.copy.card.verifying_key == key.verifying_key());
        reader.expect("a reader").row.pseudonym
    };
    let gone = of(&keys[0]);
    let signed = after.rotate(vec![gone]);
    broker.receive(&after.log, 1);
    broker.assert_sets_are_signed();
    assert_eq!((signed.access_removed, signed.access_put.len()), (vec![gone], 2));
    let head = signed.head.head();
    assert!(head.term > Term::new(77) && head.epoch > Epoch::new(1_000), "{head:?}");
    let opens = |bytes: &bytes::Bytes| Grant::open(bytes, &keys[1], after.writer.descriptor()).ok();
    let grant = signed.attachments.iter().find_map(opens).expect("a grant of the reader that stays");
    assert_eq!(grant.epoch, head.epoch);
    // What lives is of the old epoch, and both are in the grant.
    assert_eq!(grant.secrets.len(), 2);
}
