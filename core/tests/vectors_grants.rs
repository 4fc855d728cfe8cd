//! The published vectors of what an owner gives its readers and keeps about them (`docs/vectors`).
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_grants` rewrites the files. A changed file is a changed
//! protocol: old grants and invitations would no longer open.

mod vector_file;

use bytes::Bytes;
use tidings_core::{AccessRow, Entropy, EpochSecret, Grant, Invitation, Label, NodeKey, Object, OwnerCopy, Rights, attachment_hash};
use tidings_proto::{ContentHash, Epoch, Pseudonym, QueueId};
use vector_file::VectorFile;

const RULES: &str = "Lines `name = hex` are values, lines with # are comments. Integers are big-endian.
H(label, x) is BLAKE3 in key derivation mode with the context string `label` and key material x.
S(key, label, x) is the Ed25519 signature over label, a zero byte and x.";
/// How the sealings below came by their randomness.
const ENTROPY: &str = "Randomness is the output stream of H(\"tidings/1/entropy\", entropy_seed) from its start.";

const OWNER_SEED: [u8; 32] = [1; 32];
const READER_SEED: [u8; 32] = [2; 32];
const ENTROPY_SEED: [u8; 32] = [3; 32];
const PSEUDONYM_SEED: [u8; 32] = [4; 32];
const EPOCH_SECRET: [u8; 32] = [5; 32];
const EPOCH: Epoch = Epoch::new(2);

const CARD_BYTES: usize = 1345;
const ENCAPSULATED_BYTES: usize = 1120;
const TAG_BYTES: usize = 16;

fn file(title: &str) -> VectorFile {
    let mut file = VectorFile::new(title);
    file.note(RULES);
    file
}

fn owner() -> NodeKey {
    NodeKey::from_seed(OWNER_SEED)
}

fn reader() -> NodeKey {
    NodeKey::from_seed(READER_SEED)
}

fn entropy() -> Entropy {
    Entropy::new(ENTROPY_SEED)
}

fn queue() -> QueueId {
    owner().default_queue().id()
}

fn epoch_secret() -> EpochSecret {
    let encoded = [&[1], &EPOCH.value().to_be_bytes()[..], &EPOCH_SECRET].concat();
    EpochSecret::decode(&encoded).expect("an encoded secret")
}

fn grant() -> Grant {
    Grant {
        queue: queue(),
        epoch: EPOCH,
        secrets: vec![epoch_secret()],
        seed: PSEUDONYM_SEED,
        locator: "https://storage.example/queue".into(),
        floor_head: Bytes::new(),
    }
}

fn sealed_grant() -> Bytes {
    grant().seal(&reader().card(), &owner(), &mut entropy()).expect("a valid grant")
}

fn sealed_fields(plaintext_bytes: usize) -> [(&'static str, usize); 2] {
    [("encapsulated key", ENCAPSULATED_BYTES), ("ciphertext and tag", plaintext_bytes + TAG_BYTES)]
}

/// Bound to queue, reader and epoch. [P-17]
#[test]
fn grants_are_as_published() {
    let mut file = file("Grant");
    file.note("From the owner with node seed 01.. to the reader with node seed 02...");
    let plaintext = grant().encode();
    let fields = [
        ("version", 1),
        ("queue", 32),
        ("epoch", 8),
        ("pseudonym seed", 32),
        ("number of epochs", 4),
        ("epoch", 8),
        ("its secret", 32),
        ("locator length", 4),
        ("locator", 29),
        ("floor head length", 4),
    ];
    file.object("plaintext", &plaintext, &fields);
    file.note(
        "Sealed by HPKE (RFC 9180) in base mode, X-Wing (0x647a), HKDF-SHA256 (0x0001), ChaCha20-Poly1305 (0x0003), single shot, with
empty associated data. info = \"tidings/1/grant\" || zero byte || queue id || card hash || epoch;
card hash = H(\"tidings/1/fingerprint\", the reader's card without its signature).",
    );
    let card = reader().card().encode();
    let card_hash = Label::FINGERPRINT.hash(&[&card[..CARD_BYTES - 64]]);
    file.value("reader_seed", READER_SEED);
    file.value("reader_card", card);
    file.value("info", [b"tidings/1/grant\0", queue().bytes().as_slice(), &card_hash, &EPOCH.value().to_be_bytes()].concat());
    file.note(&format!("{ENTROPY} X-Wing takes 64 bytes."));
    file.value("entropy_seed", ENTROPY_SEED);
    file.note("Signature = S(the owner's signing key, \"tidings/1/grant\", all before it).");
    let fields =
        [&[("version", 1), ("queue", 32), ("epoch", 8), ("length", 4)], sealed_fields(plaintext.len()).as_slice(), &[("signature", 64)]]
            .concat();
    file.object("grant", &sealed_grant(), &fields);
    assert_eq!(Grant::open(&sealed_grant(), &reader(), &owner().default_queue()), Ok(grant()));
    file.note("Name of this attachment in an access row: H(\"tidings/1/attachment\", grant).");
    file.value("attachment_hash", attachment_hash(&sealed_grant()).bytes());
    file.check("grant.txt");
}

#[test]
fn access_rows_are_as_published() {
    let row = AccessRow {
        pseudonym: Pseudonym::new([1; 32]),
        rights: Rights::Read,
        grant: ContentHash::new([2; 32]),
        owner_copy: ContentHash::new([3; 32]),
    };
    let mut file = file("Access row");
    file.note("Rights: 1 read, 2 owner.");
    let fields = [("version", 1), ("pseudonym", 32), ("rights", 1), ("grant hash", 32), ("owner copy hash", 32)];
    file.object("reader", &row.encode(), &fields);
    file.object("owner", &AccessRow { rights: Rights::Owner, ..row }.encode(), &fields);
    file.check("access-row.txt");
}

#[test]
fn owner_copies_are_as_published() {
    let copy = OwnerCopy { card: reader().card(), seed: PSEUDONYM_SEED, name: "ada".into() };
    let sealed = copy.seal(&owner(), &queue(), &mut entropy()).expect("a short name");
    let mut file = file("Owner's copy of what it granted");
    file.note("The reader has node seed 02... The name is filled up with zeros to 64 bytes.");
    let plaintext = copy.encode();
    let fields = [("version", 1), ("card", CARD_BYTES), ("pseudonym seed", 32), ("name length", 4), ("name", 3), ("filling", 61)];
    file.object("plaintext", &plaintext, &fields);
    file.note(
        "Sealed like a grant, to the owner's own exchange key (node seed 01..), with
info = \"tidings/1/owner-copy\" || zero byte || queue id. Not signed: its hash stands in a signed row.",
    );
    file.value("info", [b"tidings/1/owner-copy\0", queue().bytes().as_slice()].concat());
    file.note(ENTROPY);
    file.value("entropy_seed", ENTROPY_SEED);
    file.object("owner_copy", &sealed, &[&[("version", 1)], sealed_fields(plaintext.len()).as_slice()].concat());
    assert_eq!(OwnerCopy::open(&sealed, &owner(), &queue()), Ok(copy));
    file.check("owner-copy.txt");
}

#[test]
fn invitations_are_as_published() {
    let addresses = vec!["tidings://b.example:4433".to_owned(), "tidings://a.example:4433".to_owned()];
    let invitation = Invitation { descriptor: owner().default_queue(), card: owner().card(), addresses, grant: sealed_grant() };
    let line = invitation.sign(&owner());
    assert_eq!(Invitation::parse(&line), Ok(invitation));
    let mut file = file("Invitation");
    file.note(
        "To the queue of node-key.txt with the grant of grant.txt. Signature = S(signing key, \"tidings/1/invitation\", all before it).",
    );
    let encoded = line.strip_prefix("tidings-invitation:").expect("the prefix");
    let bytes = data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).expect("base64url");
    let fields = [
        ("version", 1),
        ("descriptor length", 4),
        ("descriptor", 130),
        ("owner's card", CARD_BYTES),
        ("number of addresses", 4),
        ("address length", 4),
        ("address", 24),
        ("address length", 4),
        ("address", 24),
        ("grant length", 4),
        ("grant", sealed_grant().len()),
        ("signature", 64),
    ];
    file.object("invitation", &bytes, &fields);
    file.note("As text: `tidings-invitation:`, then base64url without padding.");
    file.note(&line);
    file.check("invitation.txt");
}
