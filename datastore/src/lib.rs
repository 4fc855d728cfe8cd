//! Records over storage: values that are too large for the queue live sealed in storage, and follow the queue's mutations.

pub mod channel; // the queue itself in storage
mod fetch; // values of followed records: what is on its way, and the cache
pub mod follower; // records of those this node follows
pub mod object; // sealed values between files and storage
pub mod own; // the records of this node
pub mod storage;

pub use fetch::{FetchLimits, FetchState, FetchStatus, Pace};
pub use follower::{Follower, FollowerConfig, FollowerError, Unfetched, Unprinted, Wanted};
pub use object::{FetchError, Source, VerifiedFile, fetch, object_name, open_value};
pub use own::{Collected, Datastore, DatastoreConfig, DatastoreError, ImportReport, Imported, Value};
