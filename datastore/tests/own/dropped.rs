//! Calls that are dropped in the middle of a put, in a datastore that goes on.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tidings_datastore::own::{FailHook, FailPoint};
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::{Datastore, DatastoreConfig, Source};

use crate::{LONG, World, large, path, settled};

/// Ends the first put that reaches a point.
fn ends_first(wanted: FailPoint) -> FailHook {
    let first = Mutex::new(true);
    Arc::new(move |point| {
        let is_first = point == wanted && std::mem::take(&mut *first.lock().expect("whole"));
        assert!(!is_first, "the test ends this put");
    })
}

async fn open(world: &World, hook: FailHook) -> Datastore {
    let spool = world.folder.path().join("spool");
    let config = DatastoreConfig { fail_hook: Some(hook), ..DatastoreConfig::new(world.storage.clone(), spool) };
    Datastore::open(world.state.clone(), world.publisher.clone(), config).await.expect("opened")
}

async fn drop_one(datastore: &Datastore, at: &'static str, fill: u8) {
    let datastore = datastore.clone();
    let put = tokio::spawn(async move { datastore.put(path(at), Source::Bytes(large(fill)), String::new()).await.map(drop) });
    assert!(put.await.expect_err("it was ended").is_panic());
}

/// Its row stayed until the next collection, hours later.
#[tokio::test]
async fn a_put_that_was_dropped_is_finished_or_withdrawn_by_the_datastore_that_goes_on() {
    for (point, expected) in [(FailPoint::PutStored, Some(large(1))), (FailPoint::PutStaged, None)] {
        let world = World::offline().await;
        let datastore = open(&world, ends_first(point)).await;
        drop_one(&datastore, "/a", 1).await;
        settled(&datastore).await;
        assert_eq!(crate::value(&datastore, "/a").await, expected, "{point:?}");
        assert_eq!(world.stored().await, usize::from(expected.is_some()), "{point:?}");
    }
}

#[tokio::test]
async fn what_the_storage_cannot_be_asked_about_is_asked_again() {
    let world = World::offline().await;
    let datastore = open(&world, ends_first(FailPoint::PutStored)).await;
    world.storage.fail_next(Fault::ReadFailed);
    drop_one(&datastore, "/a", 1).await;
    settled(&datastore).await;
    assert_eq!(crate::value(&datastore, "/a").await, Some(large(1)));
}

#[tokio::test]
async fn one_that_is_closed_settles_nothing_more() {
    let world = World::offline().await;
    let datastore = open(&world, ends_first(FailPoint::PutStored)).await;
    world.storage.set_faults(Faults { read_failed: 1_000, ..Faults::NONE });
    drop_one(&datastore, "/a", 1).await;
    datastore.clone().close().await;
    world.storage.set_faults(Faults::NONE);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(datastore.staged_count().expect("read"), 1);
}

/// Stops at a point until it is let go.
struct Stop {
    reached: Receiver<()>,
    go: Sender<()>,
}

impl Stop {
    fn at(wanted: FailPoint) -> (Self, impl Fn(FailPoint)) {
        let ((tell, reached), (go, wait)) = (channel(), channel::<()>());
        let held = Mutex::new(Some(wait));
        let hook = move |point| {
            let wait = (point == wanted).then(|| held.lock().expect("whole").take()).flatten();
            if let Some(wait) = wait {
                let _ = tell.send(());
                let _ = wait.recv_timeout(LONG);
            }
        };
        (Self { reached, go }, hook)
    }

    async fn reached(self) -> Sender<()> {
        let Self { reached, go } = self;
        tokio::task::spawn_blocking(move || reached.recv_timeout(LONG).expect("reached")).await.expect("waited");
        go
    }
}

/// A put that ended while an older list of staged rows was worked at was taken for abandoned, and its object was removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_put_that_ends_while_others_are_settled_keeps_its_value() {
    let world = World::offline().await;
    let (staged, stop_first_put) = Stop::at(FailPoint::PutStaged);
    let (checked, stop_settling) = Stop::at(FailPoint::SettleChecked);
    let end = ends_first(FailPoint::PutStored);
    let hook = move |point| {
        stop_first_put(point);
        stop_settling(point);
        end(point);
    };
    let datastore = open(&world, Arc::new(hook)).await;
    let first = tokio::spawn({
        let datastore = datastore.clone();
        async move { datastore.put(path("/first"), Source::Bytes(large(1)), String::new()).await.map(drop) }
    });
    let go_on_putting = staged.reached().await;
    drop_one(&datastore, "/dropped", 2).await;
    let go_on_settling = checked.reached().await;
    go_on_putting.send(()).expect("it waits");
    first.await.expect("it goes on").expect("put");
    go_on_settling.send(()).expect("it waits");
    settled(&datastore).await;
    assert_eq!(crate::value(&datastore, "/first").await, Some(large(1)));
    assert_eq!(crate::value(&datastore, "/dropped").await, Some(large(2)));
}
