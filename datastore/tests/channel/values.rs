//! From the key alone to the values that are too large for the queue.

use super::*;
use tidings_datastore::storage::MemoryStorage;
use tidings_datastore::{Datastore, DatastoreConfig, Source, fetch, open_value};

#[tokio::test]
async fn a_restored_queue_leads_to_every_value() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let folder = tempfile::tempdir().expect("a folder");
    let owner = Owner::new(&storage);
    let config = DatastoreConfig::new(storage.clone(), folder.path().join("spool"));
    let datastore = Datastore::open(owner.state.clone(), owner.publisher.clone(), config).await.expect("opened");
    let value = |size: usize| Bytes::from((0..size).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let sizes = [1usize, 4_096, 5_000, 70_000, 300_000];
    for size in sizes {
        let path = format!("/{size}").parse().expect("a path");
        datastore.put(path, Source::Bytes(value(size)), String::new()).await.expect("put");
    }
    owner.channel.flush(LONG).await.expect("in the storage");
    let restored = restored(&storage).await;
    assert_eq!(restored.records.len(), sizes.len());
    let sealed = folder.path().join("sealed");
    for (_, mutation) in &restored.records {
        let size: usize = mutation.path.as_str()[1..].parse().expect("a size");
        let found = match &mutation.object {
            None => mutation.inline.clone().expect("a value"),
            Some(reference) => {
                fetch(&*storage, reference, &sealed).await.expect("fetched");
                let opened = open_value(&sealed, reference, folder.path()).await.expect("opened");
                std::fs::remove_file(&sealed).expect("removed");
                opened.bytes().await.expect("read")
            }
        };
        assert!(found == value(size), "{size} bytes");
    }
}
