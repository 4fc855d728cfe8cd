//! What is left of a follow when nothing runs: values that were fetched, and forgetting them.

use std::fs;
use std::path::Path;

use tidings_client::{Row, State, StateError};
use tidings_core::{ObjectReference, RecordPath};
use tidings_proto::QueueId;

use super::desk::{Desk, PAGE, PRINTED, UNPRINTED};
use super::error::{FollowerError, Unfetched};
use super::value::Whereabouts;
use crate::fetch::{FetchStatus, USES, drafts, path_in, remove_file, remove_tree};
use crate::object::{FetchError, open_value};
use crate::own::Value;

/// The value of a record in the last verified state of a follow, whole and verified; `None` if there is no such record. Needs no
/// running follower and reaches for nothing.
///
/// # Errors
/// `Unfetched`: the value is in storage and was not fetched (`NotHere`), or its file here has rotted (`Damaged`).
pub async fn value_at(state: &State, queue: &QueueId, cache: &Path, path: &RecordPath) -> Result<Option<Value>, FollowerError> {
    let (state, of, at) = (state.clone(), *queue, path.clone());
    let found = tokio::task::spawn_blocking(move || Whereabouts::find(&state, &of, &at)).await;
    let object = match found.unwrap_or_else(|error| Err(StateError::Io(std::io::Error::other(error))))? {
        None => return Ok(None),
        Some(Whereabouts::Inline(bytes)) => return Ok(Some(Value::Inline(bytes))),
        Some(Whereabouts::Stored(object)) => object,
    };
    let spool = drafts(cache, queue);
    fs::create_dir_all(&spool)?;
    let file = path_in(cache, &object.id);
    match open_value(&file, &object, &spool).await {
        Ok(file) => Ok(Some(Value::File(file))),
        Err(FetchError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Err(Unfetched::NotHere.into()),
        Err(FetchError::Io(error)) => Err(error.into()),
        // Nothing that does not open gets its name here, so one that says it is of a newer version has rotted too.
        Err(_) => Err(Unfetched::Damaged(file).into()),
    }
}

/// Whether the object of a followed record is in the cache, verified. Blocks for one look.
pub fn is_here(cache: &Path, object: &ObjectReference) -> bool {
    path_in(cache, &object.id).is_file()
}

/// Net changes of a follow that no printer has confirmed. Needs no running follower. Blocks for a pass over them.
///
/// # Errors
/// The state fails.
pub fn unprinted_at(state: &State, queue: &QueueId) -> Result<u64, StateError> {
    let (mut count, mut after) = (0, None::<Vec<u8>>);
    loop {
        let page = state.rows(UNPRINTED, queue.bytes(), after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(count) };
        after = Some(last.clone());
        count += page.len() as u64;
    }
}

/// How many values of a follow are not here. Needs no running follower. Blocks for a pass over them.
///
/// # Errors
/// The state fails.
pub fn fetches_at(state: &State, queue: &QueueId) -> Result<FetchStatus, StateError> {
    Desk::new(state.clone(), *queue, false).fetches()
}

/// Forgets what was printed and fetched of a follow, and removes the files that no other follow uses. For use before
/// [`tidings_client::Subscriber::unfollow`], while nothing runs; repeat it if it was cut off. Blocks.
///
/// # Errors
/// The state or the folder fails; what is left is removed by a repetition.
pub fn forget(state: &State, queue: &QueueId, cache: &Path) -> Result<(), FollowerError> {
    let desk = Desk::new(state.clone(), *queue, false);
    desk.withdraw_all()?;
    while desk.collect(|ids| remove_unused(state, cache, ids))? {}
    for table in [UNPRINTED, PRINTED] {
        clear(state, table, queue)?;
    }
    Ok(remove_tree(&drafts(cache, queue))?)
}

fn remove_unused(state: &State, cache: &Path, ids: &[[u8; 32]]) -> Result<(), StateError> {
    for id in ids {
        if state.rows(USES, id, None, 1)?.is_empty() {
            remove_file(&path_in(cache, id))?;
        }
    }
    Ok(())
}

fn clear(state: &State, table: &'static str, queue: &QueueId) -> Result<(), StateError> {
    loop {
        let rows = state.rows(table, queue.bytes(), None, PAGE)?;
        if rows.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = rows.into_iter().map(|(key, _)| Row::remove(table, key)).collect();
        state.put_rows(&rows)?;
    }
}
