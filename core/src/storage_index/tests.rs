use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_proto::{HeadNumber, Offset, caps};

use super::*;
use crate::access::AccessRow;
use crate::codec::{DecodeError, Object};
use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};
use crate::writer::{AccessChange, Draft, Invitee, SignRequest, Signed};
use crate::{Entropy, Mutation, NodeKey, Operation, Version, Writer};

fn owner() -> NodeKey {
    NodeKey::from_seed([1; 32])
}

/// A writer after two publishes of two records each, and what it signed.
fn signed() -> Vec<Signed> {
    let key = owner();
    let mut writer = Writer::create(&key, &mut Entropy::new([2; 32]));
    let mutation = |path: &str| Mutation {
        path: path.parse().expect("a path"),
        operation: Operation::Create,
        version: Version::ZERO,
        object: None,
        inline: Some(Bytes::from_static(b"value")),
        headers: Vec::new(),
        unknown: Vec::new(),
    };
    let mut publish = |paths: [&str; 2], add: Vec<Invitee>| {
        let changes = paths.iter().map(|path| Draft { mutation: mutation(path), prior: None }).collect();
        let access = AccessChange { add, ..AccessChange::default() };
        let request = SignRequest { changes, access, ..SignRequest::default() };
        writer.sign(&key, request, tidings_proto::Timestamp::new(5), &mut Entropy::new([3; 32])).expect("signed")
    };
    let reader = Invitee { card: NodeKey::from_seed([4; 32]).card(), name: "reader".into() };
    vec![publish(["/a", "/b"], vec![reader]), publish(["/c", "/d"], Vec::new())]
}

fn segment(signed: &[Signed]) -> Segment {
    let entries = signed.iter().flat_map(|signed| &signed.entries).map(|(record, bytes)| (record.offset, bytes.clone())).collect();
    Segment { entries }
}

fn access(signed: &[Signed]) -> AccessPart {
    AccessPart::new(signed[0].access_put.clone(), signed[0].attachments.clone()).expect("rows and what they name")
}

fn live() -> LivePart {
    LivePart((1..=4).collect::<RoaringTreemap>())
}

fn head(signed: &[Signed]) -> StorageHead {
    let segment = PartReference::of::<Segment>(&segment(signed).encode());
    let run = PartReference::of::<HistoryRun>(&HistoryRun(vec![*signed[0].head.hash().bytes()]).encode());
    let covers = |first, last| SegmentReference { first: Offset::new(first), last: Offset::new(last), count: 2, part: segment };
    StorageHead {
        head: signed[1].head.clone(),
        pulse: Bytes::from_static(b"a pulse"),
        live: PartReference::of::<LivePart>(&live().encode()),
        segments: vec![covers(1, 2), covers(3, 4)],
        history: vec![RunReference { first: HeadNumber::new(1), last: HeadNumber::new(1), part: run }],
        access: PartReference::of::<AccessPart>(&access(signed).encode()),
    }
}

#[test]
fn every_object_has_one_encoding() {
    let signed = signed();
    assert_one_encoding(&head(&signed));
    assert_one_encoding(&segment(&signed));
    assert_one_encoding(&live());
    assert_one_encoding(&HistoryRun(vec![[7; 32], [8; 32]]));
    assert_one_encoding(&HistoryRun::default());
    assert_one_encoding(&access(&signed));
}

#[test]
fn every_bit_of_an_object_counts() {
    let signed = signed();
    assert_every_bit_counts(&head(&signed));
    assert_every_bit_counts(&live());
    assert_every_bit_counts(&HistoryRun(vec![[7; 32]]));
    assert_every_bit_counts(&Segment { entries: segment(&signed).entries[..1].to_vec() });
}

/// [P-21] A part is what its name says or nothing.
#[test]
fn a_part_opens_only_from_the_bytes_that_are_named() {
    let bytes = live().encode();
    let reference = PartReference::of::<LivePart>(&bytes);
    assert_eq!(reference.open::<LivePart>(&bytes), Ok(live()));
    for flipped in crate::object_laws::flips(&bytes) {
        assert_eq!(reference.open::<LivePart>(&flipped), Err(PartError::Altered));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(reference.open::<LivePart>(&longer), Err(PartError::Altered));
}

/// [P-21] Without labels of their own, bytes of one kind could stand for another.
#[test]
fn a_part_does_not_pass_for_another_kind() {
    let bytes = HistoryRun(vec![[7; 32]]).encode();
    assert_eq!(PartReference::of::<Segment>(&bytes).open::<HistoryRun>(&bytes), Err(PartError::Altered));
}

#[test]
fn the_list_of_a_head_is_known_by_its_root_and_count() {
    let signed = signed();
    assert!(access(&signed).is_of(signed[1].head.head()));
    let fewer = AccessPart::new(signed[0].access_put[1..].to_vec(), attachments_of(&signed[0], &signed[0].access_put[1..]));
    assert!(!fewer.expect("a list").is_of(signed[1].head.head()));
}

fn attachments_of(signed: &Signed, rows: &[Bytes]) -> Vec<Bytes> {
    let rows: Vec<_> = rows.iter().map(|row| AccessRow::decode(row).expect("a row")).collect();
    let named = |bytes: &&Bytes| rows.iter().any(|row| [row.grant, row.owner_copy].contains(&crate::attachment_hash(bytes)));
    signed.attachments.iter().filter(named).cloned().collect()
}

/// [P-17] A row whose grant is not there would lock its reader out.
#[test]
fn an_access_list_without_one_of_its_attachments_is_none() {
    let signed = signed();
    let rows = signed[0].access_put.clone();
    let attachments = signed[0].attachments.clone();
    assert!(AccessPart::new(rows.clone(), attachments[1..].to_vec()).is_err());
    assert!(AccessPart::new(rows.clone(), [attachments.as_slice(), &[Bytes::from_static(b"more")]].concat()).is_err());
    assert!(AccessPart::new([rows.as_slice(), &rows[..1]].concat(), attachments).is_err());
}

#[test]
fn a_reader_finds_its_row_and_what_it_names() {
    let signed = signed();
    let access = access(&signed);
    for row in access.rows() {
        assert_eq!(access.row(&row.pseudonym), Some(row));
        assert_eq!(access.attachment(&row.grant).map(|bytes| crate::attachment_hash(bytes)), Some(row.grant));
    }
    assert_eq!(access.row(&tidings_proto::Pseudonym::ZERO), None);
}

/// Coverage with a gap would hide entries from whoever reads only what is new.
#[test]
fn segments_and_runs_cover_everything_exactly_once() {
    let signed = signed();
    let right = head(&signed);
    let wrong: [fn(&mut StorageHead); 9] = [
        |head| head.segments[1].first = Offset::new(4),
        |head| head.segments[1].first = Offset::new(2),
        |head| head.segments[1].last = Offset::new(3),
        |head| head.segments[0].first = Offset::new(0),
        |head| head.segments.truncate(1),
        |head| head.segments.clear(),
        |head| head.segments[0].count = 1,
        |head| head.segments[0].count = 3,
        |head| head.history.clear(),
    ];
    for change in wrong {
        let mut changed = right.clone();
        change(&mut changed);
        assert!(matches!(StorageHead::decode(&changed.encode()), Err(DecodeError::Invalid(_))));
    }
}

/// [P-19] A length is refused before anything is read for it.
#[test]
fn a_reference_to_a_part_beyond_its_cap_is_refused() {
    let signed = signed();
    let mut head = head(&signed);
    head.live.bytes = caps::STORAGE_LIVE_BYTES_MAX as u32 + 1;
    assert!(StorageHead::decode(&head.encode()).is_err());
}

#[test]
fn a_segment_out_of_order_is_refused() {
    let mut segment = segment(&signed());
    segment.entries.swap(0, 1);
    assert!(Segment::decode(&segment.encode()).is_err());
}
