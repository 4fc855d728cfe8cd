//! Everything that decodes: bytes are refused, or they are the only encoding of what came out.

use std::fmt::Debug;
use std::str::FromStr;

use data_encoding::BASE64;
use tidings_core::storage_index::{AccessPart, HistoryRun, LivePart, Part, PartReference, Segment, StorageHead};
use tidings_core::writer::Writer;
use tidings_core::{
    AccessRow, Acknowledgement, Card, Cursor, Did, Entropy, Entry, EpochSecret, Fingerprint, Frontier, Grant, Head, Invitation, Label,
    Mutation, Object, ObjectOpener, ObjectSealer, OwnerCopy, ProofPlan, Pulse, QueueDescriptor, Reader, Receipt, RecordPath, SignedHead,
    Verdict, key_file, reader::Evidence, verify_inclusion, verify_proof,
};
use tidings_proto::{BrokerAddress, VerifyingKey};

use crate::input::Input;
use crate::recovery;
use crate::story::story;

/// Reads bytes as one kind of object. Gives whether they are one; panics if a property does not hold.
pub type Read = fn(&[u8]) -> bool;

/// What the first byte of an input chooses, in this order: a new one goes to the end, or the corpus means something else.
pub const KINDS: [(&str, Read); 39] = [
    ("head", exact::<Head>),
    ("entry", exact::<Entry>),
    ("cursor", exact::<Cursor>),
    ("acknowledgement", exact::<Acknowledgement>),
    ("receipt", exact::<Receipt>),
    ("pulse", exact::<Pulse>),
    ("card", exact::<Card>),
    ("queue", exact::<QueueDescriptor>),
    ("access-row", exact::<AccessRow>),
    ("grant", exact::<Grant>),
    ("owner-copy", exact::<OwnerCopy>),
    ("invitation", exact::<Invitation>),
    ("mutation", exact::<Mutation>),
    ("evidence", exact::<Evidence>),
    ("epoch", exact::<EpochSecret>),
    ("frontier", exact::<Frontier>),
    ("writer", row::<Writer, 2>),
    ("reader", row::<Reader, 3>),
    ("storage-head", exact::<StorageHead>),
    ("storage-segment", part::<Segment>),
    ("storage-live", part::<LivePart>),
    ("storage-history", part::<HistoryRun>),
    ("storage-access", part::<AccessPart>),
    ("signed-head", signed_head),
    ("signed", signed),
    ("sealed", sealed),
    ("key-file", key_file_as_it_is),
    ("key-file-body", key_file_with_a_checksum),
    ("did", text::<Did>),
    ("path", text::<RecordPath>),
    ("address", same_value::<BrokerAddress>),
    ("card-line", same_value::<Card>),
    ("fingerprint", same_value::<Fingerprint>),
    ("invitation-line", invitation_line),
    ("proof", proof),
    ("object", object),
    ("verdict", verdict),
    ("recovery", recovery::run),
    ("granted", granted),
];

/// Decodes the input as what its first byte chooses.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    let _ = KINDS[usize::from(*kind) % KINDS.len()].1(bytes);
}

/// Exactly one encoding. [P-20]
fn exact<T: Object>(bytes: &[u8]) -> bool {
    let Ok(object) = T::decode(bytes) else { return false };
    assert!(object.encode() == bytes, "{} was read from other bytes than it is written to", T::NAME);
    true
}

/// A durable row of a node's own, of which `NEWEST` is the version that is written. Older ones open too, and are written as the newest.
fn row<T: Object, const NEWEST: u8>(bytes: &[u8]) -> bool {
    let Ok(row) = T::decode(bytes) else { return false };
    let written = row.encode();
    assert!(written.first() == Some(&NEWEST), "a row of {} is written in another version", T::NAME);
    assert!(bytes.first() != Some(&NEWEST) || written == bytes, "{} was read from other bytes than it is written to", T::NAME);
    assert_eq!(T::decode(&written).map(|again| again.encode()), Ok(written));
    true
}

/// The readers of a writer, who have a row of their own.
fn granted(bytes: &[u8]) -> bool {
    let Ok(writer) = story().writer.clone().with_readers(bytes) else { return false };
    assert!(writer.encode_readers() == bytes, "readers were read from other bytes than they are written to");
    true
}

/// A part opens under its own reference and under no other.
fn part<P: Part>(bytes: &[u8]) -> bool {
    let reference = PartReference::of::<P>(bytes);
    assert_eq!(reference.open::<P>(bytes).is_ok(), P::decode(bytes).is_ok());
    assert!(reference.open::<P>(&[bytes, &[0]].concat()).is_err());
    exact::<P>(bytes)
}

fn signed_head(bytes: &[u8]) -> bool {
    let Ok(head) = SignedHead::parse(bytes.to_vec().into()) else { return false };
    assert_eq!(head.bytes(), bytes);
    assert!(bytes.starts_with(&head.head().encode()));
    let verified = head.verify(&story().descriptor.signing_key).is_ok();
    assert!(!verified || story().line.heads.iter().any(|known| known.bytes() == bytes), "a head that the owner never signed");
    verified
}

/// Signatures cover everything: what verifies is what was signed.
fn signed(bytes: &[u8]) -> bool {
    let key = &story().descriptor.signing_key;
    let is_pulse = Pulse::verify(bytes, key).is_ok();
    assert!(!is_pulse || story().line.pulses.iter().any(|known| known == bytes), "a pulse that the owner never signed");
    if let Ok(acknowledgement) = Acknowledgement::verify(bytes) {
        assert!(bytes.starts_with(&acknowledgement.encode()));
    }
    assert!(Receipt::verify(bytes, key).is_err(), "a receipt that nobody signed");
    if let Some((signature, exporter)) = bytes.split_first_chunk::<64>() {
        let exporter = exporter.first_chunk().copied().unwrap_or_default();
        assert!(!verify_proof(key, &exporter, signature), "a proof that nobody made");
        let _ = verify_proof(&VerifyingKey::new(exporter), &exporter, signature);
    }
    is_pulse
}

/// What only one key opens.
fn sealed(bytes: &[u8]) -> bool {
    let story = story();
    let opens = Grant::open(bytes, &story.reader, &story.descriptor).is_ok()
        || OwnerCopy::open(bytes, &story.owner, &story.descriptor.id()).is_ok();
    let mut known = story.line.publishes.iter().flat_map(|publish| &publish.attachments);
    assert!(!opens || known.any(|known| known == bytes), "an attachment that the owner never sealed");
    opens
}

fn key_file_as_it_is(bytes: &[u8]) -> bool {
    key_file::is_sealed(bytes) | key_file::open(bytes, None).is_ok()
}

/// Behind the checksum, which no fuzzer guesses.
fn key_file_with_a_checksum(body: &[u8]) -> bool {
    let checksum = &Label::KEY_FILE_CHECKSUM.hash(&[body])[..16];
    let file = format!("tidings node key 1\n{}\n", BASE64.encode(&[body, checksum].concat()));
    let Ok(key) = key_file::open(file.as_bytes(), None) else { return key_file::is_sealed(file.as_bytes()) };
    let written = key_file::seal(&key, None, &mut Entropy::new([0; 32]));
    assert!(*written == file.as_bytes(), "a key was read from another file than it is written to");
    true
}

/// One text for one value.
fn text<T: FromStr + ToString>(bytes: &[u8]) -> bool {
    let Ok(given) = std::str::from_utf8(bytes) else { return false };
    let Ok(value) = given.parse::<T>() else { return false };
    assert_eq!(value.to_string(), given);
    true
}

/// What is written is read back as the same value, also where more than one text is read.
fn same_value<T: FromStr<Err: Debug + PartialEq> + ToString + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(given) = std::str::from_utf8(bytes) else { return false };
    let Ok(value) = given.parse::<T>() else { return false };
    assert_eq!(value.to_string().parse::<T>(), Ok(value));
    true
}

fn invitation_line(bytes: &[u8]) -> bool {
    let Ok(given) = std::str::from_utf8(bytes) else { return false };
    let Ok(invitation) = Invitation::parse(given) else { return false };
    assert_eq!(invitation.card.verifying_key, invitation.descriptor.signing_key);
    true
}

/// Numbers, a leaf and a proof of a peer's, against a root of the owner's.
fn proof(bytes: &[u8]) -> bool {
    let (numbers, hashes) = bytes.split_at(bytes.len().min(16));
    let number = |at: usize| u64::from_be_bytes(numbers.get(at..at + 8).and_then(|found| found.try_into().ok()).unwrap_or_default());
    let (leaves, index) = (number(0), number(8));
    let hashes: Vec<[u8; 32]> = hashes.as_chunks::<32>().0.to_vec();
    let Some((leaf, proof)) = hashes.split_first() else { return false };
    if let Some(plan) = ProofPlan::new(index, leaves) {
        assert!(plan.nodes().len() <= 126);
        let _ = plan.assemble(proof);
    }
    let head = story().line.heads.last().expect("a head").head();
    if !verify_inclusion(&head.history_root, leaves, index, leaf, proof) {
        return false;
    }
    if leaves == head.number.value() {
        let known = index.checked_sub(1).and_then(|before| story().line.heads.get(before as usize));
        let at = known.map_or(*head.queue.bytes(), |head| *head.hash().bytes());
        assert_eq!(*leaf, at, "a proof of what is not in the history");
    }
    true
}

/// A value in storage that somebody changed: it opens to itself or not at all.
fn object(bytes: &[u8]) -> bool {
    let mut input = Input::new(bytes);
    let value = vec![7; input.below(600)];
    let (mut sealed, mut sealer) = (Vec::new(), ObjectSealer::new(&mut Entropy::new([5; 32])));
    sealer.update(&value, &mut sealed).expect("a small value");
    let reference = sealer.finish(&mut sealed, String::new()).expect("a small value");
    let bent = input.bend(&sealed);
    let mut opener = ObjectOpener::new(&reference).expect("a size below the cap");
    let mut opened = Vec::new();
    let (first, second) = bent.split_at(input.below(bent.len() + 1));
    let taken = opener.update(first, &mut opened).and_then(|()| opener.update(second, &mut opened)).and_then(|()| opener.finish());
    assert!(opened.len() <= value.len());
    assert_eq!(taken.is_ok(), bent == sealed);
    assert!(taken.is_err() || opened == value);
    taken.is_ok()
}

fn verdict(bytes: &[u8]) -> bool {
    let Ok(word) = std::str::from_utf8(bytes) else { return false };
    let Some(verdict) = Verdict::from_word(word) else { return false };
    assert_eq!(verdict.word(), word);
    true
}
