//! One suite for all storages.

use std::sync::Arc;

use tidings_datastore::storage::{Content, Driver, StorageError};

use crate::{name, read};

/// Checks an empty storage.
pub(crate) async fn check(storage: Arc<dyn Driver>) {
    let storage = storage.as_ref();
    nothing_is_there_at_first(storage).await;
    what_is_created_is_read(storage).await;
    creating_again_is_done_already(storage).await;
    what_is_replaced_is_new(storage).await;
    what_changed_meanwhile_is_not_exchanged(storage).await;
    a_file_is_stored_whole(storage).await;
    a_longer_one_than_allowed_is_refused(storage).await;
    names_are_listed_by_segment(storage).await;
    what_is_removed_is_gone(storage).await;
}

async fn nothing_is_there_at_first(storage: &dyn Driver) {
    assert_eq!(read(storage, "objects/00/00").await, Err(StorageError::Missing));
    if storage.capabilities().list {
        assert_eq!(storage.list(&name("objects")).await, Ok(Vec::new()));
    }
}

async fn what_is_created_is_read(storage: &dyn Driver) {
    for (at, content) in [("objects/00/00", "value"), ("objects/00/01", ""), ("head", "h")] {
        storage.create(&name(at), Content::Bytes(content.into())).await.expect("created");
        assert_eq!(read(storage, at).await.as_deref(), Ok(content.as_bytes()));
    }
}

async fn creating_again_is_done_already(storage: &dyn Driver) {
    storage.create(&name("objects/00/00"), Content::Bytes("value".into())).await.expect("done");
    assert_eq!(read(storage, "objects/00/00").await.as_deref(), Ok(&b"value"[..]));
}

async fn what_is_replaced_is_new(storage: &dyn Driver) {
    for content in ["first", "second one", "3"] {
        storage.replace(&name("head"), content.into()).await.expect("replaced");
        assert_eq!(read(storage, "head").await.as_deref(), Ok(content.as_bytes()));
    }
}

async fn what_changed_meanwhile_is_not_exchanged(storage: &dyn Driver) {
    let exchange = async |seen: Option<&'static str>, new: &'static str| {
        storage.exchange(&name("exchanged"), seen.map(Into::into), new.into()).await.expect("asked")
    };
    assert!(!exchange(Some("other"), "one").await, "there is none");
    assert!(exchange(None, "one").await && exchange(Some("one"), "two").await);
    for seen in [None, Some("one"), Some("something longer")] {
        assert!(!exchange(seen, "three").await, "{seen:?}");
    }
    assert!(exchange(Some("one"), "two").await, "an answer that was lost is asked for again");
    assert_eq!(read(storage, "exchanged").await.as_deref(), Ok(&b"two"[..]));
}

async fn a_file_is_stored_whole(storage: &dyn Driver) {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, content) = (folder.path().join("file"), (0..20_000_000u32).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    std::fs::write(&file, &content).expect("a file");
    storage.create(&name("objects/ff/ff"), Content::File(file)).await.expect("created");
    assert!(read(storage, "objects/ff/ff").await.expect("read") == content);
}

async fn a_longer_one_than_allowed_is_refused(storage: &dyn Driver) {
    assert!(matches!(storage.read(&name("objects/00/00"), 4).await, Err(StorageError::TooLarge)));
    let reading = storage.read(&name("objects/00/00"), 5).await.expect("just as long");
    assert_eq!(reading.size, 5);
}

async fn names_are_listed_by_segment(storage: &dyn Driver) {
    if !storage.capabilities().list {
        return;
    }
    storage.create(&name("objects-of-others"), Content::Bytes("x".into())).await.expect("created");
    let names = storage.list(&name("objects")).await.expect("listed");
    assert_eq!(names, ["objects/00/00", "objects/00/01", "objects/ff/ff"].map(name));
}

async fn what_is_removed_is_gone(storage: &dyn Driver) {
    for _ in 0..2 {
        storage.remove(&name("objects/00/00")).await.expect("removed");
    }
    assert_eq!(read(storage, "objects/00/00").await, Err(StorageError::Missing));
    assert_eq!(read(storage, "objects/00/01").await, Ok(Vec::new()));
}
