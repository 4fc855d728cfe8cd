//! Values with their caps checked. [P-19]

use bytes::Bytes;

use super::FrameError;
use super::schema;
use crate::caps::TEXT_BYTES_MAX;
use crate::ids::{HeadNumber, HeadRank, Term};

/// At most `max` bytes.
pub(super) fn bytes(value: Bytes, max: usize, field: &'static str) -> Result<Bytes, FrameError> {
    if value.len() > max { Err(FrameError::TooLarge { field, max }) } else { Ok(value) }
}

/// At most `max` bytes, in memory of their own: what is kept for long must not keep the whole frame.
pub(super) fn owned(value: &[u8], max: usize, field: &'static str) -> Result<Bytes, FrameError> {
    if value.len() > max { Err(FrameError::TooLarge { field, max }) } else { Ok(Bytes::copy_from_slice(value)) }
}

/// Exactly `N` bytes.
pub(super) fn array<const N: usize>(value: &[u8], field: &'static str) -> Result<[u8; N], FrameError> {
    value.try_into().map_err(|_| FrameError::Malformed(field))
}

/// Either nothing or 32 bytes.
pub(super) fn hash_or_nothing(value: Bytes, field: &'static str) -> Result<Bytes, FrameError> {
    if value.is_empty() || value.len() == 32 { Ok(value) } else { Err(FrameError::Malformed(field)) }
}

/// At most `count` items.
pub(super) fn count<T>(items: Vec<T>, max: usize, field: &'static str) -> Result<Vec<T>, FrameError> {
    if items.len() > max { Err(FrameError::TooLarge { field, max }) } else { Ok(items) }
}

/// At most `count_max` items of at most `item_max` bytes.
pub(super) fn list(items: Vec<Bytes>, count_max: usize, item_max: usize, field: &'static str) -> Result<Vec<Bytes>, FrameError> {
    let items = count(items, count_max, field)?;
    if items.iter().any(|item| item.len() > item_max) { Err(FrameError::TooLarge { field, max: item_max }) } else { Ok(items) }
}

/// At most `max` bytes in all items together.
pub(super) fn sum(items: &[Bytes], max: usize, field: &'static str) -> Result<(), FrameError> {
    let sum: usize = items.iter().map(Bytes::len).sum();
    if sum > max { Err(FrameError::TooLarge { field, max }) } else { Ok(()) }
}

/// At most `count_max` hashes or keys of 32 bytes.
pub(super) fn names(items: Vec<Bytes>, count_max: usize, field: &'static str) -> Result<Vec<[u8; 32]>, FrameError> {
    count(items, count_max, field)?.iter().map(|item| array(item, field)).collect()
}

/// Text of at most [`TEXT_BYTES_MAX`] bytes.
pub(super) fn text(value: String, field: &'static str) -> Result<String, FrameError> {
    if value.len() > TEXT_BYTES_MAX { Err(FrameError::TooLarge { field, max: TEXT_BYTES_MAX }) } else { Ok(value) }
}

/// The front of `value` that fits into [`TEXT_BYTES_MAX`] bytes.
pub(super) fn cut(value: &str) -> String {
    value[..value.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

/// A rank; one that is not there is zero.
pub(super) fn rank(value: Option<schema::Rank>) -> HeadRank {
    let value = value.unwrap_or_default();
    HeadRank { term: Term::new(value.term), number: HeadNumber::new(value.number) }
}

/// The protobuf form of a rank.
pub(super) fn rank_out(rank: HeadRank) -> Option<schema::Rank> {
    Some(schema::Rank { term: rank.term.value(), number: rank.number.value() })
}

/// A 32-byte name as protobuf bytes.
pub(super) fn name_out(name: &[u8; 32]) -> Bytes {
    Bytes::copy_from_slice(name)
}
