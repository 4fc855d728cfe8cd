//! The published vectors of values in storage (`docs/vectors/object.txt`).
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_objects` rewrites the file. A changed file is a changed format: what
//! stands in storages would no longer open.

#[allow(dead_code, reason = "each test binary uses its own part")]
mod vector_file;

use tidings_core::sealed_object::SEGMENT_BYTES;
use tidings_core::{Entropy, Label, ObjectOpener, ObjectReference, ObjectSealer};
use tidings_core::{Mutation, Object, Operation, Version, rescue};
use vector_file::VectorFile;

const RULES: &str = "Lines `name = hex` are values, lines with # are comments. Integers are big-endian.
H(label, x) is BLAKE3 in key derivation mode with the context string `label` and key material x.

A version byte, then segments: 65,536 bytes of plaintext (the last one: what is left) and a tag of 16 bytes each.
Plaintext = the value, then zeros up to its Padme length, at least 256 bytes.
Key = H(\"tidings/1/object-key\", object key). Cipher: XChaCha20-Poly1305.
Nonce = index of the segment (u64), then 1 for the last segment and 0 for others, then 15 zeros.
Associated data = \"tidings/1/object-segment\", a zero byte, the version byte, index (u64).
id = H(\"tidings/1/object\", all sealed bytes). Name in storage = objects/, two digits, /, all digits of the id in lower hex.";

fn seal(value: &[u8], key: u8) -> (Vec<u8>, ObjectReference) {
    let (mut sealer, mut out) = (ObjectSealer::new(&mut Entropy::new([key; 32])), Vec::new());
    sealer.update(value, &mut out).expect("a value below the cap");
    let reference = sealer.finish(&mut out, "text/plain".into()).expect("a short content type");
    (out, reference)
}

fn open(sealed: &[u8], reference: &ObjectReference) -> Vec<u8> {
    let (mut opener, mut value) = (ObjectOpener::new(reference).expect("below the cap"), Vec::new());
    opener.update(sealed, &mut value).expect("an own object");
    opener.finish().expect("a whole object");
    value
}

#[test]
fn objects_are_as_published_and_open() {
    let mut file = VectorFile::new("Sealed object");
    file.note(RULES);
    let (small, reference) = seal(b"value", 1);
    file.note("The value is the five bytes `value`.");
    file.value("object_key", reference.key.bytes());
    file.object("sealed", &small, &[("version", 1), ("ciphertext", 256), ("tag", 16)]);
    file.value("id", reference.id);
    file.value("plaintext_hash", reference.plaintext_hash);
    file.note(&format!("Name in storage: {}", reference.name));
    assert_eq!(open(&small, &reference), b"value");

    let long = vec![b'a'; 2 * SEGMENT_BYTES + 1];
    let (sealed, reference) = seal(&long, 2);
    file.note("The value is 131,073 times the letter `a`: three segments. Of the sealed bytes only the hash stands here.");
    file.value("long_object_key", reference.key.bytes());
    file.value("long_sealed_length", (sealed.len() as u64).to_be_bytes());
    file.value("long_id", reference.id);
    file.value("long_plaintext_hash", reference.plaintext_hash);
    assert!(open(&sealed, &reference) == long);
    assert_eq!(Label::OBJECT.hash(&[&sealed]), reference.id);
    file.check("object.txt");
}

/// [P-5] What a merge could not decide: where it is put, and what it says of itself.
#[test]
fn a_rescued_value_is_as_published() {
    let version = Version { clock: 5 << 16, node: [7; 16] };
    let path = "/favorites/color".parse().expect("a path");
    let inline = Some("green".into());
    let row = Mutation { path, operation: Operation::Update, version, object: None, inline, headers: vec![], unknown: vec![] };
    let rescued = rescue(&row);
    let mut file = VectorFile::new("A rescued value");
    file.note("The mutation of /favorites/color that lost, and the one that keeps its value. The last segment of its path is\nH(\"tidings/1/rescued\", path (u32 length and bytes), version (clock u64, node [16]), BLAKE3 of the value).");
    file.value("mutation", row.encode());
    file.value("rescued", rescued.encode());
    file.check("rescued.txt");
    assert_eq!(Mutation::decode(&rescued.encode()).expect("own bytes"), rescued);
}
