//! Subscribers whose only route is the storage.

use super::*;
use tidings_client::subscriber::Witness;
use tidings_datastore::channel::StorageWitness;
use tidings_datastore::storage::{FileStorage, MemoryStorage};

/// Often enough that no test waits, seldom enough to be a poll.
const OFTEN: Duration = Duration::from_millis(20);

/// [P-21] The way without any broker.
#[tokio::test]
async fn a_new_reader_without_any_broker_sees_what_the_owner_sees() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let many: Vec<_> = (0..3_000).map(|number| put(&format!("/{number}"), vec![7; 300])).collect();
    owner.publish(&many).await;
    owner.publish(&[delete("/5"), put("/6", "six")]).await;
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    until_value(&mut reader, "/6", "six").await;
    let held = reader.list("").expect("listed");
    let mut held: Vec<Seen> = held.into_iter().map(|value| (value.mutation.path, value.mutation.inline, value.offset.value())).collect();
    held.sort();
    assert!(held == owner.view());
}

#[tokio::test]
async fn a_reader_follows_what_comes_later() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    for round in 0..8 {
        // Two heads at once: the way from one to the other needs a proof out of the history.
        owner.write(&[put("/a", format!("{round} first"))]).await;
        owner.publisher.grant(NodeKey::from_seed([50 + round; 32]).card(), String::new()).await.expect_err("no receipt");
        owner.publish(&[put("/a", round.to_string())]).await;
        until_value(&mut reader, "/a", &round.to_string()).await;
    }
}

/// [P-12] What was deleted and purged while the reader was away is gone for it too: the bitmap comes out of the storage.
#[tokio::test]
async fn a_reader_that_was_away_while_a_tombstone_was_purged_lets_the_record_go() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    owner.publish(&[put("/gone", "soon"), put("/stays", "here")]).await;
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    until_value(&mut reader, "/gone", "soon").await;
    reader.close().await;
    for round in 0..3 {
        owner.publish(&[if round == 0 { delete("/gone") } else { put("/round", round.to_string()) }]).await;
    }
    let restored = restored(&storage).await;
    assert!(restored.head.head().floor > tidings_proto::Offset::new(2), "the tombstone was purged");
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    until_value(&mut reader, "/round", "2").await;
    assert!(reader.get(&"/gone".parse().expect("a path")).expect("read").is_none());
}

/// [P-17] A revoked reader is told so, with the owner's signature behind it.
#[tokio::test]
async fn a_revoked_reader_is_denied() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    reader.caught_up().await.expect("caught up");
    let readers = owner.publisher.readers().await.expect("listed");
    let pseudonym = readers.iter().find(|reader| !reader.owner).expect("a reader").pseudonym;
    let _ = owner.publisher.revoke(&pseudonym).await;
    owner.publish(&[put("/secret", "value")]).await;
    verdict(&mut reader, Verdict::Denied).await;
    assert!(reader.get(&"/secret".parse().expect("a path")).expect("read").is_none());
}

/// [P-17] After a revocation the others read on: their new grants are in the access list.
#[tokio::test]
async fn a_reader_that_stays_gets_its_new_grant() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    owner.grant(&NodeKey::from_seed([9; 32])).await;
    let mut reader = subscriber(&state, queue, &storage, OFTEN);
    reader.caught_up().await.expect("caught up");
    let readers = owner.publisher.readers().await.expect("listed");
    let other = readers.iter().find(|reader| reader.did == NodeKey::from_seed([9; 32]).did()).expect("a reader");
    let _ = owner.publisher.revoke(&other.pseudonym).await;
    owner.publish(&[put("/after", "value")]).await;
    until_value(&mut reader, "/after", "value").await;
}

#[tokio::test]
async fn an_empty_storage_is_no_accusation() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let nothing: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let mut reader = subscriber(&state, queue, &nothing, OFTEN);
    let report = verdict(&mut reader, Verdict::Offline).await;
    assert!(report.detail.contains("no such object in the storage"), "{report:?}");
}

/// [P-21] The second opinion is the head that the storage shows, as it was signed.
#[tokio::test]
async fn the_witness_gives_the_newest_head_in_the_storage() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    owner.publish(&[put("/a", "one")]).await;
    let queue = owner.publisher.status().expect("read").queue;
    let witness = StorageWitness::new(storage.clone(), queue, owner_key().verifying_key());
    assert_eq!(witness.newest().await.as_ref(), Some(restored(&storage).await.head.bytes()));
    let other = StorageWitness::new(storage, queue, reader_key().verifying_key());
    assert_eq!(other.newest().await, None);
}

#[tokio::test]
async fn a_queue_in_a_folder_is_restored_from_the_key_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || -> Arc<dyn Driver> { Arc::new(FileStorage::new(folder.path())) };
    let owner = Owner::new(&open());
    owner.publish(&[put("/a", "one"), put("/b", "two")]).await;
    owner.publish(&[put("/a", "three")]).await;
    owner.grant(&reader_key()).await;
    let restored = restored(&open()).await;
    assert_eq!(seen(&restored), owner.view());
    assert_eq!(restored.readers.iter().filter(|reader| reader.copy.name == "reader").count(), 1);
    assert!(restore(&reader_key(), open()).await.is_err());
}
