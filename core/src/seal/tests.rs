use std::collections::HashSet;

use proptest::prelude::*;
use tidings_proto::Epoch;

use super::*;
use crate::mutation::tests::{any_mutation, inline};
use crate::mutation::{Mutation, Operation};
use crate::object_laws::flips;

const QUEUE: QueueId = QueueId::new([5; 32]);
const PLACE: Place = Place { term: Term::new(2), offset: Offset::new(9), birth: Birth::new(4) };

fn secret() -> EpochSecret {
    EpochSecret::new(Epoch::new(3), &mut Entropy::new([1; 32]))
}

fn entropy() -> Entropy {
    Entropy::new([2; 32])
}

fn sealed(place: Place, mutation: &Mutation, entropy: &mut Entropy) -> Entry {
    seal(&secret(), &QUEUE, place, mutation, entropy).expect("a small mutation")
}

/// Sealed by the owner, but not what this program seals.
fn sealed_plaintext(plaintext: &[u8]) -> Entry {
    let mut entry = sealed(PLACE, &inline("/a"), &mut entropy());
    let mut bytes = plaintext.to_vec();
    cipher(&secret(), &QUEUE).encrypt_in_place(&entry.nonce.into(), &entry.associated_data(&QUEUE), &mut bytes).expect("a short plaintext");
    entry.ciphertext = bytes.into();
    entry
}

#[test]
fn what_is_sealed_opens_again() {
    let entry = sealed(PLACE, &inline("/a"), &mut entropy());
    assert_eq!(open(&secret(), &QUEUE, &entry), Ok(inline("/a")));
}

/// [P-1] Each of place, epoch, nonce and ciphertext is bound.
#[test]
fn an_entry_with_any_flipped_bit_is_refused() {
    let bytes = sealed(PLACE, &inline("/a"), &mut entropy()).encode();
    let opened = flips(&bytes).filter_map(|flipped| Entry::decode(&flipped).ok()).find_map(|entry| open(&secret(), &QUEUE, &entry).ok());
    assert_eq!(opened, None);
}

/// [P-1]
#[test]
fn an_entry_opens_only_in_its_queue_and_under_its_secret() {
    let entry = sealed(PLACE, &inline("/a"), &mut entropy());
    let other = EpochSecret::new(Epoch::new(3), &mut Entropy::new([7; 32]));
    assert_eq!(open(&secret(), &QueueId::ZERO, &entry), Err(OpenError::Unauthentic));
    assert_eq!(open(&other, &QUEUE, &entry), Err(OpenError::Unauthentic));
}

/// [P-1]
#[test]
fn an_update_and_a_delete_look_the_same() {
    let delete = Mutation { operation: Operation::Delete, inline: None, ..inline("/a") };
    let update = Mutation { operation: Operation::Update, ..inline("/a") };
    let lengths = [delete, update].map(|mutation| sealed(PLACE, &mutation, &mut entropy()).encode().len());
    assert_eq!(lengths[0], lengths[1]);
}

#[test]
fn padded_lengths_are_those_of_the_table() {
    let table = [
        (0, 256),
        (1, 256),
        (255, 256),
        (256, 256),
        (257, 272),
        (272, 272),
        (273, 288),
        (500, 512),
        (512, 512),
        (513, 544),
        (1_000, 1_024),
        (1_025, 1_088),
        (4_096, 4_096),
        (4_097, 4_352),
        (9_999, 10_240),
        (16_000, 16_384),
    ];
    for (bytes, padded) in table {
        assert_eq!(padded_bytes(bytes), padded, "{bytes} bytes");
    }
}

#[test]
fn padding_costs_less_than_an_eighth_and_is_stable() {
    for bytes in 256..16_384 {
        let padded = padded_bytes(bytes);
        assert!(padded >= bytes && (padded - bytes) * 8 < bytes);
        assert_eq!(padded_bytes(padded), padded);
    }
}

#[test]
fn padding_that_carries_something_is_refused() {
    let mut plaintext = pad(&inline("/a")).expect("a small mutation").to_vec();
    *plaintext.last_mut().expect("padding") = 1;
    assert!(matches!(open(&secret(), &QUEUE, &sealed_plaintext(&plaintext)), Err(OpenError::Malformed(_))));
}

#[test]
fn padding_of_another_length_is_refused() {
    let mut plaintext = pad(&inline("/a")).expect("a small mutation").to_vec();
    plaintext.extend_from_slice(&[0; 16]);
    assert!(matches!(open(&secret(), &QUEUE, &sealed_plaintext(&plaintext)), Err(OpenError::Malformed(_))));
}

/// [P-20]
#[test]
fn a_mutation_of_a_later_version_is_too_new() {
    let mut plaintext = pad(&inline("/a")).expect("a small mutation").to_vec();
    plaintext[LENGTH_BYTES] = VERSION + 1;
    assert_eq!(open(&secret(), &QUEUE, &sealed_plaintext(&plaintext)), Err(OpenError::TooNew));
}

#[test]
fn a_mutation_that_no_reader_accepts_is_not_sealed() {
    let delete = Mutation { operation: Operation::Delete, ..inline("/a") };
    assert!(matches!(seal(&secret(), &QUEUE, PLACE, &delete, &mut entropy()), Err(SealError::Invalid(_))));
}

#[test]
fn an_entry_never_exceeds_its_cap() {
    let with = |bytes: usize| Mutation { unknown: vec![(9, vec![0; bytes].into())], ..inline("/a") };
    let lengths = (14_000..17_000).step_by(50).filter_map(|bytes| seal(&secret(), &QUEUE, PLACE, &with(bytes), &mut entropy()).ok());
    let longest = lengths.map(|entry| entry.encode().len()).max().unwrap_or(0);
    assert!((15_000..=ENTRY_BYTES_MAX).contains(&longest), "{longest} bytes");
    assert_eq!(seal(&secret(), &QUEUE, PLACE, &with(16_384), &mut entropy()), Err(SealError::TooLarge));
}

/// The largest record the caps allow fits into one entry.
#[test]
fn a_record_at_every_cap_can_be_sealed() {
    use tidings_proto::caps::{HEADER_BYTES_MAX, INLINE_BYTES_MAX, PATH_BYTES_MAX};
    let mutation = Mutation {
        inline: Some(vec![1; INLINE_BYTES_MAX].into()),
        headers: vec![("n".into(), vec![2; HEADER_BYTES_MAX - 1].into())],
        ..inline(&format!("/{}", "p".repeat(PATH_BYTES_MAX - 1)))
    };
    let entry = sealed(PLACE, &mutation, &mut entropy());
    assert_eq!(open(&secret(), &QUEUE, &entry), Ok(mutation));
}

/// A restored backup signs the same place again: with fresh randomness the nonce is another one.
#[test]
fn nonces_of_one_place_differ_by_entropy() {
    let mut entropy = entropy();
    let nonces: HashSet<_> = (0..1_000).map(|_| sealed(PLACE, &inline("/a"), &mut entropy).nonce).collect();
    assert_eq!(nonces.len(), 1_000);
}

/// A generator that always gives the same: with another plaintext the nonce is another one.
#[test]
fn nonces_of_one_place_differ_by_plaintext() {
    let nonces: HashSet<_> = (0..1_000).map(|record| sealed(PLACE, &inline(&format!("/{record}")), &mut entropy()).nonce).collect();
    assert_eq!(nonces.len(), 1_000);
}

#[test]
fn nonces_differ_by_place_queue_and_epoch() {
    let place = |term, offset, birth| Place { term: Term::new(term), offset: Offset::new(offset), birth: Birth::new(birth) };
    let places = [PLACE, place(3, 9, 4), place(2, 10, 4), place(2, 9, 5)];
    let mut nonces: HashSet<_> = places.iter().map(|place| sealed(*place, &inline("/a"), &mut entropy()).nonce).collect();
    let later = EpochSecret::new(Epoch::new(4), &mut Entropy::new([1; 32]));
    nonces.insert(seal(&later, &QUEUE, PLACE, &inline("/a"), &mut entropy()).expect("a small mutation").nonce);
    nonces.insert(seal(&secret(), &QueueId::ZERO, PLACE, &inline("/a"), &mut entropy()).expect("a small mutation").nonce);
    assert_eq!(nonces.len(), 6);
}

proptest! {
    /// A buffer that is outgrown would leave the plaintext behind in memory; one that grew has another capacity than it was given.
    #[test]
    fn a_plaintext_is_written_where_it_is_sealed(mutation in any_mutation()) {
        let plaintext = pad(&mutation).expect("a small mutation");
        prop_assert_eq!(plaintext.capacity(), room(&mutation));
        prop_assert!(plaintext.len() + TAG_BYTES <= plaintext.capacity());
    }

    #[test]
    fn every_mutation_opens_at_its_place(mutation in any_mutation(), seed: [u8; 32], offset in 1u64.., term in 1u64..) {
        let place = Place { term: Term::new(term), offset: Offset::new(offset), birth: Birth::new(offset) };
        let entry = sealed(place, &mutation, &mut Entropy::new(seed));
        let entry = Entry::decode(&entry.encode()).expect("an entry");
        prop_assert_eq!(open(&secret(), &QUEUE, &entry), Ok(mutation));
    }
}
