//! The published vectors of what stands in storage for a queue: the head object and the parts that it names. [P-21]
//!
//! `TIDINGS_BLESS=1 cargo test -p tidings-core --test vectors_storage` rewrites the file.

#[allow(unreachable_pub, reason = "shared by test binaries of two packages")]
mod paper;
#[allow(dead_code, reason = "each test binary uses its own part")]
mod vector_file;

use bytes::Bytes;
use paper::{Owner, path};
use tidings_core::{
    AccessPart, Entry, HistoryRun, LivePart, NodeKey, Object, Part, PartReference, RunReference, Segment, SegmentReference, SignedHead,
    StorageHead,
};
use tidings_proto::{HeadNumber, Offset};
use vector_file::VectorFile;

const SETUP: &str = "The owner's node key has the seed of one byte 02 and 31 bytes 4d. It signed its first head, granted the reader whose
seed is 32 bytes 09, and wrote /record/1 and /record/2.";

/// The queue after three heads and two entries.
fn owner() -> Owner {
    let mut owner = Owner::new(2);
    owner.grant(&NodeKey::from_seed([9; 32]));
    owner.publish(&[(path(1), Some("one".into())), (path(2), Some("two".into()))], None);
    owner
}

fn segment(owner: &Owner) -> Segment {
    let entries = owner.log.iter().flat_map(|publish| publish.entries.clone());
    Segment { entries: entries.map(|bytes| (Entry::decode(&bytes).expect("an entry").offset, bytes)).collect() }
}

fn history(owner: &Owner) -> HistoryRun {
    let earlier = &owner.log[..owner.log.len() - 1];
    HistoryRun(earlier.iter().map(|publish| *SignedHead::parse(publish.head.clone()).expect("a head").hash().bytes()).collect())
}

/// The newest row of each reader, and what these name.
fn access(owner: &Owner) -> AccessPart {
    let rows: Vec<Bytes> = owner.writer.readers().iter().map(|reader| reader.row.encode().into()).collect();
    let named: Vec<_> = owner.writer.readers().iter().flat_map(|reader| [reader.row.grant, reader.row.owner_copy]).collect();
    let attachments = owner.log.iter().flat_map(|publish| publish.attachments.clone());
    let attachments = attachments.filter(|bytes| named.contains(&tidings_core::attachment_hash(bytes))).collect();
    AccessPart::new(rows, attachments).expect("rows and what they name")
}

fn part<P: Part>(file: &mut VectorFile, name: &str, part: &P) -> PartReference {
    let bytes = part.encode();
    let reference = PartReference::of::<P>(&bytes);
    file.note(&format!("{name}; under {}/", P::FOLDER));
    file.value(name, &bytes);
    file.value(&format!("{name} hash"), reference.hash);
    reference
}

#[test]
fn the_objects_of_a_queue_in_storage_are_as_published_and_open() {
    let owner = owner();
    let mut file = VectorFile::new("A queue in storage");
    file.note(SETUP);
    let live = part(&mut file, "live", &LivePart([1, 2].into_iter().collect()));
    let segment = part(&mut file, "segment", &segment(&owner));
    let history = part(&mut file, "history", &history(&owner));
    let access = part(&mut file, "access", &access(&owner));
    let head = StorageHead {
        head: owner.writer.head().expect("a head").clone(),
        pulse: Bytes::new(),
        live,
        segments: vec![SegmentReference { first: Offset::new(1), last: Offset::new(2), count: 2, part: segment }],
        history: vec![RunReference { first: HeadNumber::new(1), last: HeadNumber::new(2), part: history }],
        access,
    };
    let (bytes, signed) = (head.encode(), head.head.bytes().len());
    file.object(
        "storage head",
        &bytes,
        &[
            ("version", 1),
            ("length of the head", 4),
            ("signed head", signed),
            ("length of the pulse", 4),
            ("bytes of live", 4),
            ("hash of live", 32),
            ("segments", 4),
            ("first", 8),
            ("last", 8),
            ("count", 4),
            ("bytes", 4),
            ("hash", 32),
            ("runs", 4),
            ("first", 8),
            ("last", 8),
            ("bytes", 4),
            ("hash", 32),
            ("bytes of access", 4),
            ("hash of access", 32),
        ],
    );
    file.check("storage.txt");
    assert_eq!(StorageHead::decode(&bytes), Ok(head));
}
