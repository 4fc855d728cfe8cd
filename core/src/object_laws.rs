//! What the tests of every object check.

use std::fmt::Debug;

use crate::codec::{DecodeError, Object};

/// Round trip; nothing shorter, longer or of another version is read.
pub(crate) fn assert_one_encoding<T: Object + PartialEq + Debug>(object: &T) {
    let bytes = object.encode();
    assert_eq!(T::decode(&bytes).as_ref(), Ok(object));
    for length in 0..bytes.len() {
        assert!(T::decode(&bytes[..length]).is_err(), "{} was read from {length} of {} bytes", T::NAME, bytes.len());
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert_eq!(T::decode(&longer), Err(DecodeError::Trailing(1)));
    let newer = [&[2], &bytes[1..]].concat();
    assert_eq!(T::decode(&newer), Err(DecodeError::TooNew { object: T::NAME, found: 2 }));
}

/// Every bit counts: flipped, it is refused or gives another object, of which the flipped bytes are the only encoding.
pub(crate) fn assert_every_bit_counts<T: Object + PartialEq + Debug>(object: &T) {
    for flipped in flips(&object.encode()) {
        if let Ok(other) = T::decode(&flipped) {
            assert_ne!(&other, object);
            assert_eq!(other.encode(), flipped);
        }
    }
}

/// What is signed is refused when shortened, extended or changed in any bit.
pub(crate) fn assert_signature_covers_everything<T, E>(bytes: &[u8], verify: impl Fn(&[u8]) -> Result<T, E>) {
    assert!(verify(bytes).is_ok());
    assert!((0..bytes.len()).all(|length| verify(&bytes[..length]).is_err()));
    assert!(verify(&[bytes, &[0]].concat()).is_err());
    assert!(flips(bytes).all(|flipped| verify(&flipped).is_err()));
}

/// `bytes` with each of their bits flipped in turn.
pub(crate) fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}
