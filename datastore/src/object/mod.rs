//! Sealed values on their way between files and storage.

mod draft; // files that are not there yet
mod fetch;
mod source; // where a value comes from, and sealing it
mod value; // opening it

pub(crate) use draft::{Draft, clean};
pub(crate) use fetch::is_whole;
pub use fetch::{FetchError, fetch};
pub use source::{PrepareError, Source};
pub(crate) use source::{Prepared, Sealed, prepare};
pub(crate) use value::open_sealed;
pub use value::{VerifiedFile, open_value};

use crate::storage::Name;

/// Where the object with this id is in every storage. Derived from the id: the name in a reference is never followed, so that no
/// message can lead a reader elsewhere.
pub fn object_name(id: &[u8; 32]) -> Name {
    Name::new(tidings_core::sealed_object::object_name(id)).expect("hex digits and a slash are a name")
}
