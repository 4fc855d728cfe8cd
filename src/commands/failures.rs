//! What errors of the datastore mean for a person.

use tidings_client::WriteError;
use tidings_core::ObjectError;
use tidings_datastore::storage::StorageError;
use tidings_datastore::{DatastoreError, FetchError};

use crate::failure::{Effect, Exit, Failure};
use crate::input;
use crate::node::{failed_state, state_failure};

/// A value that was not written or not read, or, after `Unsettled`, perhaps written.
pub(crate) fn datastore_failure(error: DatastoreError) -> Failure {
    match error {
        DatastoreError::Value(error) => value_failure(&error),
        DatastoreError::Source(_) => Failure::new(error, "name a file that can be read, or - for standard input"),
        DatastoreError::Spool(_) => Failure::new(error, "check the free space and the rights of the home, then repeat"),
        DatastoreError::Storage(error) => storage_failure(&error),
        DatastoreError::Write(error) => write_failure(error),
        DatastoreError::Fetch(error) => fetch_failure(&error),
        DatastoreError::State(error) => state_failure(error),
        DatastoreError::Unsettled(cause) => {
            let failure = datastore_failure(*cause);
            let error = format!("{}; the value may be written when the node is opened again", failure.error);
            Failure { error, ..failure }.effect(Effect::Unknown).action("see `tidings ls`, and repeat what is not there")
        }
        DatastoreError::Prefix(_) => Failure::usage(error, "write it like /photos"),
        error => Failure::new(error, "repeat later"),
    }
}

/// A write that was not taken. Nothing was changed.
pub(crate) fn write_failure(error: WriteError) -> Failure {
    match &error {
        WriteError::NotFound(_) => Failure::new(&error, "see `tidings ls` for what is there"),
        WriteError::TooLarge { .. } => Failure::new(&error, "split it over several records"),
        WriteError::ContentType(_) => Failure::usage(&error, "write one like text/plain"),
        WriteError::Reserved(_) => Failure::usage(&error, "choose another path; for values below /.tidings/rescued see `tidings rescued`"),
        WriteError::State(state) => failed_state(state),
        WriteError::Closed => Failure::new("this node is about to end", "look with `tidings ls`, then repeat").effect(Effect::Unknown),
        _ => Failure::new(&error, "repeat"),
    }
}

/// What a value may not be. Nothing was changed.
fn value_failure(error: &ObjectError) -> Failure {
    match error {
        ObjectError::TooLarge => input::too_large(),
        error => Failure::usage(error, "write a content type like text/plain"),
    }
}

/// A storage did not do what was asked. The record stands as before.
pub(crate) fn storage_failure(error: &StorageError) -> Failure {
    match error {
        StorageError::Refused(_) => {
            Failure::new(error, "see `tidings doctor`; check the rights and the free space there").exit(Exit::Refused)
        }
        StorageError::Unavailable(_) => Failure::new(error, "repeat when it can be reached; see `tidings doctor`").exit(Exit::Unreachable),
        _ => Failure::new(error, "see `tidings doctor`"),
    }
}

fn fetch_failure(error: &FetchError) -> Failure {
    match error {
        FetchError::Missing => Failure::new(error, "put the object back from a copy of the storage").exit(Exit::Unreachable),
        FetchError::Altered => {
            Failure::new(error, "put the object back from a copy of the storage; nothing was used").exit(Exit::Unreachable)
        }
        FetchError::Storage(error) => storage_failure(error),
        FetchError::TooNew => Failure::new(error, "use a newer version of Tidings"),
        FetchError::Io(_) => Failure::new(error, "check the free space and the rights of the home, then repeat"),
        error => Failure::new(error, "write the record again"),
    }
}
