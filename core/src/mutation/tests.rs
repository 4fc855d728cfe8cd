use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::object_laws::{assert_every_bit_counts, assert_one_encoding};

const VALUE: &[u8] = b"blue";

/// A small inline record.
pub(crate) fn inline(path: &str) -> Mutation {
    Mutation {
        path: path.parse().expect("a path"),
        operation: Operation::Create,
        version: Version { clock: 7 << 16, node: [3; 16] },
        object: None,
        inline: Some(Bytes::from_static(VALUE)),
        headers: Vec::new(),
        unknown: Vec::new(),
    }
}

fn full() -> Mutation {
    Mutation {
        operation: Operation::Update,
        object: Some(reference()),
        headers: vec![("a".into(), Bytes::from_static(b"1")), ("b".into(), Bytes::new())],
        unknown: vec![(9, Bytes::from_static(b"later")), (400, Bytes::new())],
        ..inline("/favorites/color")
    }
}

fn reference() -> ObjectReference {
    ObjectReference {
        id: [1; 32],
        name: "ab/cdef".into(),
        key: ObjectKey::new([2; 32]),
        plaintext_hash: *blake3::hash(VALUE).as_bytes(),
        size: VALUE.len() as u64,
        content_type: "text/plain".into(),
    }
}

/// Every kind of mutation that may be sealed, and fields of later versions.
pub(crate) fn any_mutation() -> impl Strategy<Value = Mutation> {
    let value = prop_oneof![any_inline().prop_map(|inline| (None, Some(inline))), any_reference().prop_map(|object| (Some(object), None)),];
    let headers = btree_map("[a-z]{1,9}", vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..8);
    let unknown = btree_map(4u16.., vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..8);
    ("(/[a-z]{1,9}){1,3}", any::<bool>(), any::<(u64, [u8; 16])>(), option::of(value), headers, unknown).prop_map(
        |(path, update, (clock, node), value, headers, unknown)| {
            let operation = match (&value, update) {
                (None, _) => Operation::Delete,
                (_, true) => Operation::Update,
                (_, false) => Operation::Create,
            };
            let (object, inline) = value.unwrap_or_default();
            let (headers, unknown) = (headers.into_iter().collect(), unknown.into_iter().collect());
            let path = path.parse().expect("a path");
            Mutation { path, operation, version: Version { clock, node }, object, inline, headers, unknown }
        },
    )
}

fn any_inline() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..600).prop_map(Bytes::from)
}

fn any_reference() -> impl Strategy<Value = ObjectReference> {
    (any::<[[u8; 32]; 3]>(), "[a-z/]{0,40}", any::<u64>(), "[a-z/]{0,20}").prop_map(
        |([id, key, plaintext_hash], name, size, content_type)| ObjectReference {
            id,
            name,
            key: ObjectKey::new(key),
            plaintext_hash,
            size,
            content_type,
        },
    )
}

#[track_caller]
fn assert_refused(mutation: &Mutation, why: &'static str) {
    assert_eq!(mutation.check(), Err(DecodeError::Invalid(why)));
    assert_eq!(Mutation::decode(&mutation.encode()), Err(DecodeError::Invalid(why)));
}

#[test]
fn a_mutation_has_one_encoding() {
    for mutation in [full(), inline("/a")] {
        assert_one_encoding(&mutation);
        assert_every_bit_counts(&mutation);
    }
}

/// Section 2 of the protocol: a reader one version behind passes on what it does not know.
#[test]
fn unknown_fields_survive_reading_and_writing() {
    let read = Mutation::decode(&full().encode()).expect("a mutation");
    assert_eq!(read.unknown, full().unknown);
    assert_eq!(read.encode(), full().encode());
}

#[test]
fn fields_out_of_order_or_twice_are_refused() {
    let mut mutation = full();
    mutation.unknown.reverse();
    assert_eq!(Mutation::decode(&mutation.encode()), Err(DecodeError::Invalid("fields are not in ascending order")));
    mutation.unknown = vec![(9, Bytes::new()), (9, Bytes::new())];
    assert_eq!(Mutation::decode(&mutation.encode()), Err(DecodeError::Invalid("fields are not in ascending order")));
    assert!(mutation.check().is_err());
}

#[test]
fn a_known_field_does_not_pass_as_an_unknown_one() {
    let mutation = Mutation { unknown: vec![(HEADERS, Bytes::new())], ..inline("/a") };
    assert!(mutation.check().is_err());
}

#[test]
fn a_delete_carries_no_value() {
    assert_refused(&Mutation { operation: Operation::Delete, ..inline("/a") }, "a delete carries no value");
}

#[test]
fn an_inline_value_has_at_most_its_cap_of_bytes() {
    let largest = Mutation { inline: Some(vec![0; INLINE_BYTES_MAX].into()), ..inline("/a") };
    assert_one_encoding_of_size(&largest, INLINE_BYTES_MAX as u64);
    let larger = Mutation { inline: Some(vec![0; INLINE_BYTES_MAX + 1].into()), ..inline("/a") };
    assert_refused(&larger, "an inline value exceeds its cap");
}

#[track_caller]
fn assert_one_encoding_of_size(mutation: &Mutation, size: u64) {
    assert_eq!(Mutation::decode(&mutation.encode()).as_ref(), Ok(mutation));
    assert_eq!(mutation.size(), size);
}

/// Readers that fetch and readers that do not would see different values.
#[test]
fn an_inline_value_beside_an_object_is_the_same_value() {
    let other = Mutation { inline: Some(Bytes::from_static(b"pink")), ..full() };
    assert_refused(&other, "inline value and object differ");
}

#[test]
fn headers_are_ascending_named_and_capped() {
    let header = |name: &str, bytes: usize| (name.to_owned(), Bytes::from(vec![0; bytes]));
    let with = |headers| Mutation { headers, ..inline("/a") };
    assert_refused(&with(vec![header("b", 0), header("a", 0)]), "headers have names in ascending order");
    assert_refused(&with(vec![header("a", 0), header("a", 1)]), "headers have names in ascending order");
    assert_refused(&with(vec![header("", 0)]), "headers have names in ascending order");
    assert_refused(&with(vec![header("a", HEADER_BYTES_MAX)]), "headers exceed their cap");
    assert!(with((0..=HEADERS_MAX).map(|place| header(&format!("{place:02}"), 0)).collect()).check().is_err());
}

#[test]
fn texts_of_a_reference_are_capped() {
    let mut mutation = full();
    mutation.object = Some(ObjectReference { name: "n".repeat(REFERENCE_TEXT_BYTES_MAX + 1), ..reference() });
    assert!(mutation.check().is_err());
    assert!(Mutation::decode(&mutation.encode()).is_err());
}

#[test]
fn value_hash_and_size_are_those_of_the_value_wherever_it_is() {
    let stored = Mutation { inline: None, ..full() };
    assert_eq!(stored.value_hash(), inline("/a").value_hash());
    assert_eq!(stored.size(), inline("/a").size());
    let deleted = Mutation { operation: Operation::Delete, inline: None, ..inline("/a") };
    assert_eq!((deleted.value_hash(), deleted.size()), (None, 0));
}

#[test]
fn debug_shows_neither_path_nor_value_nor_key() {
    assert_eq!(format!("{:?}", inline("/a")), "Mutation(Create RecordPath([2 bytes]), 4 bytes, [secret])");
    assert_eq!(format!("{:?}", reference()), "ObjectReference(4 bytes, [secret])");
    assert_eq!(format!("{:?}", reference().key), "ObjectKey([secret])");
}

proptest! {
    #[test]
    fn every_mutation_is_read_back(mutation in any_mutation()) {
        prop_assert_eq!(mutation.check(), Ok(()));
        prop_assert_eq!(Mutation::decode(&mutation.encode()), Ok(mutation));
    }

    #[test]
    fn bytes_are_refused_or_the_only_encoding(bytes: Vec<u8>, start in any_mutation(), cut in 0usize..200) {
        let mut input = start.encode();
        input.truncate(cut);
        input.extend_from_slice(&bytes);
        if let Ok(mutation) = Mutation::decode(&input) {
            prop_assert_eq!(mutation.encode(), input);
        }
    }
}
