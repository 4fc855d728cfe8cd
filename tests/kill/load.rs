//! What the owner is given to write.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde_json::json;
use tidings_core::{Mutation, Operation, Version};

use super::chance::Chance;
use super::written::Written;

/// Records whose values are in the queue.
const SMALL: u64 = 200;
/// Records whose values are in storage now and then.
const LARGE: u64 = 24;
/// Longest value of the first, bytes.
const SMALL_BYTES: u64 = 600;
/// Bytes above which a value is in storage, and how many more it may have.
const LARGE_BYTES: (u64, u64) = (4_097, 40_000);

/// One line for `apply`.
pub(crate) struct Line {
    /// It, with its end.
    pub(crate) text: String,
    /// The record.
    pub(crate) path: String,
    /// BLAKE3 of its value in hex; `None` for a delete.
    pub(crate) hash: Option<String>,
}

/// The `number`th line of a world.
pub(crate) fn line(number: u64, chance: &mut Chance, written: &Written) -> Line {
    let is_large = chance.percent(12);
    let path = if is_large { format!("/large/{}", chance.below(LARGE)) } else { format!("/small/{}", chance.below(SMALL)) };
    if chance.percent(20) && written.is_probably_there(&path) {
        return Line { text: format!("{}\n", json!({"op": "rm", "path": path})), path, hash: None };
    }
    let bytes = match is_large && chance.percent(50) {
        true => LARGE_BYTES.0 + chance.below(LARGE_BYTES.1),
        false => chance.below(SMALL_BYTES),
    };
    let value = format!("{number} {}", "tidings ".repeat(bytes as usize / 8 + 1));
    let hash = Some(hash_of(&value));
    Line { text: format!("{}\n", json!({"op": "put", "path": path, "value": value})), path, hash }
}

/// Whether a value of this record may be in storage, so that a reader has to fetch it.
pub(crate) fn may_be_large(path: &str) -> bool {
    path.starts_with("/large/")
}

/// As the command prints it.
pub(crate) fn hash_of(value: &str) -> String {
    let (path, inline) = ("/a".parse().expect("a path"), Some(Bytes::from(value.to_owned())));
    let mutation = Mutation {
        path,
        operation: Operation::Update,
        version: Version::ZERO,
        object: None,
        inline,
        headers: Vec::new(),
        unknown: Vec::new(),
    };
    HEXLOWER.encode(&mutation.value_hash().expect("it has a value"))
}
