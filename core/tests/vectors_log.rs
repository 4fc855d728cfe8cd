//! The published vectors of what a broker sees of a queue (`docs/vectors`).
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_log` rewrites the files. A changed file is a changed
//! protocol: old data would no longer open.

mod vector_file;

use bytes::Bytes;
use tidings_core::{
    Acknowledgement, Cursor, Entry, EpochCommitment, Frontier, Head, NodeIndex, NodeKey, Object, ProofPlan, PseudonymKey, Pulse,
    QueueDescriptor, QueueState, Receipt, ReceiptKey, SetHash, SetKind, SignedHead, Version, WriterId, verify_inclusion,
};
use tidings_proto::{Birth, Epoch, HeadHash, HeadNumber, HeadRank, Offset, QueueId, Term, Timestamp};
use vector_file::VectorFile;

const RULES: &str = "Lines `name = hex` are values, lines with # are comments. Integers are big-endian.
H(label, x) is BLAKE3 in key derivation mode with the context string `label` and key material x.
S(key, label, x) is the Ed25519 signature over label, a zero byte and x.";

fn file(title: &str) -> VectorFile {
    let mut file = VectorFile::new(title);
    file.note(RULES);
    file
}

fn owner() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

fn descriptor() -> QueueDescriptor {
    QueueDescriptor { suite: 1, salt: [2; 32], signing_key: owner().verifying_key(), next_key: [3; 32], recovery_key: [0; 32] }
}

fn rank(term: u64, number: u64) -> HeadRank {
    HeadRank { term: Term::new(term), number: HeadNumber::new(number) }
}

fn cursor() -> Cursor {
    Cursor { rank: rank(1, 2), offset: Offset::new(9), head: HeadHash::new([4; 32]) }
}

#[test]
fn queue_descriptors_and_ids_are_as_published() {
    let mut file = file("Queue descriptor and queue id");
    file.note("The owner's node key has the seed of 32 bytes 01; its Ed25519 seed is H(\"tidings/1/signing-key\", node seed).");
    file.value("node_seed", [1; 32]);
    let fields =
        [("version", 1), ("suite", 1), ("salt", 32), ("signing key", 32), ("next key commitment", 32), ("recovery commitment", 32)];
    file.object("descriptor", &descriptor().encode(), &fields);
    file.note("queue_id = H(\"tidings/1/queue-id\", descriptor)");
    file.value("queue_id", descriptor().id().bytes());
    file.check("queue.txt");
}

const CURSOR_FIELDS: [(&str, usize); 4] = [("term", 8), ("number", 8), ("offset", 8), ("head hash", 32)];

#[test]
fn cursors_are_as_published() {
    let mut file = file("Cursor");
    let fields = [&[("version", 1)], CURSOR_FIELDS.as_slice()].concat();
    file.object("cursor", &cursor().encode(), &fields);
    file.note("Before the first head of a queue: rank and offset zero, and the queue id in the place of the head hash.");
    file.value("start_queue_id", descriptor().id().bytes());
    file.object("start", &Cursor::start(&descriptor().id()).encode(), &fields);
    file.check("cursor.txt");
}

#[test]
fn acknowledgements_are_as_published() {
    let key = PseudonymKey::from_seed(&[5; 32]);
    let acknowledgement = Acknowledgement { queue: descriptor().id(), reader: key.pseudonym(), cursor: cursor() };
    let signed = acknowledgement.sign(&key);
    assert_eq!(Acknowledgement::verify(&signed), Ok(acknowledgement));
    let mut file = file("Acknowledgement");
    file.note(
        "The pseudonym's Ed25519 seed is H(\"tidings/1/pseudonym\", seed).
Signature = S(pseudonym, \"tidings/1/acknowledgement\", all before it).",
    );
    file.value("pseudonym_seed", [5; 32]);
    let fields = [&[("version", 1), ("queue", 32), ("pseudonym", 32)], CURSOR_FIELDS.as_slice(), &[("signature", 64)]].concat();
    file.object("acknowledgement", &signed, &fields);
    file.check("acknowledgement.txt");
}

#[test]
fn receipts_are_as_published() {
    let key = ReceiptKey::from_seed([6; 32]);
    let since = Timestamp::new(1_700_000_000_000);
    let receipt = Receipt { queue: descriptor().id(), rank: rank(1, 2), head: HeadHash::new([4; 32]), since };
    let signed = receipt.sign(&key);
    assert_eq!(Receipt::verify(&signed, &key.verifying_key()), Ok(receipt));
    let mut file = file("Receipt");
    file.note("The broker's Ed25519 seed is 32 bytes 06. Signature = S(receipt key, \"tidings/1/receipt\", all before it).");
    file.value("receipt_seed", [6; 32]);
    file.value("receipt_key", key.verifying_key().bytes());
    let fields = [("version", 1), ("queue", 32), ("term", 8), ("number", 8), ("head hash", 32), ("since, ms", 8), ("signature", 64)];
    file.object("receipt", &signed, &fields);
    file.check("receipt.txt");
}

/// [P-16]
#[test]
fn pulses_are_as_published() {
    let key = NodeKey::from_seed([1; 32]);
    let (time, next) = (Timestamp::new(1_700_000_000_000), Timestamp::new(1_700_000_180_000));
    let pulse = Pulse { queue: descriptor().id(), rank: rank(1, 2), head: HeadHash::new([4; 32]), time, next };
    let signed = pulse.sign(&key);
    assert_eq!(Pulse::verify(&signed, &key.verifying_key()), Ok(pulse));
    let mut file = file("Pulse");
    file.note("The owner's node key has the seed of 32 bytes 01. Signature = S(node key, \"tidings/1/pulse\", all before it).");
    file.value("verifying_key", key.verifying_key().bytes());
    let fields =
        [("version", 1), ("queue", 32), ("term", 8), ("number", 8), ("head hash", 32), ("time, ms", 8), ("next, ms", 8), ("signature", 64)];
    file.object("pulse", &signed, &fields);
    file.check("pulse.txt");
}

fn entry() -> Entry {
    Entry {
        term: Term::new(1),
        offset: Offset::new(9),
        birth: Birth::new(4),
        epoch: Epoch::new(2),
        nonce: [7; 24],
        ciphertext: Bytes::from_static(&[8; 40]),
    }
}

/// Golden bytes also for what is authenticated beside the ciphertext. [P-1]
#[test]
fn entries_and_digests_are_as_published() {
    let queue = descriptor().id();
    let mut file = file("Entry, digest and associated data");
    file.note("The ciphertext is no real one: those are 272 bytes or longer.");
    file.value("queue_id", queue.bytes());
    let place = [("term", 8), ("offset", 8), ("birth", 8), ("epoch", 8), ("nonce", 24)];
    let fields = [&[("version", 1)], place.as_slice(), &[("ciphertext length", 4), ("ciphertext", 40)]].concat();
    file.object("entry", &entry().encode(), &fields);
    file.note("digest = H(\"tidings/1/entry\", queue id || entry)");
    file.value("digest", entry().digest(&queue).bytes());
    file.note("Associated data of the ciphertext: everything but the ciphertext, behind label and queue.");
    let fields = [&[("tidings/1/seal", 14), ("zero", 1), ("queue", 32), ("version", 1)], place.as_slice()].concat();
    file.object("associated_data", &entry().associated_data(&queue), &fields);
    file.check("entry.txt");
}

#[test]
fn set_hashes_are_as_published() {
    let mut file = file("Set hash of live entries and of access rows");
    file.note(
        "LtHash: 1024 lanes of 16 bits, big-endian, each the sum modulo 2^16 over the elements of the same two bytes of the
2048-byte output XOF(\"tidings/1/live-set\", element), which is H with its output extended.
root = H(\"tidings/1/live-set-root\", 2048 bytes of state). An element of the live set is the 32-byte digest of an entry.
state_hash = BLAKE3(state), only to keep this file short.",
    );
    write_sets(&mut file, "live", SetKind::Live);
    file.note("Access list: labels `tidings/1/access-set` and `tidings/1/access-set-root`; an element is an encoded row.");
    write_sets(&mut file, "access", SetKind::Access);
    file.check("set-hash.txt");
}

fn write_sets(file: &mut VectorFile, name: &str, kind: SetKind) {
    let mut set = SetHash::new(kind);
    for (count, element) in [(0, None), (1, Some([1; 32])), (2, Some([2; 32])), (3, Some([3; 32]))] {
        if let Some(element) = element {
            file.value(&format!("{name}_element_{count}"), element);
            set.add(&element);
        }
        file.value(&format!("{name}_state_hash_of_{count}"), blake3_of(&set.state()));
        file.value(&format!("{name}_first_lanes_of_{count}"), &set.state()[..16]);
        file.value(&format!("{name}_root_of_{count}"), set.root());
    }
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    *blake3::hash(bytes).as_bytes()
}

fn leaf(number: u8) -> [u8; 32] {
    [number + 1; 32]
}

#[test]
fn history_trees_are_as_published() {
    let mut file = file("History tree");
    file.note(
        "RFC 6962, section 2.1, with SHA-256. Leaf 0 is the queue id, leaf n the hash of head n; head n signs the root over
its n predecessors, leaves 0 to n-1. Here leaf n is 32 bytes of value n+1.",
    );
    let (mut frontier, rows) = Frontier::start(&QueueId::new(leaf(0)));
    let mut all: Vec<(NodeIndex, [u8; 32])> = rows;
    file.value("root_of_1", frontier.root());
    for number in 1..8 {
        if number == 7 {
            file.note("The frontier of 7 leaves, as kept by owners and brokers: hashes of its complete subtrees.");
            let fields = [("version", 1), ("leaves", 8), ("leaves 0 to 3", 32), ("leaves 4 and 5", 32), ("leaf 6", 32)];
            file.object("frontier_of_7", &frontier.encode(), &fields);
            [2, 6].into_iter().for_each(|index| write_proof(&mut file, index, &frontier, &all));
            file.note("The eighth leaf completes the tree.");
        }
        all.extend(frontier.append(&leaf(number)));
        file.value(&format!("root_of_{}", number + 1), frontier.root());
    }
    file.check("history.txt");
}

fn write_proof(file: &mut VectorFile, index: u8, frontier: &Frontier, rows: &[(NodeIndex, [u8; 32])]) {
    let plan = ProofPlan::new(u64::from(index), frontier.leaves()).expect("the leaf is in the tree");
    let row = |node: &NodeIndex| rows.iter().find(|(stored, _)| stored == node).map(|(_, row)| *row).expect("the row was kept");
    let proof = plan.assemble(&plan.nodes().iter().map(row).collect::<Vec<_>>()).expect("every row is there");
    assert!(verify_inclusion(&frontier.root(), frontier.leaves(), u64::from(index), &leaf(index), &proof));
    file.note(&format!("Proof that leaf {index} is in the tree of {} leaves, from the leaf upwards.", frontier.leaves()));
    for (place, hash) in proof.iter().enumerate() {
        file.value(&format!("proof_of_{index}_in_{}_hash_{place}", frontier.leaves()), hash);
    }
}

fn head() -> Head {
    let queue = descriptor().id();
    let commitment = |epoch: u64| EpochCommitment { epoch: Epoch::new(epoch), commitment: [0x10 + epoch as u8; 32] };
    Head {
        queue,
        writer: WriterId([9; 16]),
        term: Term::new(1),
        base: Cursor::start(&queue),
        number: HeadNumber::new(2),
        offset: Offset::new(9),
        live_count: 6,
        live_root: [10; 32],
        floor: Offset::new(5),
        floor_version: Version { clock: 1_700_000_000_000 << 16, node: [11; 16] },
        purged: Head::purged_hash(&[Offset::new(3), Offset::new(5)]),
        epoch: Epoch::new(2),
        epochs: vec![commitment(1), commitment(2)],
        access_root: [12; 32],
        access_count: 2,
        history_root: [13; 32],
        previous: HeadHash::new([14; 32]),
        state: QueueState::Open,
        time: Timestamp::new(1_700_000_000_000),
    }
}

const HEAD_FIELDS: [(&str, usize); 29] = [
    ("version", 1),
    ("queue", 32),
    ("writer", 16),
    ("term", 8),
    ("base term", 8),
    ("base number", 8),
    ("base offset", 8),
    ("base head hash", 32),
    ("number", 8),
    ("offset", 8),
    ("live count", 8),
    ("live root", 32),
    ("floor", 8),
    ("floor version clock", 8),
    ("floor version node", 16),
    ("purged hash", 32),
    ("current epoch", 8),
    ("number of epochs", 4),
    ("epoch", 8),
    ("its commitment", 32),
    ("epoch", 8),
    ("its commitment", 32),
    ("access root", 32),
    ("access count", 4),
    ("history root", 32),
    ("previous head hash", 32),
    ("0 open, 1 closed", 1),
    ("time, ms", 8),
    ("signature", 64),
];

/// What is signed stays what is signed. [P-3]
#[test]
fn heads_are_as_published() {
    let signed = head().sign(&owner());
    assert_eq!(SignedHead::parse(signed.bytes().clone()).as_ref(), Ok(&signed));
    assert_eq!(signed.verify(&owner().verifying_key()), Ok(()));
    let mut file = file("Head, head hash and signature");
    file.note("The second head of a queue, of the owner in queue.txt. It purges offsets 3 and 5.");
    file.value("signing_key", owner().verifying_key().bytes());
    file.note("purged hash = H(\"tidings/1/purged\", list); the list is a u32 count and eight bytes for each offset, ascending.");
    file.value("purged_list", [&2u32.to_be_bytes()[..], &3u64.to_be_bytes(), &5u64.to_be_bytes()].concat());
    file.note("Signature = S(signing key, \"tidings/1/head\", all before it).");
    file.object("signed_head", signed.bytes(), &HEAD_FIELDS);
    file.note("head_hash = H(\"tidings/1/head\", signed_head without the 64 bytes of signature)");
    file.value("head_hash", signed.hash().bytes());
    file.check("head.txt");
}
