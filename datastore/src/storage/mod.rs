//! Where objects are kept: a small trait, and drivers for it.

mod driver;
pub mod faulty; // fails as storages do, for tests
mod file;
mod memory;
mod mirror; // several storages as one
mod name;
mod open; // from an address
mod remote; // over HTTP
mod retrying;

pub use driver::{Capabilities, Content, Driver, Pending, Reading, StorageError};
pub use faulty::Faulty;
pub use file::FileStorage;
pub use memory::MemoryStorage;
pub use mirror::Mirror;
pub use name::{Name, NameError};
pub use open::{AddressError, open};
pub use retrying::{Patience, Retrying};
