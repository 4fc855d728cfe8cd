//! Values of records, own ones and those of followed owners: verified whole before a byte of them is used.

use std::time::Duration;

use tidings_client::{Follow, FollowedValue, OwnValue, Subscriber};
use tidings_core::RecordPath;
use tidings_datastore::Value;

use super::failures::datastore_failure;
use crate::failure::Failure;
use crate::node::{Node, state_failure};

/// How often a record that changes while its value is read is looked at again.
const LOOKS: usize = 8;

/// An own record with its value; `None` if there is none.
pub(crate) async fn own(node: &Node, path: &RecordPath) -> Result<Option<(OwnValue, Value)>, Failure> {
    for _ in 0..LOOKS {
        let record = || node.publisher.get(path).map_err(state_failure);
        let Some(before) = record()? else { return Ok(None) };
        let value = node.datastore.get(path).await;
        // What is printed about a value is about this value.
        if record()?.is_some_and(|after| after.mutation.version == before.mutation.version) {
            let value = value.map_err(datastore_failure)?;
            return Ok(value.map(|value| (before, value)));
        }
    }
    Err(restless(path))
}

/// A record of a followed owner with its value; `None` if there is none.
pub(crate) async fn followed(
    node: &Node,
    follow: &Follow,
    path: &RecordPath,
    patience: Option<Duration>,
) -> Result<Option<(FollowedValue, Value)>, Failure> {
    for _ in 0..LOOKS {
        let record = || Subscriber::value(&node.state, &follow.queue, path).map_err(state_failure);
        let Some(before) = record()? else { return Ok(None) };
        let value = value(node, follow, path, patience).await;
        if record()?.is_some_and(|after| after.mutation.version == before.mutation.version) {
            return Ok(value?.map(|value| (before, value)));
        }
    }
    Err(restless(path))
}

/// A value of a followed owner. Without `patience` only one that was fetched before.
pub(crate) async fn value(node: &Node, follow: &Follow, path: &RecordPath, patience: Option<Duration>) -> Result<Option<Value>, Failure> {
    match patience {
        Some(patience) => node.kept_up.value(follow.queue, path, patience).await,
        None => node.kept_up.value_here(follow.queue, path).await,
    }
}

fn restless(path: &RecordPath) -> Failure {
    Failure::new(format!("{path} changes faster than it can be read"), "repeat")
}
