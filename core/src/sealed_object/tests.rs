use proptest::prelude::*;

use super::*;
use crate::entropy::Entropy;
use crate::mutation::ObjectReference;

const SEALED: usize = SEGMENT_BYTES + TAG_BYTES;

fn seal(value: &[u8], seed: u8) -> (Vec<u8>, ObjectReference) {
    let (mut sealer, mut out) = (ObjectSealer::new(&mut Entropy::new([seed; 32])), Vec::new());
    sealer.update(value, &mut out).expect("a value below the cap");
    let reference = sealer.finish(&mut out, "text/plain".into()).expect("a short content type");
    (out, reference)
}

fn open(sealed: &[u8], reference: &ObjectReference) -> Result<Vec<u8>, ObjectError> {
    let (mut opener, mut out) = (ObjectOpener::new(reference)?, Vec::new());
    opener.update(sealed, &mut out)?;
    opener.finish().map(|()| out)
}

fn id(sealed: &[u8]) -> [u8; 32] {
    let mut hasher = ObjectHasher::new();
    hasher.update(sealed);
    hasher.finish()
}

/// Three full segments; Padmé keeps this length as it is.
fn three_segments() -> Vec<u8> {
    (0..3 * SEGMENT_BYTES).map(|at| (at / 7) as u8).collect()
}

/// Sizes around every place where a segment or the padding begins.
fn sizes() -> Vec<usize> {
    let boundaries = [0, 256, SEGMENT_BYTES, 2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES];
    boundaries.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 1]).collect()
}

#[test]
fn what_was_sealed_opens_at_every_boundary() {
    for size in sizes() {
        let value = vec![5; size];
        let (sealed, reference) = seal(&value, 1);
        assert_eq!(open(&sealed, &reference).as_ref(), Ok(&value), "{size} bytes");
        assert_eq!((Some(sealed.len() as u64), id(&sealed)), (sealed_bytes(size as u64), reference.id), "{size} bytes");
    }
}

/// [P-1] A storage sees padded lengths of at least 256 bytes.
#[test]
fn small_values_have_one_length() {
    let lengths: std::collections::HashSet<_> = [0, 1, 100, 256].map(|size| seal(&vec![7; size], 1).0.len()).into();
    assert_eq!(lengths.len(), 1);
}

#[test]
fn every_object_has_a_key_of_its_own() {
    let mut entropy = Entropy::new([1; 32]);
    let keys = [(); 2].map(|()| ObjectSealer::new(&mut entropy).finish(&mut Vec::new(), String::new()).expect("empty").key);
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_value_above_the_cap_is_refused() {
    let (mut sealer, mut out) = (ObjectSealer::new(&mut Entropy::new([1; 32])), Vec::new());
    let mebibyte = vec![0; 1024 * 1024];
    for _ in 0..OBJECT_BYTES_MAX / mebibyte.len() as u64 {
        sealer.update(&mebibyte, &mut out).expect("up to the cap");
        out.clear();
    }
    assert_eq!(sealer.update(&[0], &mut out), Err(ObjectError::TooLarge));
    assert!(sealer.finish(&mut out, String::new()).is_ok());
}

#[test]
fn a_reference_above_the_cap_is_refused() {
    let (_, reference) = seal(b"", 1);
    let reference = ObjectReference { size: OBJECT_BYTES_MAX + 1, ..reference };
    assert_eq!(ObjectOpener::new(&reference).map(|_| ()), Err(ObjectError::TooLarge));
}

#[test]
fn an_object_cut_at_any_boundary_is_refused() {
    let (sealed, reference) = seal(&three_segments(), 1);
    for segments in 0..3 {
        for length in [segments * SEALED, segments * SEALED + 1, segments * SEALED + 2] {
            assert_eq!(open(&sealed[..length], &reference), Err(ObjectError::Altered), "{length} bytes");
        }
    }
    assert_eq!(open(&sealed[..sealed.len() - 1], &reference), Err(ObjectError::Altered));
}

/// The storage cuts an object after a segment and somebody trusts a size that fits: the flag of the last segment is missing.
#[test]
fn a_prefix_of_an_object_is_no_object_even_if_the_size_fits() {
    let (sealed, reference) = seal(&three_segments(), 1);
    let reference = ObjectReference { size: 2 * SEGMENT_BYTES as u64, ..reference };
    assert_eq!(open(&sealed[..1 + 2 * SEALED], &reference), Err(ObjectError::Altered));
}

#[test]
fn an_extended_object_is_refused() {
    let (mut sealed, reference) = seal(&three_segments(), 1);
    let last = sealed[1 + 2 * SEALED..].to_vec();
    sealed.push(0);
    assert_eq!(open(&sealed, &reference), Err(ObjectError::Altered));
    sealed.pop();
    sealed.extend(last);
    assert_eq!(open(&sealed, &reference), Err(ObjectError::Altered));
}

#[test]
fn segments_in_another_order_are_refused() {
    let (sealed, reference) = seal(&vec![5; 3 * SEGMENT_BYTES], 1);
    for (first, second) in [(0, 1), (0, 2), (1, 2)] {
        let mut segments: Vec<_> = sealed[1..].chunks(SEALED).collect();
        segments.swap(first, second);
        let swapped = [&sealed[..1], &segments.concat()].concat();
        assert_eq!(open(&swapped, &reference), Err(ObjectError::Altered), "{first} and {second}");
    }
}

#[test]
fn a_segment_of_another_object_is_refused() {
    let (mine, reference) = seal(&three_segments(), 1);
    let (other, _) = seal(&three_segments(), 2);
    for segment in 0..3 {
        let place = 1 + segment * SEALED..1 + (segment + 1) * SEALED;
        let mut mixed = mine.clone();
        mixed[place.clone()].copy_from_slice(&other[place]);
        assert_eq!(open(&mixed, &reference), Err(ObjectError::Altered), "segment {segment}");
    }
}

#[test]
fn a_flipped_bit_at_a_boundary_is_refused() {
    let (sealed, reference) = seal(&three_segments(), 1);
    let starts = (0..3).map(|segment| 1 + segment * SEALED);
    let places = starts.flat_map(|start| [start, start + SEGMENT_BYTES - 1, start + SEGMENT_BYTES, start + SEALED - 1]);
    for place in places {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[place] ^= 1 << bit;
            assert_eq!(open(&altered, &reference), Err(ObjectError::Altered), "bit {bit} of byte {place}");
            assert_ne!(id(&altered), reference.id);
        }
    }
}

/// [P-20] A newer format is named as such.
#[test]
fn an_object_of_a_later_version_is_too_new() {
    let (mut sealed, reference) = seal(b"value", 1);
    sealed[0] = 2;
    assert_eq!(open(&sealed, &reference), Err(ObjectError::TooNew));
    sealed[0] = 0;
    assert_eq!(open(&sealed, &reference), Err(ObjectError::Altered));
}

#[test]
fn a_reference_with_another_hash_or_size_is_refused() {
    let (sealed, reference) = seal(&[1; 300], 1);
    let other_hash = ObjectReference { plaintext_hash: [0; 32], ..reference.clone() };
    assert_eq!(open(&sealed, &other_hash), Err(ObjectError::Malformed));
    // 299 and 300 bytes are padded to the same length: only the zeros tell.
    let plaintext_hash = *blake3::hash(&[1; 299]).as_bytes();
    let shorter = ObjectReference { size: 299, plaintext_hash, ..reference.clone() };
    assert_eq!(open(&sealed, &shorter), Err(ObjectError::Malformed));
    let longer = ObjectReference { size: 301, ..reference };
    assert_eq!(open(&sealed, &longer), Err(ObjectError::Malformed));
}

/// One nonce for two segments would show where a value repeats, and worse.
#[test]
fn equal_segments_do_not_look_alike() {
    let (sealed, _) = seal(&vec![5; 3 * SEGMENT_BYTES], 1);
    let beginnings: std::collections::HashSet<_> = sealed[1..].chunks(SEALED).map(|segment| &segment[..32]).collect();
    assert_eq!(beginnings.len(), 3);
}

#[test]
fn a_failed_opener_stays_failed() {
    let (sealed, reference) = seal(&three_segments(), 1);
    let mut opener = ObjectOpener::new(&reference).expect("a size below the cap");
    assert_eq!(opener.update(&[2], &mut Vec::new()), Err(ObjectError::TooNew));
    assert_eq!(opener.update(&sealed, &mut Vec::new()), Err(ObjectError::Altered));
    assert_eq!(opener.finish(), Err(ObjectError::Altered));
}

#[test]
fn debug_shows_no_value() {
    let sealer = ObjectSealer::new(&mut Entropy::new([1; 32]));
    let (_, reference) = seal(b"value", 1);
    let opener = ObjectOpener::new(&reference).expect("a size below the cap");
    assert_eq!(format!("{sealer:?} {opener:?}"), "ObjectSealer(0 bytes, [secret]) ObjectOpener(5 bytes to come, [secret])");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The pieces in which bytes come are the network's and the disk's.
    #[test]
    fn the_pieces_change_nothing(size in 0..200_000usize, pieces in proptest::collection::vec(1..70_000usize, 1..8)) {
        let value: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let (whole, reference) = seal(&value, 3);
        let (mut sealer, mut sealed) = (ObjectSealer::new(&mut Entropy::new([3; 32])), Vec::new());
        let mut opener = ObjectOpener::new(&reference).expect("a size below the cap");
        let mut opened = Vec::new();
        let mut lengths = pieces.iter().cycle();
        let mut rest = value.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*lengths.next().expect("endless")));
            sealer.update(now, &mut sealed).expect("below the cap");
            rest = later;
        }
        let again = sealer.finish(&mut sealed, "text/plain".into()).expect("a short content type");
        prop_assert!(sealed == whole && again == reference);
        let mut rest = sealed.as_slice();
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*lengths.next().expect("endless")));
            opener.update(now, &mut opened).expect("an own object");
            rest = later;
        }
        prop_assert_eq!(opener.finish(), Ok(()));
        prop_assert!(opened == value);
    }

    #[test]
    fn no_altered_object_opens(size in 0..200_000usize, place: prop::sample::Index, bit in 0..8u8, cut: prop::sample::Index) {
        let (sealed, reference) = seal(&vec![9; size], 4);
        let mut altered = sealed.clone();
        altered[place.index(sealed.len())] ^= 1 << bit;
        prop_assert!(open(&altered, &reference).is_err());
        prop_assert_eq!(open(&sealed[..cut.index(sealed.len())], &reference), Err(ObjectError::Altered));
    }
}
