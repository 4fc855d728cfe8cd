//! The storage channel: a queue beside its values in the owner's storage, written after receipts, read without any broker. [P-21]

mod ancestry; // proofs out of the history
mod archive; // what an owner goes on from
mod before; // what the storage shows before a write
mod dial; // a connection to storage
mod error;
mod garbage; // what waits to be removed
mod index; // reading what a head object names
mod names;
mod plan; // which segments stay and which merge
mod publish; // the owner's task
mod rows; // what the owner knows about its storage
mod session; // one subscription
mod witness;
mod write; // one snapshot becomes one head object

pub use archive::StorageArchive;
pub use dial::{StorageDial, StorageDialConfig};
pub use error::{ChannelError, IndexError};
pub use publish::{Channel, ChannelConfig, ChannelStatus};
pub use witness::StorageWitness;
