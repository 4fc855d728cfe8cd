//! What an operator can see: everything the broker can, read beside the running broker. [P-1]
//!
//! There is no more than this in a broker's folder but keys of its own, hashes and signatures: what is not in these structs, no
//! operator can see. `docs/storage.md` has the list; a test compares the two.

mod error;
mod inspection;
mod seen; // what is seen, as plain values
#[cfg(test)]
mod tests;

pub use error::InspectError;
pub use inspection::{Inspection, inspect};
pub use seen::{SeenClass, SeenEntry, SeenFormerReader, SeenOwner, SeenQueue, SeenReader};
