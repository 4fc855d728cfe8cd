//! Whoever gives the parts can withhold them, and nothing else. [P-5] [P-19] [P-20]

use bytes::Bytes;
use tidings_core::{NodeKey, Recovery, RecoveryError};
use tidings_proto::Offset;
use tidings_proto::frames::Transfer;

use crate::paper::{Dice, Owner};
use crate::{broker, owner, recover};

/// Changes the parts; false if there is nothing here to change.
type Bend = fn(&mut Dice, &mut Vec<Transfer>) -> bool;

/// A random item of the lists that `of` names.
fn item<'a, T>(dice: &mut Dice, parts: &'a mut [Transfer], of: fn(&mut Transfer) -> &mut Vec<T>) -> Option<(&'a mut Vec<T>, usize)> {
    let filled: Vec<usize> = (0..parts.len()).filter(|at| !of(&mut parts[*at]).is_empty()).collect();
    let at = *filled.get(dice.roll(filled.len() as u64) as usize)?;
    let list = of(&mut parts[at]);
    let index = dice.roll(list.len() as u64) as usize;
    Some((list, index))
}

fn drop_one<T>(dice: &mut Dice, parts: &mut [Transfer], of: fn(&mut Transfer) -> &mut Vec<T>) -> bool {
    item(dice, parts, of).map(|(list, at)| _ = list.remove(at)).is_some()
}

fn twice<T: Clone>(dice: &mut Dice, parts: &mut [Transfer], of: fn(&mut Transfer) -> &mut Vec<T>) -> bool {
    item(dice, parts, of).map(|(list, at)| list.insert(at, list[at].clone())).is_some()
}

fn flip(dice: &mut Dice, parts: &mut [Transfer], of: fn(&mut Transfer) -> &mut Vec<Bytes>) -> bool {
    let bit = dice.roll(1 << 20) as usize;
    item(dice, parts, of).map(|(list, at)| list[at] = flipped(&list[at], bit)).is_some()
}

fn flipped(bytes: &Bytes, bit: usize) -> Bytes {
    let mut bent = bytes.to_vec();
    let bit = bit % (bent.len() * 8);
    bent[bit / 8] ^= 1 << (bit % 8);
    bent.into()
}

fn last(parts: &mut [Transfer]) -> &mut Transfer {
    parts.last_mut().expect("a last part")
}

const BENDS: [(&str, Bend); 18] = [
    ("a hash is missing", |dice, parts| drop_one(dice, parts, |part| &mut part.history)),
    ("a hash comes twice", |dice, parts| twice(dice, parts, |part| &mut part.history)),
    ("a hash is another one", |dice, parts| item(dice, parts, |part| &mut part.history).map(|(list, at)| list[at][3] ^= 1).is_some()),
    ("an entry is missing", |dice, parts| drop_one(dice, parts, |part| &mut part.entries)),
    ("an entry comes twice", |dice, parts| twice(dice, parts, |part| &mut part.entries)),
    ("a bit of an entry is flipped", |dice, parts| flip(dice, parts, |part| &mut part.entries)),
    ("an attachment is missing", |dice, parts| drop_one(dice, parts, |part| &mut part.attachments)),
    ("an attachment comes twice", |dice, parts| twice(dice, parts, |part| &mut part.attachments)),
    ("a bit of an attachment is flipped", |dice, parts| flip(dice, parts, |part| &mut part.attachments)),
    ("an attachment that nobody names", |_, parts| {
        last(parts).attachments.push("nobody's".into());
        true
    }),
    ("a row is missing", |dice, parts| drop_one(dice, parts, |part| &mut part.rows)),
    ("a row comes twice", |dice, parts| twice(dice, parts, |part| &mut part.rows)),
    ("a bit of a row is flipped", |dice, parts| flip(dice, parts, |part| &mut part.rows)),
    ("a bit of the head is flipped", |dice, parts| {
        let bit = dice.roll(1 << 20) as usize;
        last(parts).head = flipped(&last(parts).head, bit);
        true
    }),
    ("rows come before the head", |_, parts| {
        parts[0].rows = last(parts).rows.clone();
        parts.len() > 1
    }),
    ("a part carries nothing", |dice, parts| {
        parts.insert(dice.roll(parts.len() as u64) as usize, Transfer::default());
        true
    }),
    ("a part is of a step and not of the whole", |dice, parts| {
        let at = dice.roll(parts.len() as u64) as usize;
        parts[at].through = Offset::new(1);
        true
    }),
    ("the head is that of another queue", |_, parts| {
        let other = Owner::new(200);
        let mut other = broker(&other).parts(99);
        last(parts).head = last(&mut other).head.clone();
        true
    }),
];

#[test]
fn each_change_of_any_part_is_refused() {
    let mut bent = 0;
    for seed in 0..40 {
        let mut dice = Dice::new(seed);
        let owner = owner(&mut dice, seed, 15);
        let size = 1 + dice.roll(6) as usize;
        let parts = broker(&owner).parts(size);
        for (name, bend) in BENDS {
            let mut parts = parts.clone();
            if !bend(&mut dice, &mut parts) {
                continue;
            }
            bent += 1;
            let refused = recover(&owner, parts);
            assert!(matches!(refused, Err(RecoveryError::NotSigned(_) | RecoveryError::TooNew(_))), "seed {seed}, {name}: {refused:?}");
        }
    }
    println!("{bent} bent queues were refused");
    assert!(bent > 600, "{bent}");
}

/// [P-20] A flipped version byte looks like a newer version; it is the only change that is called so.
#[test]
fn only_a_version_byte_makes_anything_too_new() {
    let owner = owner(&mut Dice::new(3), 3, 9);
    let parts = broker(&owner).parts(99);
    let head = parts.last().expect("a last part").head.clone();
    for byte in 0..head.len() {
        let mut parts = parts.clone();
        last(&mut parts).head = flipped(&head, 8 * byte + 2);
        let too_new = matches!(recover(&owner, parts), Err(RecoveryError::TooNew(_)));
        assert_eq!(too_new, byte == 0, "byte {byte}");
    }
}

#[test]
fn nothing_follows_the_last_part_or_an_error() {
    let owner = owner(&mut Dice::new(4), 4, 9);
    let parts = broker(&owner).parts(99);
    let mut recovery = Recovery::new(owner.writer.descriptor().clone());
    for part in parts.clone() {
        assert!(recovery.take(part).is_ok());
    }
    assert!(recovery.take(parts[0].clone()).is_err());
    let mut recovery = Recovery::new(owner.writer.descriptor().clone());
    assert!(recovery.take(Transfer::default()).is_err());
    assert!(parts.into_iter().all(|part| recovery.take(part).is_err()));
}

/// [P-19] Who gives more than the head that it showed is found out by what comes too much, however much would follow.
#[test]
fn more_than_the_head_signs_is_refused_when_it_comes() {
    let mut owner = owner(&mut Dice::new(7), 4, 9);
    let old = owner.writer.head().expect("a head").clone();
    let begun = |owner: &Owner| Recovery::new(owner.writer.descriptor().clone()).of_head(&old);
    let mut honest = begun(&owner);
    assert!(broker(&owner).parts(3).into_iter().any(|part| honest.take(part).expect("what it signs").is_some()));

    let many: Vec<_> = (100..120).map(|number| (crate::paper::path(number), Some(Bytes::from("more")))).collect();
    owner.publish(&many, None);
    let parts = broker(&owner).parts(99);
    let (mut too_many, mut heads) = (begun(&owner), begun(&owner));
    let entries = Transfer { entries: parts.iter().flat_map(|part| part.entries.clone()).collect(), ..Transfer::default() };
    let refused = Err(RecoveryError::AnotherHead);
    assert_eq!(too_many.take(entries).map(|_| ()), refused);
    let history = parts.iter().flat_map(|part| part.history.clone()).collect();
    assert_eq!(heads.take(Transfer { history, ..Transfer::default() }).map(|_| ()), refused);
}

#[test]
fn only_the_owner_opens_what_was_recovered() {
    let owner = owner(&mut Dice::new(5), 5, 9);
    let whole = recover(&owner, broker(&owner).parts(9)).expect("whole");
    assert_eq!(whole.open(&NodeKey::from_seed([8; 32])).err(), Some(RecoveryError::OtherOwner));
}

/// [P-5] A record that its own owner cannot read must not vanish with the next head: it is named.
#[test]
fn an_entry_that_contradicts_another_one_is_named_and_not_left_out() {
    use crate::paper::path;
    let mut owner = Owner::new(6);
    owner.publish(&[(path(1), Some("one".into())), (path(2), Some("two".into()))], None);
    let foreign = owner.foreign_path(&path(1), &path(2));
    owner.sign(foreign);
    let whole = recover(&owner, broker(&owner).parts(9)).expect("it is what the owner signed");
    let refused = whole.open(&owner.key).err();
    assert_eq!(refused, Some(RecoveryError::Unreadable("entry 3 is a second one of its record".to_owned())));
}
