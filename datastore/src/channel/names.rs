//! Where the objects of a queue are, below the storage's root.

use std::fmt::Write as _;

use tidings_core::storage_index::Part;
use tidings_proto::QueueId;

use crate::storage::Name;

/// The one object of a queue that changes: `q/<queue>/head`.
pub(super) fn head_name(queue: &QueueId) -> Name {
    name(format!("q/{}/head", hex(queue.bytes())))
}

/// A part: `q/<queue>/<kind>/<hash>`. The hash makes the name, so an object that is there already is the same.
pub(super) fn part_name<P: Part>(queue: &QueueId, hash: &[u8; 32]) -> Name {
    name(format!("q/{}/{}/{}", hex(queue.bytes()), P::FOLDER, hex(hash)))
}

fn name(text: String) -> Name {
    Name::new(text).expect("hex and lower case words are a name")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
