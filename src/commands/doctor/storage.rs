//! Whether storages can be used: own ones are written, those of others read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{Follow, Subscriber};
use tidings_core::ObjectReference;
use tidings_core::sealed_object::sealed_bytes;
use tidings_datastore::object_name;
use tidings_datastore::storage::{Content, Driver, Name, StorageError};

use super::Check;
use crate::failure::{Exit, Failure};
use crate::node::{Node, state_failure};

/// Longest check of one storage.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is written, read and removed again.
const PROBE: &[u8] = b"a probe of `tidings doctor`";

/// Every own storage, and that of every owner who has one.
pub(super) async fn check(node: &Node) -> Result<Vec<Check>, Failure> {
    let mut checks = Vec::new();
    let storages = node.home.storages()?;
    let drivers = match storages.driver.copies() {
        [] => vec![Arc::clone(&storages.driver)],
        copies => copies.to_vec(),
    };
    for (address, driver) in storages.addresses.iter().zip(&drivers) {
        let tried = within(node, probe(driver.as_ref())).await;
        checks.push(found("storage", address, tried, "written, read and removed"));
    }
    for follow in node.follows()? {
        checks.extend(of(node, &follow).await?);
    }
    Ok(checks)
}

/// The storage of an owner; that one is none that can be opened is told too.
async fn of(node: &Node, follow: &Follow) -> Result<Vec<Check>, Failure> {
    let (storage, owner) = (node.storage_of(follow)?, follow.did.to_string());
    let mut checks: Vec<_> = storage.skipped.iter().map(|why| Check::new("storage", &owner, false, why)).collect();
    if let Some(driver) = &storage.driver {
        let object = some_object(node, follow)?;
        let tried = within(node, read(driver.as_ref(), object.as_ref())).await;
        let about = format!("{owner} at {}", storage.addresses.join(" "));
        checks.push(found("storage", &about, tried, if object.is_some() { "a value can be read" } else { "it answers" }));
    }
    Ok(checks)
}

fn found(check: &'static str, about: &str, tried: Result<(), StorageError>, well: &str) -> Check {
    match tried {
        Ok(()) => Check::new(check, about, true, well),
        Err(error) => {
            let exit = match &error {
                StorageError::Unavailable(_) => Exit::Unreachable,
                StorageError::Refused(_) => Exit::Refused,
                _ => Exit::Failed,
            };
            Check { exit, ..Check::new(check, about, false, &error.to_string()) }
        }
    }
}

async fn within<T>(node: &Node, work: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
    let waited = tokio::time::timeout(PATIENCE.min(node.patience), work).await;
    waited.unwrap_or_else(|_| Err(StorageError::Unavailable("it did not answer in time".into())))
}

async fn probe(storage: &dyn Driver) -> Result<(), StorageError> {
    let random = getrandom::u64().map_err(|error| StorageError::Unavailable(error.to_string()))?;
    let name = name(&format!("probes/{random:016x}"));
    storage.create(&name, Content::Bytes(Bytes::from_static(PROBE))).await?;
    let reading = storage.read(&name, PROBE.len() as u64).await;
    storage.remove(&name).await?;
    match reading?.size {
        size if size == PROBE.len() as u64 => Ok(()),
        _ => Err(StorageError::Unavailable("it does not give back what it was given".into())),
    }
}

/// That nothing has the name of a probe is an answer.
async fn read(storage: &dyn Driver, object: Option<&ObjectReference>) -> Result<(), StorageError> {
    match object {
        Some(object) => storage.read(&object_name(&object.id), sealed_bytes(object.size).unwrap_or(u64::MAX)).await.map(drop),
        None => match storage.read(&name("probes/0"), 0).await {
            Ok(_) | Err(StorageError::Missing | StorageError::TooLarge) => Ok(()),
            Err(error) => Err(error),
        },
    }
}

/// Some value of the owner that is in the storage.
fn some_object(node: &Node, follow: &Follow) -> Result<Option<ObjectReference>, Failure> {
    let values = Subscriber::values(&node.state, &follow.queue, "").map_err(state_failure)?;
    Ok(values.into_iter().find_map(|value| value.mutation.object))
}

fn name(text: &str) -> Name {
    Name::new(text).expect("small letters, digits and a slash are a name")
}
