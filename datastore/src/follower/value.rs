//! Values of followed records, verified whole before they are given out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidings_client::{State, StateError, Subscriber};
use tidings_core::{Mutation, ObjectReference, RecordPath};
use tidings_proto::QueueId;
use tokio::time::Instant;

use super::error::{FollowerError, Unfetched};
use super::orders::Finished;
use super::shared::{Shared, chance, now};
use crate::fetch::{Shortfall, remove_file};
use crate::object::{FetchError, VerifiedFile, open_value};
use crate::own::Value;

/// Where a value is.
pub(super) enum Whereabouts {
    /// In the queue.
    Inline(Bytes),
    /// In storage.
    Stored(ObjectReference),
}

impl Whereabouts {
    /// Where the value of a record in the last verified state is; `None` if there is no such record. Blocks.
    pub(super) fn find(state: &State, queue: &QueueId, path: &RecordPath) -> Result<Option<Self>, StateError> {
        let found = Subscriber::value(state, queue, path)?;
        Ok(found.map(|found| Self::of(found.mutation)))
    }

    fn of(mutation: Mutation) -> Self {
        match (mutation.inline, mutation.object) {
            (None, Some(object)) => Self::Stored(object),
            (inline, _) => Self::Inline(inline.unwrap_or_default()),
        }
    }
}

/// The value at `path`: from the queue, the cache, or the storage.
pub(super) async fn value(shared: &Arc<Shared>, path: &RecordPath, patience: Duration) -> Result<Option<Value>, FollowerError> {
    let deadline = Instant::now() + patience;
    let mut shortfall = Shortfall::Failed("there was no time to try".into());
    for failures in 1.. {
        // Looked up each time: a newer value may have come, and the older one gone.
        let wanted = path.clone();
        let found = shared.at_desk(move |shared| Whereabouts::find(&shared.desk.state, &shared.desk.queue, &wanted)).await?;
        let object = match found {
            None => return Ok(None),
            Some(Whereabouts::Inline(bytes)) => return Ok(Some(Value::Inline(bytes))),
            Some(Whereabouts::Stored(object)) => object,
        };
        if let Some(file) = from_cache(shared, path, &object).await? {
            return Ok(Some(Value::File(file)));
        }
        match tokio::time::timeout_at(deadline, from_storage(shared, path, &object)).await {
            Ok(Ok(file)) => return Ok(Some(Value::File(file))),
            Ok(Err(Shortfall::NoStorage)) => return Err(Unfetched::NoStorage.into()),
            Ok(Err(error)) => shortfall = error,
            Err(_) => break,
        }
        let again = Instant::now() + shared.depot.limits.pace().delay(failures, chance());
        if again >= deadline {
            break;
        }
        tokio::time::sleep_until(again).await;
    }
    Err(Unfetched::from(shortfall).into())
}

/// Opens the file in the cache. One that is rotten or gone is ordered again.
async fn from_cache(shared: &Arc<Shared>, path: &RecordPath, object: &ObjectReference) -> Result<Option<VerifiedFile>, FollowerError> {
    let cache = &shared.depot.cache;
    match open_value(&cache.path(&object.id), object, cache.drafts()).await {
        Ok(file) => return Ok(Some(file)),
        Err(FetchError::Io(error)) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Err(_) => {}
    }
    let (wanted, object) = (path.clone(), object.clone());
    shared.at_desk(move |shared| shared.desk.order_again(&wanted, &object, now())).await?;
    shared.wake.notify_one();
    Ok(None)
}

async fn from_storage(shared: &Arc<Shared>, path: &RecordPath, object: &ObjectReference) -> Result<VerifiedFile, Shortfall> {
    let file = shared.depot.bring_in_turn(object).await?;
    let opened = open_value(&file, object, shared.depot.cache.drafts()).await;
    if file == shared.depot.cache.path(&object.id) {
        let finished = Finished { path: path.clone(), id: object.id, outcome: Ok(()) };
        let settle = move |shared: &Shared| shared.desk.settle(&[finished], false, shared.depot.limits.pace(), now(), chance());
        shared.at_desk(settle).await?;
        shared.desk.printers().tell();
    } else {
        remove_file(&file)?;
    }
    opened.map_err(|error| Shortfall::Failed(error.to_string()))
}
