//! The published vectors of keys and of what they seal in entries (`docs/vectors`).
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_keys` rewrites the files. A changed file is a changed
//! protocol: old keys and entries would no longer open.

mod vector_file;

use bytes::Bytes;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use ed25519_dalek::SigningKey;
use tidings_core::{
    Entropy, EpochSecret, Label, Mutation, NodeKey, Object, ObjectKey, ObjectReference, Operation, Place, PseudonymKey, Version, key_file,
    seal,
};
use tidings_proto::{Birth, Epoch, Offset, QueueId, Term};
use vector_file::VectorFile;

const RULES: &str = "Lines `name = hex` are values, lines with # are comments. Integers are big-endian.
H(label, x) is BLAKE3 in key derivation mode with the context string `label` and key material x.
S(key, label, x) is the Ed25519 signature over label, a zero byte and x.";
/// How the sealings below came by their randomness.
const ENTROPY: &str = "Randomness is the output stream of H(\"tidings/1/entropy\", entropy_seed) from its start.";

const OWNER_SEED: [u8; 32] = [1; 32];
const ENTROPY_SEED: [u8; 32] = [3; 32];
const PSEUDONYM_SEED: [u8; 32] = [4; 32];
const EPOCH_SECRET: [u8; 32] = [5; 32];
const EPOCH: Epoch = Epoch::new(2);

const CARD_BYTES: usize = 1345;

fn file(title: &str) -> VectorFile {
    let mut file = VectorFile::new(title);
    file.note(RULES);
    file
}

fn owner() -> NodeKey {
    NodeKey::from_seed(OWNER_SEED)
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

fn public(label: Label, seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(&label.hash(&[seed])).verifying_key().to_bytes()
}

#[test]
fn node_keys_are_as_published() {
    let mut file = file("Node key: what derives from its seed");
    file.value("node_seed", OWNER_SEED);
    file.note("Each derived value is H(label, node_seed).");
    for (name, label) in [
        ("signing_seed", Label::SIGNING_KEY),
        ("exchange_seed", Label::EXCHANGE_KEY),
        ("queue_salt", Label::QUEUE_SALT),
        ("next_seed", Label::NEXT_KEY),
        ("recovery_seed", Label::RECOVERY_KEY),
    ] {
        file.note(label.text());
        file.value(name, label.hash(&[&OWNER_SEED]));
    }
    file.note("Ed25519 public keys of signing_seed, next_seed and recovery_seed.");
    file.value("signing_key", public(Label::SIGNING_KEY, &OWNER_SEED));
    file.value("next_key", public(Label::NEXT_KEY, &OWNER_SEED));
    file.value("recovery_key", public(Label::RECOVERY_KEY, &OWNER_SEED));
    file.note("X-Wing public key (ML-KEM-768, then X25519) of the private key exchange_seed.");
    file.value("exchange_key", owner().card().exchange_key.as_slice());
    file.note("Commitments to the reserved keys: H(\"tidings/1/key-commitment\", public key).");
    let descriptor = owner().default_queue();
    assert_eq!(descriptor.next_key, Label::KEY_COMMITMENT.hash(&[&public(Label::NEXT_KEY, &OWNER_SEED)]));
    assert_eq!(descriptor.recovery_key, Label::KEY_COMMITMENT.hash(&[&public(Label::RECOVERY_KEY, &OWNER_SEED)]));
    file.value("next_key_commitment", descriptor.next_key);
    file.value("recovery_key_commitment", descriptor.recovery_key);
    file.note("Default queue: suite 1, queue_salt, signing_key and both commitments; see queue.txt.");
    file.value("default_queue_descriptor", descriptor.encode());
    file.value("default_queue_id", descriptor.id().bytes());
    file.note("Node part of versions: the first half of signing_key.");
    file.value("version_node", owner().version_node());
    file.note("Proof on a connection: S(signing key, \"tidings/1/proof\", TLS exporter || signing_key).");
    file.value("exporter", [9; 32]);
    file.value("proof", owner().prove(&[9; 32]));
    file.check("node-key.txt");
}

#[test]
fn names_of_nodes_are_as_published() {
    let mut file = file("Name of a node");
    file.note("did:key: `z`, then base58btc of the bytes ed 01 and the Ed25519 key. As text:");
    file.note(&owner().did().to_string());
    file.value("signing_key", owner().verifying_key().bytes());
    file.value("did", owner().did().to_string());
    file.check("did.txt");
}

#[test]
fn cards_are_as_published() {
    let mut file = file("Card");
    file.note("Signature = S(signing key, \"tidings/1/card\", all before it).");
    file.value("node_seed", OWNER_SEED);
    let fields = [("version", 1), ("signing key", 32), ("exchange key", 1216), ("recovery commitment", 32), ("signature", 64)];
    file.object("card", &owner().card().encode(), &fields);
    file.note("As text: `tidings-card:`, then base64url without padding.");
    file.note(&owner().card().to_string());
    file.note(
        "Fingerprint: the first 25 bytes of H(\"tidings/1/fingerprint\", card without its signature), as text in base32
of lower case, without padding, in groups of five.",
    );
    file.note(&owner().card().fingerprint().to_string());
    let body = &owner().card().encode()[..CARD_BYTES - 64];
    file.value("fingerprint", &Label::FINGERPRINT.hash(&[body])[..25]);
    file.check("card.txt");
}

#[test]
fn pseudonyms_are_as_published() {
    let key = PseudonymKey::from_seed(&PSEUDONYM_SEED);
    assert_eq!(*key.pseudonym().bytes(), public(Label::PSEUDONYM, &PSEUDONYM_SEED));
    let mut file = file("Pseudonym");
    file.note("The seed comes with the grant; the Ed25519 seed is H(\"tidings/1/pseudonym\", seed).");
    file.value("seed", PSEUDONYM_SEED);
    file.value("signing_seed", Label::PSEUDONYM.hash(&[&PSEUDONYM_SEED]));
    file.value("pseudonym", key.pseudonym().bytes());
    file.note("Proof on a connection: S(pseudonym, \"tidings/1/proof\", TLS exporter || pseudonym).");
    file.value("exporter", [9; 32]);
    file.value("proof", key.prove(&[9; 32]));
    file.check("pseudonym.txt");
}

fn inline() -> Mutation {
    Mutation {
        path: "/favorites/color".parse().expect("a path"),
        operation: Operation::Create,
        version: Version { clock: 1_700_000_000_000 << 16, node: owner().version_node() },
        object: None,
        inline: Some(Bytes::from_static(b"blue")),
        headers: Vec::new(),
        unknown: Vec::new(),
    }
}

fn stored() -> Mutation {
    let object = ObjectReference {
        id: [6; 32],
        name: "06/0606".into(),
        key: ObjectKey::new([7; 32]),
        plaintext_hash: *blake3::hash(b"blue").as_bytes(),
        size: 4,
        content_type: "text/plain".into(),
    };
    Mutation {
        operation: Operation::Update,
        object: Some(object),
        inline: None,
        headers: vec![("a".into(), Bytes::from_static(b"1")), ("b".into(), Bytes::new())],
        unknown: vec![(9, Bytes::from_static(b"later"))],
        ..inline()
    }
}

const MUTATION_FIELDS: [(&str, usize); 7] = [
    ("version", 1),
    ("path length", 4),
    ("path", 16),
    ("operation", 1),
    ("version clock", 8),
    ("version node", 16),
    ("number of fields", 4),
];

#[test]
fn mutations_are_as_published() {
    let mut file = file("Mutation");
    file.note(
        "Operation: 1 create, 2 update, 3 delete. Then fields in ascending tag, each a u16 tag, a u32 length and a value:
1 object reference, 2 inline value, 3 headers; any other tag is kept and written back.",
    );
    let fields = [MUTATION_FIELDS.as_slice(), &[("tag", 2), ("length", 4), ("inline value", 4)]].concat();
    file.object("inline", &inline().encode(), &fields);
    file.note("A value in storage, two headers (ascending names), and a field of a later version.");
    let reference = [
        ("tag", 2),
        ("length", 4),
        ("object id", 32),
        ("name length", 4),
        ("name", 7),
        ("object key", 32),
        ("plaintext hash", 32),
        ("size", 8),
        ("type length", 4),
        ("content type", 10),
    ];
    let headers = [
        ("tag", 2),
        ("length", 4),
        ("number of headers", 4),
        ("name length", 4),
        ("name", 1),
        ("value length", 4),
        ("value", 1),
        ("name length", 4),
        ("name", 1),
        ("value length", 4),
    ];
    let unknown = [("tag", 2), ("length", 4), ("unknown field", 5)];
    file.object("stored", &stored().encode(), &[MUTATION_FIELDS.as_slice(), &reference, &headers, &unknown].concat());
    file.note("A tombstone has no fields.");
    let deleted = Mutation { operation: Operation::Delete, inline: None, ..inline() };
    file.object("deleted", &deleted.encode(), &MUTATION_FIELDS);
    file.check("mutation.txt");
}

#[test]
fn epoch_secrets_are_as_published() {
    let mut file = file("Epoch secret and commitment");
    file.object("epoch_secret", &epoch_secret().encode(), &[("version", 1), ("epoch", 8), ("secret", 32)]);
    file.value("queue_id", queue().bytes());
    file.note("commitment = H(\"tidings/1/epoch-commitment\", secret || queue id || epoch), as heads list it.");
    assert_eq!(epoch_secret().commitment(&queue()), derived(Label::EPOCH_COMMITMENT));
    file.value("commitment", epoch_secret().commitment(&queue()));
    file.note("Of the same key material with `tidings/1/seal-key` and `tidings/1/nonce-key`:");
    file.value("seal_key", derived(Label::SEAL_KEY));
    file.value("nonce_key", derived(Label::NONCE_KEY));
    file.check("epoch.txt");
}

fn derived(label: Label) -> [u8; 32] {
    label.hash(&[&EPOCH_SECRET, queue().bytes(), &EPOCH.value().to_be_bytes()])
}

/// The nonce and the ciphertext are made here a second time, from the words in the file. [P-1]
#[test]
fn sealed_entries_are_as_published() {
    let place = Place { term: Term::new(1), offset: Offset::new(9), birth: Birth::new(4) };
    let entry = seal::seal(&epoch_secret(), &queue(), place, &inline(), &mut entropy()).expect("a small mutation");
    let mut file = file("Sealed entry");
    file.note(
        "The mutation `inline` of mutation.txt, sealed with the keys of epoch.txt at term 1, offset 9, birth 4.
plaintext = u32 length of the mutation || mutation || zeros, up to the next length of Padme and at least 256 bytes.",
    );
    let mutation = inline().encode();
    let mut plaintext = [&(mutation.len() as u32).to_be_bytes()[..], &mutation].concat();
    plaintext.resize(256, 0);
    file.value("plaintext", &plaintext);
    file.note(&format!("{ENTROPY}\nrandom = its first 32 bytes.\nplaintext_hash = H(\"tidings/1/plaintext\", plaintext)"));
    let (random, hash) = (entropy().bytes::<32>(), Label::PLAINTEXT.hash(&[&plaintext]));
    file.value("entropy_seed", ENTROPY_SEED);
    file.value("random", random);
    file.value("plaintext_hash", hash);
    file.note(
        "nonce = first 24 bytes of H(\"tidings/1/nonce\", nonce_key || term || offset || birth || random || plaintext_hash)
ciphertext = XChaCha20-Poly1305(seal_key, nonce, plaintext, associated data); the associated data is explained in entry.txt.",
    );
    let numbers = [1u64, 9, 4].map(u64::to_be_bytes).concat();
    let nonce = Label::NONCE.hash(&[&derived(Label::NONCE_KEY), &numbers, &random, &hash]);
    assert_eq!(entry.nonce, nonce[..24]);
    let payload = Payload { msg: &plaintext, aad: &entry.associated_data(&queue()) };
    let sealed = XChaCha20Poly1305::new(&derived(Label::SEAL_KEY).into()).encrypt(&entry.nonce.into(), payload).expect("a short text");
    assert_eq!(entry.ciphertext, sealed);
    file.value("associated_data", entry.associated_data(&queue()));
    let fields =
        [("version", 1), ("term", 8), ("offset", 8), ("birth", 8), ("epoch", 8), ("nonce", 24), ("length", 4), ("ciphertext", 272)];
    file.object("entry", &entry.encode(), &fields);
    assert_eq!(seal::open(&epoch_secret(), &queue(), &entry), Ok(inline()));
    file.check("sealed-entry.txt");
}

const KEY_FILE_NOTE: &str = "Text of two lines: `tidings node key 1` and base64 with padding of a body. Checksum: the first 16 bytes of
H(\"tidings/1/key-file-checksum\", all before it). Protection: 0 none, 1 passphrase.";

#[test]
fn key_files_are_as_published() {
    let mut file = file("Key file");
    file.note(KEY_FILE_NOTE);
    let open = key_file::seal(&owner(), None, &mut entropy());
    write_text(&mut file, &open);
    file.object("open_body", &body(&open), &[("version", 1), ("protection", 1), ("node seed", 32), ("checksum", 16)]);
    file.note(&format!(
        "With the passphrase `correct horse`. {ENTROPY}
stretched = argon2id version 0x13 of passphrase and salt with the parameters in the body, 32 bytes;
key = H(\"tidings/1/key-file\", stretched);
sealed seed = XChaCha20-Poly1305(key, nonce, node seed, associated data \"tidings/1/key-file\")."
    ));
    let sealed = key_file::seal(&owner(), Some(b"correct horse"), &mut entropy());
    write_text(&mut file, &sealed);
    file.value("entropy_seed", ENTROPY_SEED);
    let fields = [
        ("version", 1),
        ("protection", 1),
        ("memory, KiB", 4),
        ("passes", 4),
        ("lanes", 4),
        ("salt", 16),
        ("nonce", 24),
        ("sealed seed and tag", 48),
        ("checksum", 16),
    ];
    file.object("sealed_body", &body(&sealed), &fields);
    let reopened = key_file::open(&sealed, Some(b"correct horse")).expect("the passphrase");
    assert_eq!(reopened.verifying_key(), owner().verifying_key());
    file.check("key-file.txt");
}

fn write_text(file: &mut VectorFile, text: &[u8]) {
    file.note(std::str::from_utf8(text).expect("text"));
}

fn body(file: &[u8]) -> Vec<u8> {
    let line = std::str::from_utf8(file).expect("text").lines().nth(1).expect("two lines");
    data_encoding::BASE64.decode(line.as_bytes()).expect("base64")
}
