//! What the storage channel keeps of a queue: one head object that changes, and parts that never do. [P-21]
//!
//! Nothing here is signed. A part is named by the hash of its bytes, the head object names parts by these names, and what they
//! hold is compared with what the signed head in it commits to: the set of live entries, the history, the access list.

mod access; // rows and what they name
mod head; // the one object that is replaced
mod part; // objects named by their hash
mod reference; // how the head object names them
mod set; // live entries and their offsets

#[cfg(test)]
mod tests;

pub use access::AccessPart;
pub use head::StorageHead;
pub use part::{Part, PartError, PartReference};
pub use reference::{RunReference, SegmentReference};
pub use set::{HistoryRun, LivePart, Segment};
