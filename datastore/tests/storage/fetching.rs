//! Sealed values from storages that lie.

use std::sync::Arc;

use tidings_core::{Entropy, ObjectReference, ObjectSealer};
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::storage::{Content, Driver, Faulty, MemoryStorage, Mirror};
use tidings_datastore::{FetchError, fetch, object_name, open_value};

const SIZE: usize = 300_000;

fn sealed() -> (Vec<u8>, ObjectReference) {
    let (mut sealer, mut sealed) = (ObjectSealer::new(&mut Entropy::new([1; 32])), Vec::new());
    sealer.update(&[7; SIZE], &mut sealed).expect("below the cap");
    let reference = sealer.finish(&mut sealed, String::new()).expect("no content type");
    (sealed, reference)
}

async fn storage() -> (Arc<Faulty>, ObjectReference) {
    let (sealed, reference) = sealed();
    let storage = Arc::new(Faulty::new(Arc::new(MemoryStorage::new()), [1; 32], Faults::NONE));
    storage.create(&object_name(&reference.id), Content::Bytes(sealed.into())).await.expect("created");
    (storage, reference)
}

#[tokio::test]
async fn what_is_fetched_opens_to_the_value() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((storage, reference), into) = (storage().await, folder.path().join("object"));
    fetch(storage.as_ref(), &reference, &into).await.expect("fetched");
    let value = open_value(&into, &reference, folder.path()).await.expect("opened");
    assert_eq!(value.size(), SIZE as u64);
    assert!(value.bytes().await.expect("read") == vec![7; SIZE]);
}

#[tokio::test]
async fn an_altered_cut_or_missing_object_leaves_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((storage, reference), into) = (storage().await, folder.path().join("object"));
    for fault in [Fault::Altered, Fault::Cut] {
        storage.fail_next(fault);
        assert!(matches!(fetch(storage.as_ref(), &reference, &into).await, Err(FetchError::Altered)), "{fault:?}");
    }
    storage.remove(&object_name(&reference.id)).await.expect("removed");
    assert!(matches!(fetch(storage.as_ref(), &reference, &into).await, Err(FetchError::Missing)));
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

/// A storage sends for ever: nothing beyond the length of a sealed value is read.
#[tokio::test]
async fn an_object_that_is_too_long_is_altered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut sealed, reference) = sealed();
    sealed.push(0);
    let storage = MemoryStorage::new();
    storage.create(&object_name(&reference.id), Content::Bytes(sealed.into())).await.expect("created");
    let fetched = fetch(&storage, &reference, &folder.path().join("object")).await;
    assert!(matches!(fetched, Err(FetchError::Altered)));
}

/// The name in a reference is the owner's word for people; another one must not lead elsewhere.
#[tokio::test]
async fn the_name_in_a_reference_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (storage, reference) = storage().await;
    let misled = ObjectReference { name: "../../etc/passwd".into(), ..reference };
    assert!(fetch(storage.as_ref(), &misled, &folder.path().join("object")).await.is_ok());
}

#[tokio::test]
async fn an_altered_copy_does_not_hide_a_good_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((altered, reference), (good, _)) = (storage().await, storage().await);
    altered.fail_next(Fault::Altered);
    let mirror = Mirror::new(vec![altered, good]);
    assert!(fetch(&mirror, &reference, &folder.path().join("object")).await.is_ok());
}

#[tokio::test]
async fn a_file_that_rotted_does_not_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((mut sealed, reference), file) = (sealed(), folder.path().join("object"));
    for altered in [0, 1, 65_552, SIZE] {
        sealed[altered] ^= 0x80;
        std::fs::write(&file, &sealed).expect("a file");
        assert!(open_value(&file, &reference, folder.path()).await.is_err(), "byte {altered}");
        sealed[altered] ^= 0x80;
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_reference_is_malformed() {
    let folder = tempfile::tempdir().expect("a folder");
    let ((sealed, reference), file) = (sealed(), folder.path().join("object"));
    std::fs::write(&file, &sealed).expect("a file");
    let other = ObjectReference { plaintext_hash: [0; 32], ..reference };
    assert!(matches!(open_value(&file, &other, folder.path()).await, Err(FetchError::Malformed)));
}
