//! A storage in a folder: what it said it had written or removed is so after a power cut. [P-22]

use std::fs::{self, File};
use std::path::PathBuf;

use tempfile::TempDir;
use tidings_datastore::storage::{Content, Driver as _, FileStorage, Name, StorageError};
use tokio::runtime::Runtime;

use super::disk::{Disk, Keep};

const OBJECT: &str = "objects/ab/abcd";

/// A disk and a storage in a folder of it.
struct Place {
    runtime: Runtime,
    disk: Disk,
    _folder: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::mount(&folder.path().join("disk"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Some(Self { runtime, disk, _folder: folder })
    }

    fn root(&self) -> PathBuf {
        self.disk.place().join("storage")
    }

    fn storage(&self) -> FileStorage {
        FileStorage::new(self.root())
    }

    fn create(&self, storage: &FileStorage, name: &str) {
        let name = Name::new(name).expect("a name");
        self.runtime.block_on(storage.create(&name, Content::Bytes("value".into()))).expect("written");
    }

    /// What somebody who was killed leaves of folders: each is made after the one above it is durable, so only the last is not.
    fn folders_of_one_who_was_killed(&self) {
        fs::create_dir_all(self.root().join("objects/ab")).expect("made");
        for folder in [self.root(), self.disk.place().to_owned()] {
            File::open(folder).expect("it opens").sync_all().expect("synced");
        }
    }

    /// Cuts the power and gives what the object is then.
    fn after_cut(&self) -> Option<Vec<u8>> {
        self.disk.cut(Keep::Nothing, 0);
        fs::read(self.root().join(OBJECT)).ok()
    }
}

#[test]
fn an_object_that_was_written_is_there() {
    let Some(place) = Place::new() else { return };
    place.create(&place.storage(), OBJECT);
    assert_eq!(place.after_cut().as_deref(), Some(&b"value"[..]));
}

/// An object that was there already was taken for durable, although who had put it there was killed before the sync of its folder.
#[test]
fn an_object_that_a_killed_process_had_put_in_its_place_is_there_once_it_was_written_again() {
    let Some(place) = Place::new() else { return };
    place.folders_of_one_who_was_killed();
    let path = place.root().join(OBJECT);
    fs::write(&path, b"value").expect("written");
    File::open(&path).expect("it opens").sync_all().expect("synced");
    place.create(&place.storage(), OBJECT);
    assert_eq!(place.after_cut().as_deref(), Some(&b"value"[..]));
}

/// A folder that was there already was taken for durable, although who had made it was killed before the sync of the one above.
#[test]
fn an_object_in_a_folder_that_a_killed_process_had_made_is_there() {
    let Some(place) = Place::new() else { return };
    place.folders_of_one_who_was_killed();
    place.create(&place.storage(), OBJECT);
    assert_eq!(place.after_cut().as_deref(), Some(&b"value"[..]));
}

/// The row about an object went, and a power cut brought the object back: nothing would ever have removed it again.
#[test]
fn an_object_that_was_removed_is_gone() {
    let Some(place) = Place::new() else { return };
    let storage = place.storage();
    place.create(&storage, OBJECT);
    place.runtime.block_on(storage.remove(&Name::new(OBJECT).expect("a name"))).expect("removed");
    assert_eq!(place.after_cut(), None);
}

#[test]
fn a_full_disk_is_a_refusal_and_leaves_no_object() {
    let Some(place) = Place::new() else { return };
    let (storage, name) = (place.storage(), Name::new(OBJECT).expect("a name"));
    place.disk.set_capacity(Some(3));
    let refused = place.runtime.block_on(storage.create(&name, Content::Bytes("value".into())));
    assert!(matches!(refused, Err(StorageError::Refused(_))), "{refused:?}");
    assert!(!place.root().join(OBJECT).exists());
    place.disk.set_capacity(None);
    place.create(&storage, OBJECT);
    assert_eq!(place.after_cut().as_deref(), Some(&b"value"[..]));
}
