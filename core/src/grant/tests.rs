use proptest::prelude::*;

use super::*;
use crate::object_laws::{assert_every_bit_counts, assert_one_encoding, assert_signature_covers_everything};

fn owner() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn reader() -> NodeKey {
    NodeKey::from_seed([2; 32])
}

fn entropy() -> Entropy {
    Entropy::new([3; 32])
}

fn grant() -> Grant {
    grant_of(&[4, 7])
}

fn grant_of(epochs: &[u64]) -> Grant {
    let mut entropy = Entropy::new([4; 32]);
    Grant {
        queue: owner().default_queue().id(),
        epoch: Epoch::new(epochs.last().copied().unwrap_or_default()),
        secrets: epochs.iter().map(|epoch| EpochSecret::new(Epoch::new(*epoch), &mut entropy)).collect(),
        seed: entropy.bytes(),
        locator: "https://storage.example/queue".into(),
        floor_head: Bytes::from_static(b"head"),
    }
}

fn sealed(grant: &Grant) -> Bytes {
    grant.seal(&reader().card(), &owner(), &mut entropy()).expect("a valid grant")
}

fn opened(bytes: &[u8]) -> Result<Grant, GrantError> {
    Grant::open(bytes, &reader(), &owner().default_queue())
}

/// The owner's signature over an envelope that holds what `sealed` seals.
fn enveloped(queue: QueueId, epoch: Epoch, sealed: Vec<u8>) -> Bytes {
    signed::append(Envelope { queue, epoch, sealed }.encode(), Label::GRANT, owner().signing())
}

fn inner(bytes: &[u8]) -> Envelope {
    Envelope::decode(&bytes[..bytes.len() - signed::SIGNATURE_BYTES]).expect("an envelope")
}

#[test]
fn a_grant_has_one_encoding() {
    assert_one_encoding(&grant());
    assert_every_bit_counts(&grant_of(&[4]));
}

#[test]
fn a_grant_opens_for_its_reader() {
    assert_eq!(opened(&sealed(&grant())), Ok(grant()));
}

#[test]
fn a_grant_with_any_flipped_bit_is_refused() {
    assert_signature_covers_everything(&sealed(&grant_of(&[4])), opened);
}

/// [P-17] Neither does one that the owner signed for somebody else.
#[test]
fn a_grant_of_another_reader_does_not_open() {
    let other = NodeKey::from_seed([9; 32]);
    assert_eq!(Grant::open(&sealed(&grant()), &other, &owner().default_queue()), Err(GrantError::OtherReader));
}

#[test]
fn a_grant_that_the_owner_did_not_sign_is_refused() {
    let forged = grant().seal(&reader().card(), &NodeKey::from_seed([9; 32]), &mut entropy()).expect("a valid grant");
    assert_eq!(opened(&forged), Err(GrantError::Signature));
}

#[test]
fn a_grant_of_another_queue_of_the_owner_is_refused() {
    let mut other = owner().default_queue();
    other.salt = [8; 32];
    let mut moved = grant();
    moved.queue = other.id();
    assert_eq!(opened(&sealed(&moved)), Err(GrantError::OtherQueue));
}

/// What is sealed is bound to queue and epoch even if the signature outside is right.
#[test]
fn a_sealing_in_another_envelope_does_not_open() {
    let Envelope { queue, epoch, sealed } = inner(&sealed(&grant()));
    let later = enveloped(queue, Epoch::new(epoch.value() + 1), sealed);
    assert_eq!(opened(&later), Err(GrantError::OtherReader));
}

/// A broken owner: reader and broker would take the grant for one of different epochs.
#[test]
fn a_grant_that_contradicts_its_envelope_is_refused() {
    let later = Epoch::new(grant().epoch.value() + 1);
    let info = info(&grant().queue, &reader().card(), later);
    let sealed = exchange::seal(&reader().card().exchange_key, &info, &grant().encode(), &mut entropy()).expect("a public key");
    assert!(matches!(opened(&enveloped(grant().queue, later, sealed)), Err(GrantError::Malformed(_))));
}

/// A card with the same exchange key but another name is another reader.
#[test]
fn a_grant_is_bound_to_all_keys_of_the_reader() {
    let exchange_key = reader().card().exchange_key;
    let mixed = Card::sign(NodeKey::from_seed([9; 32]).signing(), exchange_key, [0; 32]);
    let bytes = grant().seal(&mixed, &owner(), &mut entropy()).expect("a valid grant");
    assert_eq!(opened(&bytes), Err(GrantError::OtherReader));
}

/// [P-20]
#[test]
fn a_grant_of_a_later_version_is_too_new() {
    let mut bytes = sealed(&grant()).to_vec();
    bytes[0] = VERSION + 1;
    assert_eq!(opened(&bytes), Err(GrantError::TooNew));
}

#[test]
fn a_grant_without_the_secret_of_its_epoch_is_not_sealed() {
    let mut grant = grant();
    grant.epoch = Epoch::new(8);
    assert!(matches!(grant.seal(&reader().card(), &owner(), &mut entropy()), Err(GrantError::Malformed(_))));
}

#[test]
fn epochs_out_of_order_are_refused() {
    let mut grant = grant();
    grant.secrets.reverse();
    assert!(Grant::decode(&grant.encode()).is_err());
}

/// [P-17] Every reader can be told all epochs that may have live entries.
#[test]
fn a_grant_at_every_cap_fits_into_an_attachment() {
    let epochs: Vec<u64> = (1..=HEAD_EPOCHS_MAX as u64).collect();
    let mut grant = grant_of(&epochs);
    grant.locator = "l".repeat(LOCATOR_BYTES_MAX);
    grant.floor_head = vec![1; HEAD_BYTES_MAX].into();
    assert_eq!(opened(&sealed(&grant)), Ok(grant));
}

#[test]
fn more_than_an_attachment_is_refused_before_it_is_read() {
    assert_eq!(opened(&vec![0; ATTACHMENT_BYTES_MAX + 1]), Err(GrantError::TooLarge));
}

/// [P-1] The broker would link pseudonyms to nodes.
#[test]
fn a_sealed_grant_names_no_reader() {
    let bytes = sealed(&grant());
    let (key, hash) = (reader().verifying_key(), reader().card().hash());
    assert!(!bytes.windows(16).any(|window| window == &key.bytes()[..16] || window == &hash[..16]));
}

#[test]
fn two_grants_of_the_same_keys_look_different() {
    let mut entropy = entropy();
    let [first, second] = [(); 2].map(|()| grant().seal(&reader().card(), &owner(), &mut entropy).expect("a valid grant"));
    assert_ne!(inner(&first).sealed[..32], inner(&second).sealed[..32]);
    assert_ne!(attachment_hash(&first), attachment_hash(&second));
}

#[test]
fn debug_shows_no_secret() {
    let text = format!("{:?}", grant());
    assert!(text.contains("[secret]") && !text.contains("storage.example"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_grant_opens_for_its_reader(seed: [u8; 32], epochs in 1u64..60, locator in "[a-z:/]{0,60}") {
        let mut grant = grant_of(&(1..=epochs).collect::<Vec<_>>());
        grant.locator = locator;
        let bytes = grant.seal(&reader().card(), &owner(), &mut Entropy::new(seed)).expect("a valid grant");
        prop_assert_eq!(opened(&bytes), Ok(grant));
    }
}
