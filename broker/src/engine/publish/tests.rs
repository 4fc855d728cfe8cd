use tidings_core::{Entry, Object, Version};
use tidings_proto::{Epoch, Term};

use super::*;
use crate::engine::test_owner::{Request, TestOwner, puts};

/// A publish of three entries on top of one.
fn second() -> (TestOwner, Publish) {
    let mut owner = TestOwner::new(1);
    owner.put(&[1]);
    let publish = owner.put(&[1, 2, 3]);
    (owner, publish)
}

fn refused(owner: &TestOwner, publish: Publish) -> RefusalCode {
    check(owner.descriptor(), publish).expect_err("a refusal").code
}

/// The publish with one entry changed and the head signed again, so that only the entry is wrong.
fn with_entry(owner: &TestOwner, publish: &Publish, index: usize, change: impl FnOnce(&mut Entry)) -> Publish {
    let mut changed = owner.resign(publish, |_| {});
    let mut entry = Entry::decode(&publish.entries[index]).expect("an entry");
    change(&mut entry);
    changed.entries[index] = entry.encode().into();
    changed
}

#[test]
fn a_valid_publish_passes() {
    let (owner, publish) = second();
    let checked = check(owner.descriptor(), publish).expect("passes");
    assert_eq!((checked.queue(), checked.entries.len(), checked.previous_offset()), (owner.queue(), 3, Offset::new(1)));
    assert_eq!(checked.entries[0].0.birth, owner.birth(1));
}

/// [P-19] Whatever is counted or measured has a cap that is looked at before anything is parsed.
#[test]
fn each_cap_is_refused_as_too_large() {
    let (owner, publish) = second();
    let long = |length: usize| Bytes::from(vec![0; length]);
    type Spoil = fn(&mut Publish, &dyn Fn(usize) -> Bytes);
    let spoils: [Spoil; 10] = [
        |publish, long| publish.head = long(caps::HEAD_BYTES_MAX + 1),
        |publish, long| publish.entries = vec![long(0); caps::PUBLISH_ENTRIES_MAX + 1],
        |publish, long| publish.entries[0] = long(caps::ENTRY_BYTES_MAX + 1),
        |publish, long| publish.entries = vec![long(caps::ENTRY_BYTES_MAX); caps::PUBLISH_BYTES_MAX / caps::ENTRY_BYTES_MAX + 1],
        |publish, _| publish.purged = vec![Offset::ZERO; caps::PUBLISH_PURGED_MAX + 1],
        |publish, _| publish.access_removed = vec![Pseudonym::ZERO; caps::PUBLISH_ACCESS_MAX + 1],
        |publish, long| publish.access_put = vec![long(caps::ACCESS_ROW_BYTES_MAX + 1)],
        |publish, long| publish.attachments = vec![long(0); 2 * caps::PUBLISH_ACCESS_MAX + 1],
        |publish, long| publish.attachments = vec![long(caps::ATTACHMENT_BYTES_MAX + 1)],
        |publish, long| {
            publish.attachments =
                vec![long(caps::ATTACHMENT_BYTES_MAX); caps::PUBLISH_ATTACHMENT_BYTES_MAX / caps::ATTACHMENT_BYTES_MAX + 1];
        },
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        let mut spoilt = publish.clone();
        spoil(&mut spoilt, &long);
        assert_eq!(refused(&owner, spoilt), RefusalCode::TooLarge, "cap {index}");
    }
    let crowded = owner.resign(&publish, |head| head.access_count = caps::READERS_MAX as u32 + 1);
    assert_eq!(refused(&owner, crowded), RefusalCode::TooLarge);
}

/// [P-20] An object of a later version is no malformed one: its owner has a newer build.
#[test]
fn a_newer_version_is_told_from_nonsense() {
    let (owner, publish) = second();
    let spoil = |byte: u8| {
        let change = |bytes: &Bytes| Bytes::from([&[byte], &bytes[1..]].concat());
        [
            Publish { head: change(&publish.head), ..publish.clone() },
            Publish { entries: publish.entries.iter().map(change).collect(), ..publish.clone() },
            Publish { access_put: vec![Bytes::from(vec![byte; 40])], ..publish.clone() },
        ]
    };
    for newer in spoil(2) {
        assert_eq!(refused(&owner, newer), RefusalCode::TooNew);
    }
    let mut short = publish.clone();
    short.entries[1].truncate(9);
    assert_eq!(refused(&owner, short), RefusalCode::Malformed);
}

#[test]
fn a_head_of_another_queue_or_key_is_refused() {
    let (owner, publish) = second();
    let mut stranger = TestOwner::new(2);
    assert_eq!(refused(&owner, stranger.put(&[1])), RefusalCode::Invalid);
    assert_eq!(refused(&owner, stranger.resign(&publish, |_| {})), RefusalCode::BadSignature);
}

/// [P-7] One flipped bit anywhere in head or signature is seen before the store is asked.
#[test]
fn no_flipped_bit_of_a_head_passes() {
    let (owner, publish) = second();
    for position in 0..publish.head.len() {
        let mut head = publish.head.to_vec();
        head[position] ^= 1;
        check(owner.descriptor(), Publish { head: head.into(), ..publish.clone() }).expect_err("a flipped bit");
    }
}

/// [P-2] [P-3] [P-17] Entries stand where the head says, in its term and epoch, one for each record.
#[test]
fn entries_that_contradict_the_head_are_invalid() {
    let (owner, publish) = second();
    type Spoil = fn(&mut Entry);
    let spoils: [Spoil; 6] = [
        |entry| entry.offset = Offset::new(5),
        |entry| (entry.offset, entry.birth) = (Offset::new(2), Birth::new(1)),
        |entry| entry.term = Term::new(2),
        |entry| entry.epoch = Epoch::new(2),
        |entry| entry.birth = Birth::new(1),
        |entry| entry.birth = Birth::new(2),
    ];
    for (index, spoil) in spoils.into_iter().enumerate() {
        assert_eq!(refused(&owner, with_entry(&owner, &publish, 1, spoil)), RefusalCode::Invalid, "spoil {index}");
    }
    let mut backwards = publish.clone();
    backwards.entries.reverse();
    assert_eq!(refused(&owner, backwards), RefusalCode::Invalid);
    let few = owner.resign(&publish, |head| (head.offset, head.live_count, head.floor) = (Offset::new(2), 2, Offset::ZERO));
    assert_eq!(refused(&owner, few), RefusalCode::Invalid);
}

/// [P-6] The floor never passes the previous head's offset, and what is purged is at or below it, in order, as signed.
#[test]
fn purged_offsets_are_those_the_head_signs() {
    let (owner, publish) = second();
    let purge = |floor: u64, purged: &[u64], signed: &[u64]| {
        let offsets = |values: &[u64]| values.iter().map(|value| Offset::new(*value)).collect::<Vec<_>>();
        let mut publish = owner.resign(&publish, |head| {
            head.floor = Offset::new(floor);
            head.floor_version = Version::ZERO;
            head.purged = Head::purged_hash(&offsets(signed));
        });
        publish.purged = offsets(purged);
        publish
    };
    check(owner.descriptor(), purge(1, &[1], &[1])).expect("what this test varies passes");
    assert_eq!(refused(&owner, purge(2, &[1], &[1])), RefusalCode::Invalid);
    assert_eq!(refused(&owner, purge(1, &[2], &[2])), RefusalCode::Invalid);
    assert_eq!(refused(&owner, purge(1, &[], &[1])), RefusalCode::Invalid);
    assert_eq!(refused(&owner, purge(1, &[1], &[])), RefusalCode::Invalid);
    assert_eq!(refused(&owner, purge(1, &[1, 1], &[1, 1])), RefusalCode::Malformed);
}

#[test]
fn access_rows_ascend_and_are_put_or_removed_not_both() {
    let mut owner = TestOwner::new(1);
    let publish = owner.sign(Request { add: vec![7, 8], ..puts(&[]) }).publish();
    let mut backwards = publish.clone();
    backwards.access_put.reverse();
    assert_eq!(refused(&owner, backwards), RefusalCode::Malformed);
    let mut twice = publish.clone();
    twice.access_put.push(twice.access_put[2].clone());
    assert_eq!(refused(&owner, twice), RefusalCode::Malformed);
    let both = Publish { access_removed: vec![owner.own_pseudonym()], ..publish.clone() };
    assert_eq!(refused(&owner, both), RefusalCode::Invalid);
    let repeated = Publish { attachments: vec![publish.attachments[0].clone(); 2], ..publish };
    assert_eq!(refused(&owner, repeated), RefusalCode::Malformed);
}

/// A head at the end of the range of offsets is an ordinary refusal, not an overflow.
#[test]
fn numbers_at_the_end_of_their_range_do_not_overflow() {
    let (owner, publish) = second();
    let last = owner.resign(&publish, |head| head.offset = Offset::new(u64::MAX));
    assert_eq!(refused(&owner, last), RefusalCode::Invalid);
    let empty = owner.resign(&Publish { entries: Vec::new(), ..publish }, |head| head.offset = Offset::new(u64::MAX));
    check(owner.descriptor(), empty).expect("in itself it is consistent");
}
