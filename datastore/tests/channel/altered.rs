//! What a storage may say instead of what was written: nothing of it is ever accepted.

use super::storages::{content, objects};
use super::*;
use tidings_datastore::storage::{MemoryStorage, Name};

/// A storage with some of everything, and what is right.
async fn prepared() -> (Arc<dyn Driver>, Owner, Restored) {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let many: Vec<_> = (0..30).map(|number| put(&format!("/{number}"), vec![number as u8; 200])).collect();
    owner.publish(&many).await;
    owner.grant(&reader_key()).await;
    owner.publish(&[put("/new", "value"), delete("/3")]).await;
    owner.publish(&[put("/newer", "value")]).await;
    let right = restored(&storage).await;
    (storage, owner, right)
}

/// Whether the storage gives what is right or an error, with `bytes` in the place of `name`.
async fn assert_harmless(storage: &Arc<dyn Driver>, name: &Name, bytes: Bytes, right: &Restored) {
    let before = content(&**storage, name).await;
    storage.replace(name, bytes).await.expect("replaced");
    if let Ok(restored) = restore(&owner_key(), storage.clone()).await {
        assert!(restored == *right, "{name} was believed");
    }
    storage.replace(name, before).await.expect("replaced");
}

/// [P-21] Whatever is flipped in any object: an error, or what the owner signed.
#[tokio::test]
async fn no_flipped_bit_changes_what_is_accepted() {
    let (storage, _owner, right) = prepared().await;
    for name in objects(&*storage).await {
        let bytes = content(&*storage, &name).await;
        let step = (bytes.len() / 60).max(1);
        for at in (0..bytes.len()).step_by(step) {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 1 << (at % 8);
            assert_harmless(&storage, &name, flipped.into(), &right).await;
        }
    }
}

/// [P-21] The head object names what is read, and nothing signs it.
#[tokio::test]
async fn no_flipped_byte_of_the_head_object_changes_what_is_accepted() {
    let (storage, _owner, right) = prepared().await;
    let head = objects(&*storage).await.into_iter().find(|name| name.as_str().ends_with("/head")).expect("a head object");
    let bytes = content(&*storage, &head).await;
    for at in 0..bytes.len() {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x41;
        assert_harmless(&storage, &head, flipped.into(), &right).await;
    }
}

#[tokio::test]
async fn no_object_cut_short_or_extended_changes_what_is_accepted() {
    let (storage, _owner, right) = prepared().await;
    for name in objects(&*storage).await {
        let bytes = content(&*storage, &name).await;
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert_harmless(&storage, &name, bytes.slice(..length), &right).await;
        }
        assert_harmless(&storage, &name, [&bytes[..], &[0]].concat().into(), &right).await;
    }
}

#[tokio::test]
async fn no_object_in_the_place_of_another_changes_what_is_accepted() {
    let (storage, _owner, right) = prepared().await;
    let names = objects(&*storage).await;
    for name in &names {
        for other in names.iter().filter(|other| *other != name) {
            let bytes = content(&*storage, other).await;
            assert_harmless(&storage, name, bytes, &right).await;
        }
    }
}

#[tokio::test]
async fn a_missing_object_is_an_error_and_not_an_empty_one() {
    let (storage, _owner, right) = prepared().await;
    let mut failed = 0;
    for name in objects(&*storage).await {
        let before = content(&*storage, &name).await;
        storage.remove(&name).await.expect("removed");
        match restore(&owner_key(), storage.clone()).await {
            // Parts of older heads are there for readers that are a little behind.
            Ok(restored) => assert!(restored == right),
            Err(_) => failed += 1,
        }
        storage.replace(&name, before).await.expect("replaced");
    }
    assert!(failed >= 5, "head, segments, offsets, history and access list are all needed");
}

/// [P-21] Storage behind is never evidence: a reader keeps what it verified, and nobody is accused.
#[tokio::test]
async fn an_older_head_object_brings_nothing_and_accuses_nobody() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    owner.publish(&[put("/a", "one")]).await;
    let state = memory();
    let queue = follow(&state, &owner.grant(&reader_key()).await);
    let head = objects(&*storage).await.into_iter().find(|name| name.as_str().ends_with("/head")).expect("a head object");
    let older = content(&*storage, &head).await;
    owner.publish(&[put("/a", "two")]).await;
    let mut first = subscriber(&state, queue, &storage, LONG);
    until_value(&mut first, "/a", "two").await;
    first.close().await;
    storage.replace(&head, older).await.expect("replaced");
    let mut second = subscriber(&state, queue, &storage, LONG);
    verdict(&mut second, Verdict::Stale).await;
    until_value(&mut second, "/a", "two").await;
}

/// Two parts of one kind exchanged inside the head object: each is what its name says, together they are not what is signed.
#[tokio::test]
async fn a_head_object_of_a_storages_own_making_is_not_believed() {
    use tidings_core::{Object, StorageHead};
    let (storage, owner, right) = prepared().await;
    let head = objects(&*storage).await.into_iter().find(|name| name.as_str().ends_with("/head")).expect("a head object");
    let older = content(&*storage, &head).await;
    owner.publish(&[put("/newest", "value")]).await;
    let newer = restored(&storage).await;
    let (old, new) = (StorageHead::decode(&older).expect("a head"), StorageHead::decode(&content(&*storage, &head).await).expect("a head"));
    let forged = [
        StorageHead { head: new.head.clone(), ..old.clone() },
        StorageHead { live: old.live, ..new.clone() },
        StorageHead { live: new.live, ..old.clone() },
        StorageHead { access: old.access, history: old.history.clone(), ..new.clone() },
        StorageHead { segments: old.segments.clone(), ..new.clone() },
        StorageHead { head: old.head.clone(), ..new.clone() },
    ];
    for forged in forged {
        storage.replace(&head, forged.encode().into()).await.expect("replaced");
        if let Ok(restored) = restore(&owner_key(), storage.clone()).await {
            assert!(restored == right || restored == newer, "a forged head object was believed");
        }
    }
}
