//! The storage as something that an owner compares with and goes on from: the same over every storage. [P-5] [P-21]

use super::storages::{content, objects};
use super::*;
use tidings_datastore::storage::faulty::Faults;
use tidings_datastore::storage::{Faulty, FileStorage, MemoryStorage, Mirror};
use tidings_proto::caps::TRANSFER_HISTORY_MAX;
use tidings_proto::frames::Transfer;

fn archive(storage: &Arc<dyn Driver>) -> StorageArchive {
    StorageArchive::new(storage.clone(), &owner_key().default_queue())
}

/// All parts, whatever they are.
async fn parts(storage: &Arc<dyn Driver>) -> Vec<Transfer> {
    let mut parts = Vec::new();
    let mut take = |part| {
        parts.push(part);
        true
    };
    archive(storage).recover(owner_key().default_queue(), &mut take).await.expect("given");
    parts
}

/// Many records, some of them dead, two readers, and heads of one publish each.
async fn filled(storage: &Arc<dyn Driver>) -> Owner {
    let owner = Owner::new(storage);
    let many: Vec<_> = (0..3_000).map(|number| put(&format!("/{number}"), vec![number as u8; 300])).collect();
    owner.publish(&many).await;
    owner.grant(&reader_key()).await;
    for round in 0..20 {
        owner.publish(&[put(&format!("/{round}"), "again"), delete(&format!("/{}", 100 + round))]).await;
    }
    owner
}

async fn check(storage: Arc<dyn Driver>) {
    let empty = archive(&storage);
    assert_eq!(empty.newest().await.expect("asked"), None);
    assert!(matches!(recovered(&owner_key(), &storage).await, Err(ArchiveError::Unavailable(_))), "what is not there is not empty");
    let owner = filled(&storage).await;
    let restored = restored(&storage).await;
    assert_eq!(archive(&storage).newest().await.expect("asked").as_ref(), Some(restored.head.bytes()));
    assert_eq!(seen(&restored), owner.view());
    let parts = parts(&storage).await;
    assert!(parts.len() > 3, "a queue of a megabyte is more than one part");
    for part in &parts {
        let entries: usize = part.entries.iter().map(Bytes::len).sum();
        assert!(part.history.len() <= TRANSFER_HISTORY_MAX && entries <= 512 * 1024, "a part is bounded");
    }
    let mut taken = 0;
    let mut enough = |_| {
        taken += 1;
        false
    };
    archive(&storage).recover(owner_key().default_queue(), &mut enough).await.expect("ended early");
    assert_eq!(taken, 1);
}

#[tokio::test]
async fn memory_gives_back_what_the_owner_signed() {
    check(Arc::new(MemoryStorage::new())).await;
}

#[tokio::test]
async fn a_folder_gives_back_what_the_owner_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    check(Arc::new(FileStorage::new(folder.path()))).await;
}

/// [P-5] Nothing that a failing storage gives is taken for the queue.
#[tokio::test]
async fn a_storage_that_fails_gives_an_error_or_what_is_right() {
    let honest: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let _owner = filled(&honest).await;
    let right = restored(&honest).await;
    let (mut whole, mut failed) = (0, 0);
    for seed in 0..40 {
        let faults = Faults { read_failed: 40, cut: 40, altered: 40, ..Faults::NONE };
        let faulty: Arc<dyn Driver> = Arc::new(Faulty::new(honest.clone(), [seed; 32], faults));
        match restore(&owner_key(), faulty).await {
            Ok(restored) => {
                assert!(restored == right, "seed {seed}");
                whole += 1;
            }
            Err(_) => failed += 1,
        }
    }
    assert!(whole > 0 && failed > 0, "{whole} whole, {failed} failed");
}

/// Storage only forgets or lies: the copy beside it has the part, and the hash in its name says which one is right.
#[tokio::test]
async fn a_part_that_one_copy_lost_or_altered_comes_from_the_other() {
    let copies: [Arc<dyn Driver>; 2] = [Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new())];
    let mirror: Arc<dyn Driver> = Arc::new(Mirror::new(copies.to_vec()));
    let owner = Owner::new(&mirror);
    owner.publish(&[put("/a", "one"), put("/b", "two")]).await;
    owner.publish(&[put("/c", "three")]).await;
    for (at, name) in objects(&*copies[0]).await.into_iter().filter(|name| !name.as_str().ends_with("/head")).enumerate() {
        let mut bytes = content(&*copies[0], &name).await.to_vec();
        match at % 2 {
            0 => copies[0].remove(&name).await.expect("removed"),
            _ => {
                bytes[1] ^= 1;
                copies[0].replace(&name, bytes.into()).await.expect("replaced");
            }
        }
    }
    assert_eq!(seen(&restored(&mirror).await), owner.view());
    assert!(restore(&owner_key(), copies[0].clone()).await.is_err());
}
