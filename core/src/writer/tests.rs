//! Revocations at the edge of what fits, and mutations that are signed again.

use std::collections::BTreeSet;
use std::time::Instant;

use tidings_proto::caps::{PUBLISH_ATTACHMENT_BYTES_MAX, READERS_MAX};
use tidings_proto::{Offset, Timestamp};

use super::access::{AccessEffect, Copies};
use super::*;
use crate::codec::Object;
use crate::grant::Grant;
use crate::mutation::{Mutation, Operation};
use crate::seal::open;

/// Epochs in a grant when old ones are emptied in time: 48 with live entries, and the one that begins.
const EPOCHS: u64 = 49;
const ROOM: usize = PUBLISH_ATTACHMENT_BYTES_MAX;

fn key() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn entropy(seed: u8) -> Entropy {
    Entropy::new([seed; 32])
}

fn writer() -> Writer {
    let mut writer = Writer::create(&key(), &mut entropy(0));
    writer.sign(&key(), SignRequest::default(), Timestamp::new(1), &mut entropy(1)).expect("signed");
    writer
}

fn node(number: u32) -> NodeKey {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    NodeKey::from_seed(seed)
}

fn sign(writer: &mut Writer, request: SignRequest, seed: u8) -> Signed {
    writer.sign(&key(), request, Timestamp::new(u64::from(seed)), &mut entropy(seed)).expect("signed")
}

fn add(writer: &mut Writer, nodes: std::ops::Range<u32>) -> Signed {
    let fresh = u8::try_from(100 + nodes.start / 10).expect("few nodes");
    let add = nodes.map(|number| Invitee { card: node(number).card(), name: String::new() }).collect();
    sign(writer, SignRequest { access: AccessChange { add, ..AccessChange::default() }, ..SignRequest::default() }, fresh)
}

fn remove(writer: &mut Writer, number: u32) -> Signed {
    let of_node = |reader: &&GrantedReader| reader.copy.card.verifying_key == node(number).verifying_key();
    let gone = writer.readers().iter().find(of_node).expect("a reader").row.pseudonym;
    sign(writer, SignRequest { access: AccessChange { remove: vec![gone], ..AccessChange::default() }, ..SignRequest::default() }, 3)
}

fn mutation(operation: Operation, clock: u64) -> Mutation {
    let inline = (operation != Operation::Delete).then(|| "value".into());
    let path = "/a".parse().expect("a path");
    let version = Version { clock, ..Version::ZERO };
    Mutation { path, operation, version, object: None, inline, headers: Vec::new(), unknown: Vec::new() }
}

fn change(writer: &mut Writer, mutation: Mutation, prior: Option<OwnRecord>, seed: u8) -> Signed {
    sign(writer, SignRequest { changes: vec![Draft { mutation, prior }], ..SignRequest::default() }, seed)
}

/// [P-17] A revocation that does not fit into one publish cannot be made at all.
#[test]
fn the_grants_of_all_readers_with_all_epochs_fit_into_one_publish() {
    let mut writer = writer();
    writer.epochs =
        (1..=EPOCHS).map(|epoch| EpochInUse { secret: EpochSecret::new(Epoch::new(epoch), &mut entropy(4)), live: 1 }).collect();
    let mut change = AccessEffect::default();
    let mut reader = writer.readers()[0].clone();
    let mut grant = writer.grant_again(&"x".repeat(512));
    writer.seal_again(&key(), &mut reader, &mut grant, Copies::Kept, &mut entropy(5), &mut change).expect("sealed");
    let one = change.attachments[0].len();
    println!("a grant has {one} bytes, those of all readers {} of {ROOM}", one * READERS_MAX);
    assert!(one * READERS_MAX <= ROOM);
}

/// [P-17]
#[test]
fn a_thousand_readers_are_granted_again_within_a_second() {
    let mut writer = writer();
    for first in (0..1_000).step_by(250) {
        add(&mut writer, first..first + 250);
    }
    // The best of five: what else the machine does is not measured.
    let revoked = [(); 5].map(|()| {
        let (mut writer, began) = (writer.clone(), Instant::now());
        (remove(&mut writer, 500), began.elapsed())
    });
    let took = revoked.iter().map(|(_, took)| *took).min().expect("five");
    let [(signed, _), ..] = revoked;
    println!("a revocation with 1,000 readers is signed in {took:?}");
    assert_eq!((signed.access_put.len(), signed.attachments.len(), signed.access_removed.len()), (1_000, 1_000, 1));
    assert!(took.as_secs() < 1, "{took:?}");
}

/// [P-17]
#[test]
fn a_grant_that_is_given_again_has_the_new_epoch_and_no_floor_head() {
    let mut writer = writer();
    let first = add(&mut writer, 0..2).granted[0].grant.clone();
    let signed = remove(&mut writer, 1);
    let opened = |bytes: &[u8]| Grant::open(bytes, &node(0), writer.descriptor());
    assert!(!opened(&first).expect("its first grant").floor_head.is_empty());
    let again: Vec<Grant> = signed.attachments.iter().filter_map(|bytes| opened(bytes).ok()).collect();
    assert_eq!(again.len(), 1);
    assert!(again[0].floor_head.is_empty() && again[0].epoch == Epoch::new(2));
}

#[test]
fn who_is_no_reader_and_the_owner_itself_cannot_be_removed() {
    let mut writer = writer();
    let own = writer.readers()[0].row.pseudonym;
    for gone in [own, tidings_proto::Pseudonym::ZERO] {
        let access = AccessChange { remove: vec![gone], ..AccessChange::default() };
        let signed = writer.sign(&key(), SignRequest { access, ..SignRequest::default() }, Timestamp::new(9), &mut entropy(9));
        assert!(matches!(signed, Err(WriterError::NoSuchReader)));
    }
}

/// [P-17]
#[test]
fn a_mutation_that_is_signed_again_gets_a_new_entry_and_nothing_else() {
    let mut writer = writer();
    add(&mut writer, 0..1);
    let created = change(&mut writer, mutation(Operation::Create, 1), None, 5).entries[0].0.clone();
    remove(&mut writer, 0);
    let signed = change(&mut writer, mutation(Operation::Create, 1), Some(created.clone()), 50);
    let (again, bytes) = &signed.entries[0];
    let entry = crate::entry::Entry::decode(bytes).expect("an entry");
    assert_eq!((again.birth, again.version, again.signed_at), (created.birth, created.version, created.signed_at));
    assert_eq!((again.epoch, again.offset), (Epoch::new(2), Offset::new(2)));
    assert_eq!(open(writer.current(), &writer.queue, &entry).expect("sealed under the new epoch"), mutation(Operation::Create, 1));
    assert_eq!((writer.live_count(), signed.head.head().epochs.len()), (1, 1));
}

/// [P-6, P-17]
#[test]
fn a_tombstone_that_is_signed_again_grows_no_younger() {
    let mut writer = writer();
    let created = change(&mut writer, mutation(Operation::Create, 1), None, 5).entries[0].0.clone();
    let deleted = change(&mut writer, mutation(Operation::Delete, 2), Some(created), 6).entries[0].0.clone();
    let again = change(&mut writer, mutation(Operation::Delete, 2), Some(deleted.clone()), 90).entries[0].0.clone();
    assert!(again.tombstone && again.offset > deleted.offset);
    assert_eq!(again.signed_at, Timestamp::new(6));
}

/// [P-17]
#[test]
fn the_oldest_epochs_are_named_until_few_enough_are_used() {
    let mut writer = writer();
    let live = |epoch: u64| u64::from(epoch != 3);
    writer.epochs =
        (1..=6).map(|epoch| EpochInUse { secret: EpochSecret::new(Epoch::new(epoch), &mut entropy(4)), live: live(epoch) }).collect();
    let through = |keep| writer.crowded_through(keep).map(Epoch::value);
    assert_eq!([through(5), through(4), through(3), through(2)], [None, Some(1), Some(2), Some(4)]);
}

/// [P-17]
#[test]
fn renewed_grants_and_copies_replace_the_ones_before_under_the_same_epoch() {
    let mut writer = writer();
    add(&mut writer, 0..2);
    let before: Vec<_> = writer.readers().iter().map(|reader| reader.row).collect();
    let whom = [before[0].pseudonym, before[2].pseudonym];
    let signed = writer.renew(&key(), &whom, "", Timestamp::new(9), &mut entropy(9)).expect("signed");
    let after: Vec<_> = writer.readers().iter().map(|reader| reader.row).collect();
    let renewed = |at: usize| before[at].grant != after[at].grant && before[at].owner_copy != after[at].owner_copy;
    assert_eq!([0, 1, 2].map(renewed), [true, false, true]);
    assert_eq!((signed.attachments.len(), signed.access_put.len(), writer.current_epoch()), (4, 2, Epoch::new(1)));
    let mut named = SetHash::new(SetKind::Access);
    after.iter().for_each(|row| named.add(&row.encode()));
    assert_eq!(signed.head.head().access_root, named.root());
}

const OPEN: NewTerm = NewTerm::on_found_head(Epoch::new(10));

fn opened(mut writer: Writer, how: NewTerm) -> Writer {
    writer.open_term(Term::new(50), how, &mut entropy(40)).expect("a term");
    Writer::decode(&writer.encode()).expect("an own row")
}

/// [P-4]
#[test]
fn a_new_term_is_above_all_that_was_seen_and_names_the_newest_head_as_its_base_in_all_its_heads() {
    let before = writer();
    let mut writer = opened(before.clone(), NewTerm::ON_OWN_HEAD);
    assert!(writer.term_is_open() && writer.term() > Term::new(50) && writer.writer() == before.writer());
    for seed in [41, 42] {
        let head = sign(&mut writer, SignRequest::default(), seed).head;
        assert_eq!(Some(head.head().base), before.head().map(SignedHead::cursor));
        assert_eq!((head.head().term, head.head().epoch), (writer.term(), Epoch::new(1)));
        assert!(!writer.term_is_open());
    }
    assert_eq!(writer.head().expect("signed").rank().number.value(), 3);
}

/// [P-4] Two copies of one home that saw the same draw other terms and epochs: neither signs a rank of the other.
#[test]
fn steps_of_terms_and_epochs_are_random_and_may_be_long() {
    let open = |seed: u8| {
        let mut writer = writer();
        writer.open_term(Term::new(50), OPEN, &mut entropy(seed)).expect("a term");
        (writer.term().value(), sign(&mut writer, SignRequest::default(), seed).head.head().epoch.value())
    };
    let steps: Vec<_> = (0..20).map(open).collect();
    let distinct: BTreeSet<_> = steps.iter().flat_map(|(term, epoch)| [*term, *epoch]).collect();
    assert_eq!(distinct.len(), 40);
    assert!(steps.iter().all(|(term, epoch)| (51..=50 + (1 << 32)).contains(term) && (11..=10 + (1 << 32)).contains(epoch)));
    assert!(steps.iter().any(|(term, _)| *term > 1 << 30));
}

/// [P-4] [P-17]
#[test]
fn the_first_publish_under_new_keys_grants_everybody_again_and_the_second_nobody() {
    let mut writer = writer();
    add(&mut writer, 0..3);
    let mut writer = opened(writer, OPEN);
    assert!(writer.keys_are_due());
    let signed = sign(&mut writer, SignRequest::default(), 41);
    assert_eq!((signed.access_put.len(), signed.attachments.len(), writer.keys_are_due()), (4, 4, false));
    assert!(sign(&mut writer, SignRequest::default(), 42).attachments.is_empty());
}

/// [P-4] A merge is opened, and before anything is signed the process stops and opens a term again, as at every start.
#[test]
fn what_a_merge_owes_is_not_forgotten_when_a_term_is_opened_again() {
    let first = opened(writer(), OPEN);
    let again = opened(first.clone(), NewTerm::ON_OWN_HEAD);
    assert!(again.keys_are_due() && again.term() > first.term());
    let mut again = again;
    assert!(sign(&mut again, SignRequest::default(), 41).head.head().epoch > Epoch::new(10));
}

/// [P-17] An owner that lost the sealed bytes renews them in the term that it opened: new keys come with all grants.
#[test]
fn a_renewal_that_is_the_first_publish_of_a_term_carries_the_new_keys() {
    let mut writer = writer();
    add(&mut writer, 0..2);
    let mut writer = opened(writer, OPEN);
    let whom = [writer.readers()[1].row.pseudonym];
    let signed = writer.renew(&key(), &whom, "", Timestamp::new(9), &mut entropy(9)).expect("signed");
    // Three grants and one copy.
    assert_eq!((signed.access_put.len(), signed.attachments.len(), writer.keys_are_due()), (3, 4, false));
    let unknown = writer.renew(&key(), &[tidings_proto::Pseudonym::ZERO], "", Timestamp::new(9), &mut entropy(9));
    assert!(matches!(unknown, Err(WriterError::NoSuchReader)));
}

/// [P-4] [P-17] A merge once could have failed for ever: its new epoch found no place, and places are only made by signing.
#[test]
fn where_all_epochs_have_live_entries_a_merge_signs_the_oldest_again_before_its_new_epoch() {
    let mut writer = writer();
    let first = change(&mut writer, mutation(Operation::Create, 1), None, 5).entries[0].0.clone();
    for epoch in 2..=64 {
        sign(
            &mut writer,
            SignRequest { access: AccessChange { rotate: true, ..AccessChange::default() }, ..SignRequest::default() },
            epoch,
        );
        let path = format!("/b/{epoch}").parse().expect("a path");
        change(&mut writer, Mutation { path, ..mutation(Operation::Create, 2) }, None, 100 + epoch);
    }
    assert!(!writer.epoch_fits());
    let mut writer = opened(writer, OPEN);
    let full = writer.sign(&key(), SignRequest::default(), Timestamp::new(9), &mut entropy(9));
    assert!(matches!(full, Err(WriterError::EpochsFull)));
    let new = SignRequest {
        changes: vec![Draft { mutation: mutation(Operation::Update, 9), prior: Some(first.clone()) }],
        ..SignRequest::default()
    };
    let full = writer.sign(&key(), new, Timestamp::new(9), &mut entropy(9));
    assert!(matches!(full, Err(WriterError::EpochsFull)), "nothing new is sealed under the old epoch");
    let again = change(&mut writer, mutation(Operation::Create, 1), Some(first), 200);
    assert_eq!((again.head.head().epoch, again.attachments.len()), (Epoch::new(64), 0));
    assert!(writer.epoch_fits() && writer.keys_are_due());
    let merged = sign(&mut writer, SignRequest::default(), 201);
    assert!(merged.head.head().epoch > Epoch::new(64) && !writer.keys_are_due());
}

/// [P-13]
#[test]
fn behind_a_closed_head_only_a_new_term_goes_on_and_keys_that_are_due_stay_due() {
    let mut writer = opened(writer(), OPEN);
    let closed = writer.close(&key(), Timestamp::new(9), &mut entropy(9)).expect("signed");
    assert_eq!((closed.head.head().state, closed.attachments.len()), (crate::head::QueueState::Closed, 0));
    let refused = writer.sign(&key(), SignRequest::default(), Timestamp::new(9), &mut entropy(9));
    assert!(matches!(refused, Err(WriterError::Closed)));
    let mut writer = opened(writer, NewTerm::ON_OWN_HEAD);
    let signed = sign(&mut writer, SignRequest::default(), 41);
    assert_eq!((signed.head.head().base, signed.attachments.len()), (closed.head.cursor(), 1));
}

#[test]
fn nothing_is_closed_before_there_is_a_head() {
    let mut writer = Writer::create(&key(), &mut entropy(0));
    assert!(matches!(writer.close(&key(), Timestamp::new(9), &mut entropy(9)), Err(WriterError::Inconsistent(_))));
}

#[test]
fn at_the_end_of_the_range_no_term_is_opened_and_nothing_changes() {
    let mut writer = writer();
    let before = writer.encode();
    assert!(matches!(writer.open_term(Term::new(u64::MAX), OPEN, &mut entropy(4)), Err(WriterError::Inconsistent(_))));
    assert_eq!(writer.encode(), before);
}

/// [P-5]
#[test]
fn the_floor_version_of_a_merged_branch_is_signed_and_never_falls() {
    let mut writer = opened(writer(), OPEN);
    let version = |clock| Version { clock, ..Version::ZERO };
    writer.raise_floor_version(version(7));
    writer.raise_floor_version(version(3));
    let mut writer = Writer::decode(&writer.encode()).expect("an own row");
    assert_eq!(sign(&mut writer, SignRequest::default(), 41).head.head().floor_version, version(7));
}

/// Readers are many and long, and were all written again with every publish.
#[test]
fn a_writer_is_kept_in_two_rows_of_which_only_a_change_of_readers_changes_the_second() {
    let mut writer = writer();
    add(&mut writer, 0..20);
    let before = writer.clone();
    sign(
        &mut writer,
        SignRequest { changes: vec![Draft { mutation: mutation(Operation::Create, 1), prior: None }], ..SignRequest::default() },
        9,
    );
    assert!(writer.has_readers_of(&before));
    let (row, readers) = (writer.encode_without_readers(), writer.encode_readers());
    // A kilobyte and more for each.
    assert!(readers.len() / writer.readers().len() > 1_024, "{}", readers.len() / writer.readers().len());
    assert!(row.len() < readers.len());
    let whole = Writer::decode(&row).expect("a row").with_readers(&readers).expect("readers");
    assert_eq!(whole.encode(), writer.encode());
    remove(&mut writer, 7);
    assert!(!writer.has_readers_of(&before));
}
