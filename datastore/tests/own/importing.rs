//! Whole folders.

use std::fs;
use std::path::PathBuf;

use tidings_datastore::storage::faulty::Fault;
use tidings_datastore::{DatastoreError, Imported};

use crate::World;

/// A folder of `count` files in three folders, every second one too long for the queue.
fn folder(world: &World, count: usize) -> PathBuf {
    let folder = world.folder.path().join("files");
    for at in 0..count {
        let within = folder.join(format!("{}", at % 3));
        fs::create_dir_all(&within).expect("a folder");
        fs::write(within.join(format!("{at:03}")), vec![at as u8; if at.is_multiple_of(2) { 100 } else { 9_000 }]).expect("a file");
    }
    folder
}

#[tokio::test]
async fn every_file_becomes_a_record_and_is_told_once() {
    let world = World::offline().await;
    let (folder, mut told) = (folder(&world, 30), Vec::<Imported>::new());
    let report = world.datastore.import(&folder, "/in", &mut |imported| told.push(imported)).await.expect("imported");
    assert_eq!((report.written, report.unchanged, report.skipped.len()), (30, 0, 0));
    let counts: Vec<_> = told.iter().map(|imported| (imported.done, imported.total, imported.written)).collect();
    assert_eq!(counts, (1..=30).map(|done| (done, 30, true)).collect::<Vec<_>>());
    assert_eq!(world.value("/in/1/001").await, Some(vec![1; 9_000].into()));
    assert_eq!(world.value("/in/0/000").await, Some(vec![0; 100].into()));
    assert_eq!((world.publisher.list("/in").expect("listed").len(), world.stored().await), (30, 15));
}

#[tokio::test]
async fn a_second_import_writes_only_what_changed() {
    let world = World::offline().await;
    let folder = folder(&world, 10);
    world.datastore.import(&folder, "", &mut |_| {}).await.expect("imported");
    fs::write(folder.join("1/001"), vec![9; 9_000]).expect("changed");
    let report = world.datastore.import(&folder, "/", &mut |_| {}).await.expect("imported");
    assert_eq!((report.written, report.unchanged, report.bytes), (1, 9, 9_000));
    assert_eq!(world.value("/1/001").await, Some(vec![9; 9_000].into()));
}

#[tokio::test]
async fn an_import_that_the_storage_refuses_leaves_nothing_of_its_batch() {
    let world = World::offline().await;
    let folder = folder(&world, 10);
    (0..3).for_each(|_| world.storage.fail_next(Fault::Delayed(0)));
    world.storage.fail_next(Fault::WriteFailed);
    let imported = world.datastore.import(&folder, "/in", &mut |_| {}).await;
    assert!(matches!(imported, Err(DatastoreError::Storage(_))));
    assert_eq!((world.publisher.list("/in").expect("listed").len(), world.stored().await), (0, 0));
}

#[tokio::test]
async fn a_prefix_is_a_path() {
    let world = World::offline().await;
    let imported = world.datastore.import(&folder(&world, 1), "in", &mut |_| {}).await;
    assert!(matches!(imported, Err(DatastoreError::Prefix(_))));
}
