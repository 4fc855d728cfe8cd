//! Where objects are kept: a small trait, and drivers for it.

mod driver;
mod name;

pub use driver::{Capabilities, Content, Driver, Pending, Reading, StorageError};
pub use name::{Name, NameError};
