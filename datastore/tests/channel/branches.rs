//! More than one home with one key over one storage: nothing is written over before it is merged. [P-5] [P-21]

use super::histories::{assert_no_orphans_but, hashes_of, hex};
use super::storages::{Racing, Stopping, content, objects};
use super::*;
use tidings_client::{Rescued, SnapshotError};
use tidings_core::{Object, StorageHead};
use tidings_datastore::channel::ChannelError;
use tidings_datastore::storage::{FileStorage, MemoryStorage, Name};

/// The owner's publisher over `state`, which compares with the storage.
fn comparing(state: &State, storage: &Arc<dyn Driver>, restoring: bool) -> Publisher {
    let archive = StorageArchive::new(storage.clone(), &owner_key().default_queue());
    let config = PublisherConfig {
        grant_wait: Duration::ZERO,
        tombstone_age: Duration::ZERO,
        compare_wait: LONG,
        archive: Some(Arc::new(archive)),
        restoring,
        ..PublisherConfig::new(Arc::new(Nowhere), Vec::new())
    };
    Publisher::open(state.clone(), owner_key(), config).expect("opened")
}

/// The same with its channel.
fn home(state: State, storage: &Arc<dyn Driver>, restoring: bool) -> Owner {
    let publisher = comparing(&state, storage, restoring);
    let channel = channel(&state, &publisher, storage);
    Owner { state, publisher, channel }
}

/// A new home from the key and the storage.
async fn rebuilt(storage: &Arc<dyn Driver>) -> Owner {
    let home = home(memory(), storage, true);
    assert!(home.publisher.compared(LONG).await.is_whole());
    home
}

async fn head_object(storage: &Arc<dyn Driver>) -> (Name, Bytes) {
    let names = objects(&**storage).await;
    let name = names.into_iter().find(|name| name.as_str().ends_with("/head")).expect("a head object");
    let bytes = content(&**storage, &name).await;
    (name, bytes)
}

async fn shown(storage: &Arc<dyn Driver>) -> StorageHead {
    StorageHead::decode(&head_object(storage).await.1).expect("a head object")
}

/// What is in the storage now and only another home has rows about: not shown, and left by it before.
async fn foreign(storage: &Arc<dyn Driver>) -> Vec<Name> {
    let shown: Vec<String> = hashes_of(&shown(storage).await).iter().map(hex).collect();
    objects(&**storage).await.into_iter().filter(|name| !shown.iter().any(|hash| name.as_str().ends_with(hash))).collect()
}

/// Paths and values, without their places.
fn values(seen: &[Seen]) -> Vec<(String, String)> {
    let text = |value: &Option<Bytes>| String::from_utf8_lossy(value.as_deref().unwrap_or_default()).into_owned();
    seen.iter().map(|(path, value, _)| (path.as_str().to_owned(), text(value))).collect()
}

/// Flushes until the storage shows everything; what is in the way goes away by itself.
async fn flushed(owner: &Owner) {
    let flushed = async { while owner.channel.flush(LONG).await.is_err() {} };
    tokio::time::timeout(LONG, flushed).await.expect("in time");
}

/// Waits until this home has noticed that another one signs.
async fn noticed(owner: &Owner) {
    let noticed = async {
        while owner.publisher.status().expect("read").conflict.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, noticed).await.expect("nobody knows the writer of it here");
}

/// A person says that this home goes on, as soon as it has noticed the other one.
async fn take_over(owner: &Owner) {
    noticed(owner).await;
    owner.publisher.take_over().await.expect("taken over");
}

/// [P-5] The state is gone; the storage has everything, and what is written after that takes the place of what was there.
#[tokio::test]
async fn a_home_that_was_rebuilt_from_the_storage_goes_on_in_it() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let lost = Owner::new(&storage);
    lost.publish(&[put("/a", "one"), put("/b", "two")]).await;
    lost.grant(&reader_key()).await;
    lost.publish(&[put("/b", "three"), delete("/a")]).await;
    let before = (lost.view(), shown(&storage).await.head.rank());
    let others = foreign(&storage).await;
    drop(lost);
    let home = rebuilt(&storage).await;
    assert_eq!(home.view(), before.0);
    home.publish(&[put("/c", "four")]).await;
    assert_eq!(seen(&restored(&storage).await), home.view());
    let after = shown(&storage).await.head;
    assert!(after.rank().term > before.1.term && after.head().base.rank == before.1, "a term of its own, on what was there");
    assert_no_orphans_but(&home.state, &storage, &others).await;
}

/// [P-5] [P-21] Two homes write one storage: the second one overwrites nothing that it has not merged, and says so.
#[tokio::test]
async fn what_another_home_wrote_is_not_overwritten_before_it_is_merged() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let first = home(memory(), &storage, false);
    first.publish(&[put("/a", "common"), put("/b", "common")]).await;
    let second = rebuilt(&storage).await;
    second.publish(&[put("/b", "second"), put("/c", "second")]).await;
    let (theirs, others) = (head_object(&storage).await, foreign(&storage).await);
    first.write(&[put("/a", "first"), put("/d", "first")]).await;
    let refused = first.channel.flush(LONG).await;
    assert!(matches!(refused, Err(ChannelError::NotMerged(_))), "{refused:?}");
    noticed(&first).await;
    let refused = first.channel.flush(LONG).await;
    assert!(matches!(refused, Err(ChannelError::Snapshot(SnapshotError::Conflict))), "{refused:?}");
    assert_eq!(head_object(&storage).await, theirs);
    take_over(&first).await;
    flushed(&first).await;
    let all = [("/a", "first"), ("/b", "second"), ("/c", "second"), ("/d", "first")].map(|(path, value)| (path.into(), value.into()));
    assert_eq!((values(&first.view()), seen(&restored(&storage).await)), (all.to_vec(), first.view()));
    assert_no_orphans_but(&first.state, &storage, &others).await;
    // The other home notices the same, and both have all of it in the end.
    second.write(&[put("/e", "second")]).await;
    let refused = second.channel.flush(LONG).await;
    assert!(matches!(refused, Err(ChannelError::NotMerged(_))), "{refused:?}");
    take_over(&second).await;
    flushed(&second).await;
    assert_eq!(values(&second.view())[..4], all);
    assert_eq!(seen(&restored(&storage).await), second.view());
}

/// [P-21] The parts of a branch that was left are not named any more, and stay for the grace by their rows.
#[tokio::test]
async fn of_the_left_branch_no_part_is_named_and_all_of_them_stay_for_the_grace() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let first = home(memory(), &storage, false);
    first.publish(&[put("/a", "common")]).await;
    let second = rebuilt(&storage).await;
    for round in 0..6 {
        second.publish(&[put("/a", format!("second {round}")), put(&format!("/{round}"), "second")]).await;
    }
    let (left, before, others) = (shown(&storage).await, objects(&*storage).await, foreign(&storage).await);
    first.write(&[put("/b", "first")]).await;
    first.channel.flush(LONG).await.expect_err("the other branch is there");
    take_over(&first).await;
    flushed(&first).await;
    let now = shown(&storage).await;
    assert!(now.head.rank() > left.head.rank());
    let after = objects(&*storage).await;
    assert!(before.iter().all(|name| after.contains(name)), "a reader of the left branch finds its parts");
    // Every segment and run is of the branch that is shown, or it would not be what its head signs.
    assert_eq!(seen(&restored(&storage).await), first.view());
    assert_no_orphans_but(&first.state, &storage, &others).await;
}

/// Two homes look at once and write one after the other.
async fn race(storage: Arc<dyn Driver>) {
    let setup = home(memory(), &storage, false);
    setup.publish(&[put("/a", "common")]).await;
    // Without a channel, which would write the first head of its own term at once.
    let racer = memory();
    let publisher = comparing(&racer, &storage, true);
    assert!(publisher.compared(LONG).await.is_whole());
    let racing = Racing::new(storage.clone());
    let driver: Arc<dyn Driver> = racing.clone();
    setup.channel.close().await;
    let first = Owner { channel: channel(&setup.state, &setup.publisher, &driver), state: setup.state, publisher: setup.publisher };
    // What the task does by itself when it starts is over.
    first.channel.flush(LONG).await.expect("in the storage");
    first.write(&[put("/b", "first")]).await;
    racing.hold();
    let flushing = first.channel.flush(LONG);
    tokio::pin!(flushing);
    tokio::select! {
        early = &mut flushing => panic!("it was to be held back: {early:?}"),
        () = racing.held() => {}
    }
    let second = Owner { channel: channel(&racer, &publisher, &storage), state: racer, publisher };
    second.publish(&[put("/c", "second")]).await;
    racing.go_on();
    let raced = flushing.await;
    assert!(matches!(raced, Err(ChannelError::Overtaken)), "{raced:?}");
    assert_eq!(seen(&restored(&storage).await), second.view());
    assert!(first.channel.flush(LONG).await.is_err());
    take_over(&first).await;
    flushed(&first).await;
    let all = [("/a", "common"), ("/b", "first"), ("/c", "second")].map(|(path, value)| (path.to_owned(), value.to_owned()));
    assert_eq!((values(&first.view()), seen(&restored(&storage).await)), (all.to_vec(), first.view()));
}

/// [P-5] The second write finds another head than it saw, and changes nothing before it has merged that.
#[tokio::test]
async fn of_two_writes_at_once_one_wins_and_the_other_one_merges() {
    race(Arc::new(MemoryStorage::new())).await;
}

/// [P-5] The same in a folder, where a lock stands between comparing and writing.
#[tokio::test]
async fn of_two_writes_at_once_into_a_folder_one_wins_and_the_other_one_merges() {
    let folder = tempfile::tempdir().expect("a folder");
    race(Arc::new(FileStorage::new(folder.path()))).await;
}

/// [P-5] [P-21] A stop at every call to the storage while one branch takes the place of the other: nothing of either is lost.
#[tokio::test]
async fn a_stop_between_any_two_writes_of_a_merge_loses_nothing() {
    let mut calls = 0;
    for effect in [false, true] {
        calls = 0;
        loop {
            let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
            let first = home(memory(), &storage, false);
            first.publish(&[put("/a", "common")]).await;
            let second = rebuilt(&storage).await;
            // No delete: where its tombstone is purged, what was written in the same millisecond would be rescued.
            second.publish(&[put("/b", "second")]).await;
            let others = foreign(&storage).await;
            drop(second);
            first.write(&[put("/c", "first")]).await;
            first.channel.flush(LONG).await.expect_err("the other branch is there");
            take_over(&first).await;
            let crashed = stopped(&first, &storage, calls, effect).await;
            let all = [("/a", "common"), ("/b", "second"), ("/c", "first")].map(|(path, value)| (path.to_owned(), value.to_owned()));
            let shown = values(&seen(&restored(&storage).await));
            assert!(shown == all || shown == all[..2], "what is shown is whole: {shown:?}");
            let Owner { state, publisher, channel } = first;
            channel.close().await;
            publisher.close().await;
            let again = home(state, &storage, false);
            flushed(&again).await;
            assert_eq!(values(&seen(&restored(&storage).await)), all);
            assert_no_orphans_but(&again.state, &storage, &others).await;
            if !crashed {
                break;
            }
            calls += 1;
        }
    }
    assert!(calls >= 5, "parts and the head object are separate writes");
}

/// Writes with a channel that stops for ever at call number `calls`. False if it came through.
async fn stopped(owner: &Owner, storage: &Arc<dyn Driver>, calls: usize, effect: bool) -> bool {
    let stopping = Stopping::new(storage.clone(), calls, effect);
    let driver: Arc<dyn Driver> = stopping.clone();
    let broken = channel(&owner.state, &owner.publisher, &driver);
    let stopped = tokio::select! {
        () = async { while broken.flush(LONG).await.is_err() {} } => false,
        () = stopping.stopped() => true,
    };
    broken.close().await;
    stopped
}

/// [P-5] A value that was rescued stands in the storage like any other record, so it outlives the next loss of the state.
#[tokio::test]
async fn a_rescued_value_outlives_the_next_loss_of_the_state() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let first = home(memory(), &storage, false);
    first.publish(&[put("/a", "common")]).await;
    let second = rebuilt(&storage).await;
    // Written first, so the other one is later.
    first.write(&[put("/a", "first")]).await;
    second.publish(&[put("/a", "second")]).await;
    first.channel.flush(LONG).await.expect_err("the other branch is there");
    take_over(&first).await;
    flushed(&first).await;
    let paths = |rescued: Vec<Rescued>| rescued.into_iter().map(|rescued| rescued.path.as_str().to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(first.publisher.rescued().expect("read")), ["/a"]);
    drop(first);
    let third = rebuilt(&storage).await;
    assert_eq!(paths(third.publisher.rescued().expect("read")), ["/a"]);
    assert_eq!(values(&third.view()), [("/a".to_owned(), "second".to_owned())]);
}

/// Everything in one storage is in the other one, the head object last.
async fn copied(from: &Arc<dyn Driver>, to: &Arc<dyn Driver>) {
    let mut names = objects(&**from).await;
    names.sort_by_key(|name| name.as_str().ends_with("/head"));
    for name in names {
        to.replace(&name, content(&**from, &name).await).await.expect("written");
    }
}

/// A storage that shows a branch which parts from a head that the reader verified; `wanted` says which terms the branches have.
async fn parted(wanted: impl Fn(&StorageHead, &StorageHead) -> bool) -> (Subscriber, State, Arc<dyn Driver>, Arc<dyn Driver>) {
    let (storage, other): (Arc<dyn Driver>, Arc<dyn Driver>) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryStorage::new()));
    let first = home(memory(), &storage, false);
    first.publish(&[put("/a", "common")]).await;
    let queue_state = memory();
    let queue = follow(&queue_state, &first.grant(&reader_key()).await);
    drop(first);
    copied(&storage, &other).await;
    let second = rebuilt(&storage).await;
    second.publish(&[put("/b", "second")]).await;
    loop {
        let branch: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
        copied(&other, &branch).await;
        let third = rebuilt(&branch).await;
        third.publish(&[put("/c", "third")]).await;
        third.publish(&[put("/d", "third")]).await;
        // Steps of terms are random.
        if wanted(&shown(&storage).await, &shown(&branch).await) {
            let mut reader = subscriber(&queue_state, queue, &storage, Duration::from_millis(20));
            until_value(&mut reader, "/b", "second").await;
            return (reader, queue_state, storage, branch);
        }
    }
}

/// [P-14] [P-21] What a reader verified is not in the history of the higher term that the storage shows now: it is told, and reads on.
#[tokio::test]
async fn a_reader_of_a_storage_that_shows_a_higher_term_of_another_branch_is_told_what_was_rewound() {
    let (mut reader, _state, storage, branch) = parted(|left, right| right.head.rank() > left.head.rank()).await;
    copied(&branch, &storage).await;
    verdict(&mut reader, Verdict::Rewound).await;
    until_value(&mut reader, "/d", "third").await;
    assert!(reader.get(&"/b".parse().expect("a path")).expect("read").is_none());
}

/// [P-14] [P-21] A lower term is an older head: the reader keeps what it verified and accuses nobody.
#[tokio::test]
async fn a_reader_of_a_storage_that_shows_a_lower_term_of_another_branch_keeps_what_it_has() {
    let (reader, state, storage, branch) = parted(|left, right| right.head.rank() < left.head.rank()).await;
    reader.close().await;
    copied(&branch, &storage).await;
    let mut reader = subscriber(&state, owner_key().default_queue().id(), &storage, Duration::from_millis(20));
    let told = async {
        loop {
            if let Event::Verdict(report) = reader.next().await.expect("running") {
                assert!(!matches!(report.verdict, Verdict::Withheld | Verdict::Forked | Verdict::Rewound), "{:?}", report.verdict);
                if report.verdict == Verdict::Stale {
                    return;
                }
            }
        }
    };
    tokio::time::timeout(LONG, told).await.expect("in time");
    assert_eq!(
        reader.get(&"/b".parse().expect("a path")).expect("read").and_then(|found| found.mutation.inline).as_deref(),
        Some(&b"second"[..])
    );
    assert!(reader.get(&"/d".parse().expect("a path")).expect("read").is_none());
}

/// Whoever can write to the storage can make a head object around an own head: nothing that it names is taken over.
#[tokio::test]
async fn a_head_object_of_somebody_elses_making_is_replaced_whole() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    let many: Vec<_> = (0..50).map(|number| put(&format!("/{number}"), vec![7; 300])).collect();
    owner.publish(&many).await;
    let (name, bytes) = head_object(&storage).await;
    let mut made = StorageHead::decode(&bytes).expect("a head object");
    made.segments[0].part.hash[0] ^= 1;
    made.access.hash[0] ^= 1;
    storage.replace(&name, made.encode().into()).await.expect("replaced");
    owner.publish(&[put("/b", "two")]).await;
    assert_eq!(seen(&restored(&storage).await), owner.view());
}

/// A head object that a storage lost half of is nothing that could be merged: it is written anew.
#[tokio::test]
async fn a_damaged_head_object_is_written_anew() {
    let storage: Arc<dyn Driver> = Arc::new(MemoryStorage::new());
    let owner = Owner::new(&storage);
    owner.publish(&[put("/a", "one")]).await;
    let (name, bytes) = head_object(&storage).await;
    storage.replace(&name, bytes.slice(..bytes.len() / 2)).await.expect("replaced");
    owner.publish(&[put("/b", "two")]).await;
    assert_eq!(seen(&restored(&storage).await), owner.view());
}
