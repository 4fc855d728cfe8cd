//! A broker's store beside the one that looks at it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tidings_core::{Did, NodeKey};
use tidings_proto::{Offset, QueueId, Timestamp};

use super::*;
use crate::commit::{CommitQueue, CommitSettings};
use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
use crate::server::AdmissionList;
use crate::store::{RocksStore, Settings, Store};

/// A broker's folder with its store open, as while it runs.
struct Running {
    folder: TempDir,
    store: RocksStore,
    owner: TestOwner,
}

impl Running {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let store = RocksStore::open(&folder.path().join("store"), &Settings::default()).expect("the folder opens");
        Self { folder, store, owner: TestOwner::new(1) }
    }

    fn publish(&mut self, request: Request) {
        let checked = self.owner.checked(request);
        let results = CommitQueue::new(CommitSettings::default()).commit_group(&self.store, Timestamp::new(77), vec![checked]);
        results.into_iter().for_each(|result| drop(result.expect("valid")));
    }

    fn inspect(&self) -> Inspection {
        inspect(self.folder.path()).expect("what runs can be looked at")
    }
}

/// This package's folder, as cargo says when it runs the test: what is compiled into it may be of another checkout that shares the target
/// folder.
fn manifest_dir() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let all = std::fs::read_dir(folder.join("store")).expect("the folder is there").map(|file| file.expect("a file"));
    all.map(|file| (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).expect("readable"))).collect()
}

/// The words in backticks of the table under this heading, row by row.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let path = manifest_dir().join("../docs/storage.md");
    let text = std::fs::read_to_string(path).expect("the page about storage");
    let section = text.split("\n## ").find(|section| section.starts_with(heading)).expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let words = |row: &str| row.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    rows.map(words).collect()
}

/// [P-1] The page tells an operator, and whoever trusts one, no more and no less.
#[test]
fn what_is_seen_is_what_the_page_lists() {
    let seen = [SeenOwner::FIELDS, SeenQueue::FIELDS, SeenEntry::FIELDS, SeenClass::FIELDS, SeenReader::FIELDS, SeenFormerReader::FIELDS];
    assert_eq!(documented("What an operator can see"), seen);
}

#[test]
fn a_look_beside_a_running_broker_changes_nothing() {
    let mut running = Running::new();
    running.publish(puts(&[1, 2]));
    let before = files(running.folder.path());
    let inspection = running.inspect();
    let queues: Vec<QueueId> = inspection.queues().map(|queue| queue.expect("readable")).collect();
    drop(inspection);
    assert_eq!((queues, files(running.folder.path()) == before), (vec![running.owner.queue()], true));
}

#[test]
fn a_look_is_of_one_moment() {
    let mut running = Running::new();
    running.publish(puts(&[1]));
    let inspection = running.inspect();
    running.publish(puts(&[1, 2]));
    let queue = running.owner.queue();
    let seen = inspection.queue(&queue).expect("readable").expect("there");
    let entries = inspection.entries(&queue, Offset::ZERO).expect("readable");
    assert_eq!((seen.rank.number.value(), seen.live, entries.len()), (1, 1, 1));
}

/// [P-1]
#[test]
fn a_queue_is_seen_as_its_owner_signed_it() {
    let mut running = Running::new();
    running.publish(Request { add: vec![7], ..puts(&[1, 2, 3]) });
    running.publish(Request { edits: vec![Edit::Put(2)], ..Request::default() });
    let (inspection, queue) = (running.inspect(), running.owner.queue());
    let seen = inspection.queue(&queue).expect("readable").expect("there");
    assert_eq!((seen.owner, seen.rank.number.value(), seen.live), (Did(running.owner.descriptor().signing_key), 2, 3));
    assert_eq!((seen.stored_at, seen.readers, seen.closed), (Timestamp::new(77), 2, false));
    let entries = inspection.entries(&queue, Offset::ZERO).expect("readable");
    assert_eq!(entries.iter().map(|entry| (entry.offset.value(), entry.birth.value())).collect::<Vec<_>>(), [(1, 1), (3, 3), (4, 2)]);
    let classes = inspection.classes(&queue).expect("readable");
    assert_eq!(classes, [SeenClass { padded_bytes: 256, entries: 3 }]);
}

/// [P-1] [P-17]
#[test]
fn readers_are_seen_by_their_pseudonyms() {
    let mut running = Running::new();
    running.publish(Request { add: vec![7, 8], ..puts(&[1]) });
    let gone = running.owner.readers()[0];
    running.publish(Request { remove: vec![gone], ..Request::default() });
    let (inspection, queue) = (running.inspect(), running.owner.queue());
    let readers = inspection.readers(&queue).expect("readable");
    assert_eq!(readers.iter().filter(|reader| reader.owner).count(), 1);
    assert!(readers.len() == 2 && readers.iter().all(|reader| reader.grant_bytes > 0 && reader.owner_copy_bytes > 0));
    assert!(readers.iter().all(|reader| reader.acknowledged.is_none() && reader.pseudonym != gone));
    let former = inspection.former_readers(&queue).expect("readable");
    assert_eq!(former.iter().map(|former| (former.pseudonym, former.removed_by.number.value())).collect::<Vec<_>>(), [(gone, 2)]);
}

#[test]
fn admitted_owners_are_seen() {
    let running = Running::new();
    let (list, did) = (AdmissionList::in_folder(running.folder.path()), NodeKey::from_seed([7; 32]).did());
    list.set(&did, true).expect("the folder is writable");
    assert_eq!(running.inspect().admitted().expect("readable"), [SeenOwner { did }]);
}

#[test]
fn a_folder_without_queues_is_named() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    assert!(matches!(inspect(folder.path()), Err(InspectError::Folder(_))));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

/// What was opened to look at is never written.
#[test]
fn a_store_that_was_opened_to_look_at_takes_nothing() {
    let mut running = Running::new();
    running.publish(puts(&[1]));
    let looked = RocksStore::open_read_only(&running.folder.path().join("store")).expect("readable");
    assert_eq!(looked.acknowledge(&[]), Err(crate::store::StoreError::Poisoned));
}
