use proptest::prelude::*;
use tidings_proto::{Term, caps};

use super::*;
use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, assert_signature_covers_everything, flips};

const QUEUE: QueueId = QueueId::new([1; 32]);

fn epochs(numbers: &[u64]) -> Vec<EpochCommitment> {
    numbers.iter().map(|&epoch| EpochCommitment { epoch: Epoch::new(epoch), commitment: [epoch as u8; 32] }).collect()
}

/// Head 5 of the second term, which goes on from head 3.
fn head() -> Head {
    let base_rank = HeadRank { term: Term::new(1), number: HeadNumber::new(3) };
    Head {
        queue: QUEUE,
        writer: WriterId([2; 16]),
        term: Term::new(9),
        base: Cursor { rank: base_rank, offset: Offset::new(10), head: HeadHash::new([3; 32]) },
        number: HeadNumber::new(5),
        offset: Offset::new(20),
        live_count: 7,
        live_root: [4; 32],
        floor: Offset::new(8),
        floor_version: Version { clock: 77, node: [5; 16] },
        purged: Head::purged_hash(&[Offset::new(6), Offset::new(8)]),
        epoch: Epoch::new(4),
        epochs: epochs(&[2, 4]),
        access_root: [6; 32],
        access_count: 3,
        history_root: [7; 32],
        previous: HeadHash::new([8; 32]),
        state: QueueState::Open,
        time: Timestamp::new(1_700_000_000_000),
    }
}

fn assert_refused(head: &Head) {
    assert!(matches!(Head::decode(&head.encode()), Err(DecodeError::Invalid(_))), "{head:?}");
}

#[test]
fn a_head_has_one_encoding() {
    assert_one_encoding(&head());
    assert_every_bit_counts(&head());
    assert_one_encoding(&Head { state: QueueState::Closed, ..head() });
}

#[test]
fn the_first_head_follows_the_queue_id() {
    let start = Cursor::start(&QUEUE);
    let first = Head { base: start, number: HeadNumber::new(1), previous: start.head, term: Term::new(1), ..head() };
    assert_one_encoding(&first);
    assert_refused(&Head { previous: HeadHash::new([8; 32]), ..first });
}

#[test]
fn a_head_of_the_first_term_starts_at_its_own_queue() {
    let second = Head { base: Cursor::start(&QUEUE), number: HeadNumber::new(2), ..head() };
    assert_one_encoding(&second);
    assert_refused(&Head { base: Cursor::start(&QueueId::new([2; 32])), ..second });
}

/// [P-4] A term names the head it goes on from, and its own heads stand above it.
#[test]
fn a_head_at_or_below_its_base_is_refused() {
    assert_refused(&Head { term: Term::new(1), ..head() });
    assert_refused(&Head { number: HeadNumber::new(3), ..head() });
    assert_refused(&Head { offset: Offset::new(9), ..head() });
    assert_refused(&Head { number: HeadNumber::new(4), ..head() });
    assert_one_encoding(&Head { number: HeadNumber::new(4), previous: head().base.head, ..head() });
}

/// [P-6] The floor never exceeds what was published, and [P-2] offsets are dense: no more live entries than offsets.
#[test]
fn a_floor_or_count_above_the_offset_is_refused() {
    assert_refused(&Head { floor: Offset::new(21), ..head() });
    assert_refused(&Head { live_count: 21, ..head() });
    assert_one_encoding(&Head { live_count: 20, floor: Offset::new(20), ..head() });
}

#[test]
fn epochs_that_do_not_ascend_are_refused() {
    for listed in [&[4, 2][..], &[2, 2, 4], &[2, 4, 4], &[0, 4]] {
        assert_refused(&Head { epochs: epochs(listed), ..head() });
    }
}

#[test]
fn a_head_without_its_current_epoch_is_refused() {
    for listed in [&[][..], &[2], &[2, 3, 5]] {
        assert_refused(&Head { epochs: epochs(listed), ..head() });
    }
}

/// [P-19] 64 epochs fit a head and its cap; 65 are refused.
#[test]
fn a_head_lists_at_most_sixty_four_epochs() {
    let most: Vec<u64> = (1..=caps::HEAD_EPOCHS_MAX as u64).collect();
    let full = Head { epochs: epochs(&most), ..head() };
    assert_one_encoding(&full);
    assert!(full.sign(&NodeKey::from_seed([1; 32])).bytes().len() <= caps::HEAD_BYTES_MAX);
    assert_refused(&Head { epochs: epochs(&[most.as_slice(), &[65]].concat()), ..head() });
}

#[test]
fn a_queue_is_open_or_closed_and_nothing_else() {
    let mut bytes = head().encode();
    let state = bytes.len() - 9;
    for (byte, expected) in [(0, Some(QueueState::Open)), (1, Some(QueueState::Closed)), (2, None), (255, None)] {
        bytes[state] = byte;
        assert_eq!(Head::decode(&bytes).ok().map(|head| head.state), expected);
    }
}

#[test]
fn heads_are_ordered_by_term_before_number() {
    let later = Head { term: Term::new(10), number: HeadNumber::new(4), ..head() };
    assert!(later.rank() > head().rank());
}

#[test]
fn a_signed_head_verifies_unchanged_only() {
    let key = NodeKey::from_seed([1; 32]);
    let verify = |bytes: &[u8]| SignedHead::parse(Bytes::copy_from_slice(bytes))?.verify(&key.verifying_key());
    assert_signature_covers_everything(head().sign(&key).bytes(), verify);
}

#[test]
fn a_head_of_another_key_is_refused() {
    let signed = head().sign(&NodeKey::from_seed([1; 32]));
    assert_eq!(signed.verify(&NodeKey::from_seed([2; 32]).verifying_key()), Err(SignedError::Signature));
}

/// [P-3] What travels is what was signed, byte for byte.
#[test]
fn a_parsed_head_is_the_signed_one() {
    let signed = head().sign(&NodeKey::from_seed([1; 32]));
    let parsed = SignedHead::parse(signed.bytes().clone()).expect("a signed head is read");
    assert_eq!(parsed, signed);
    assert_eq!(parsed.head(), &head());
    assert_eq!(parsed.cursor(), Cursor { rank: head().rank(), offset: head().offset, head: signed.hash() });
}

#[test]
fn a_head_hash_names_one_head() {
    let key = NodeKey::from_seed([1; 32]);
    let hash = head().sign(&key).hash();
    for other in flips(&head().encode()).filter_map(|bytes| Head::decode(&bytes).ok()) {
        assert_ne!(other.sign(&key).hash(), hash);
    }
}

#[test]
fn an_oversized_head_is_refused_before_it_is_read() {
    let bytes = vec![0; caps::HEAD_BYTES_MAX + 1];
    assert!(matches!(SignedHead::parse(bytes.into()), Err(DecodeError::Invalid(_))));
}

#[test]
fn lists_of_purged_offsets_have_their_own_hashes() {
    let hash = |offsets: &[u64]| Head::purged_hash(&offsets.iter().map(|&offset| Offset::new(offset)).collect::<Vec<_>>());
    let hashes = [hash(&[]), hash(&[1]), hash(&[1, 2]), hash(&[2]), hash(&[0, 1, 2])];
    assert!(hashes.iter().enumerate().all(|(place, one)| !hashes[..place].contains(one)));
}

proptest! {
    #[test]
    fn heads_have_one_encoding(
        above in 1u64..1 << 40,
        offset in 20u64..,
        listed in prop::collection::btree_set(1u64.., 1..8),
        time: u64,
        closed: bool,
    ) {
        let listed: Vec<u64> = listed.into_iter().collect();
        assert_one_encoding(&Head {
            number: HeadNumber::new(4 + above),
            offset: Offset::new(offset),
            epoch: Epoch::new(listed[0]),
            epochs: epochs(&listed),
            state: if closed { QueueState::Closed } else { QueueState::Open },
            time: Timestamp::new(time),
            ..head()
        });
    }
}
