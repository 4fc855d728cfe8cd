//! Putting, deleting and reading one record.

use tidings_client::{Write, WriteError};
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::{DatastoreError, FetchError, Source};
use tidings_proto::caps::{INLINE_BYTES_MAX, OBJECT_BYTES_MAX};

use crate::{Broker, World, large, path, settled};

#[tokio::test]
async fn a_small_value_needs_no_object() {
    let world = World::offline().await;
    world.put("/a", vec![7; INLINE_BYTES_MAX].into()).await;
    assert_eq!((world.value("/a").await, world.stored().await), (Some(vec![7; INLINE_BYTES_MAX].into()), 0));
}

#[tokio::test]
async fn a_large_value_comes_back_from_storage() {
    let world = World::offline().await;
    world.put("/a", vec![7; INLINE_BYTES_MAX + 1].into()).await;
    assert_eq!((world.value("/a").await, world.stored().await), (Some(vec![7; INLINE_BYTES_MAX + 1].into()), 1));
}

#[tokio::test]
async fn a_value_from_a_file_and_from_a_stream_is_the_same() {
    let world = World::offline().await;
    let value: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let file = world.folder.path().join("value");
    std::fs::write(&file, &value).expect("a file");
    let reader = Box::new(std::io::Cursor::new(value.clone()));
    for (at, source) in [("/file", Source::File(file)), ("/reader", Source::Reader(reader))] {
        world.datastore.put(path(at), source, String::new()).await.expect("put");
        assert!(world.value(at).await.expect("there") == value, "{at}");
    }
    assert_eq!(std::fs::read_dir(world.folder.path().join("spool")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_value_above_the_cap_changes_nothing() {
    let world = World::offline().await;
    world.put("/a", large(1)).await;
    let source = Source::Reader(Box::new(tokio::io::AsyncReadExt::take(tokio::io::repeat(0), OBJECT_BYTES_MAX + 1)));
    let put = world.datastore.put(path("/a"), source, String::new()).await;
    assert!(matches!(put, Err(DatastoreError::Value(_))));
    assert_eq!((world.value("/a").await, world.stored().await), (Some(large(1)), 1));
    assert_eq!(std::fs::read_dir(world.folder.path().join("spool")).expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_put_is_published_with_its_object() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    let ticket = world.datastore.put(path("/a"), Source::Bytes(large(1)), "text/plain".into()).await.expect("put");
    ticket.receipted().await.expect("a receipt");
    let own = world.publisher.get(&path("/a")).expect("read").expect("there");
    assert_eq!(own.mutation.object.expect("an object").content_type, "text/plain");
}

#[tokio::test]
async fn a_deleted_record_has_no_value() {
    let world = World::offline().await;
    world.put("/a", large(1)).await;
    world.datastore.delete(path("/a")).await.expect("deleted");
    assert_eq!(world.value("/a").await, None);
    let again = world.datastore.delete(path("/a")).await;
    assert!(matches!(again, Err(DatastoreError::Write(WriteError::NotFound(_)))));
}

#[tokio::test]
async fn a_put_that_the_storage_refuses_changes_nothing_and_leaves_nothing() {
    for fault in [Fault::WriteFailed, Fault::AnswerLost] {
        let world = World::offline().await;
        world.put("/a", large(1)).await;
        world.storage.fail_next(fault);
        let put = world.datastore.put(path("/a"), Source::Bytes(large(2)), String::new()).await;
        assert!(matches!(put, Err(DatastoreError::Storage(_))), "{fault:?}");
        assert_eq!((world.value("/a").await, world.stored().await), (Some(large(1)), 1), "{fault:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_removed_after_a_failed_put_is_collected() {
    let world = World::offline().await;
    world.storage.fail_next(Fault::AnswerLost);
    world.storage.fail_next(Fault::WriteFailed);
    let put = world.datastore.put(path("/a"), Source::Bytes(large(1)), String::new()).await;
    assert!(put.is_err() && world.stored().await == 1);
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
    assert_eq!(world.stored().await, 0);
}

#[tokio::test]
async fn one_refused_write_does_not_refuse_those_beside_it() {
    let world = World::offline().await;
    let (first, refused, second) = tokio::join!(
        world.datastore.put(path("/a"), Source::Bytes("1".into()), String::new()),
        world.datastore.delete(path("/none")),
        world.datastore.put(path("/b"), Source::Bytes("2".into()), String::new()),
    );
    assert!(first.is_ok() && second.is_ok() && refused.is_err());
}

#[tokio::test]
async fn many_puts_of_one_record_at_once_leave_one_value_and_one_object() {
    let world = World::offline().await;
    let mut puts = tokio::task::JoinSet::new();
    for fill in 0..20 {
        let datastore = world.datastore.clone();
        puts.spawn(async move { datastore.put(path("/a"), Source::Bytes(large(fill)), String::new()).await.map(drop) });
    }
    while let Some(put) = puts.join_next().await {
        put.expect("no panic").expect("put");
    }
    assert!(world.value("/a").await.is_some());
    world.datastore.collect().await.expect("collected");
    assert_eq!(world.stored().await, 1);
    assert!(world.value("/a").await.is_some());
}

#[tokio::test]
async fn a_closed_datastore_takes_no_writes_and_keeps_what_it_took() {
    let world = World::offline().await;
    world.put("/a", large(1)).await;
    world.datastore.clone().close().await;
    let put = world.datastore.put(path("/b"), Source::Bytes(large(2)), String::new()).await;
    assert!(matches!(put, Err(DatastoreError::Write(WriteError::Closed))));
    assert_eq!((world.value("/a").await, world.value("/b").await), (Some(large(1)), None));
}

#[tokio::test]
async fn an_altered_object_is_never_given_out() {
    let world = World::offline().await;
    world.put("/a", large(1)).await;
    world.storage.set_faults(Faults { altered: 1_000, ..Faults::NONE });
    let read = world.datastore.get(&path("/a")).await;
    assert!(matches!(read, Err(DatastoreError::Fetch(FetchError::Altered))));
}

/// A process ended between storing and releasing: the next one finishes what is whole.
#[tokio::test]
async fn a_put_that_was_dropped_is_finished_or_withdrawn_at_the_next_start() {
    for (fault, expected) in [(None, Some(large(1))), (Some(Fault::Lost), None)] {
        let world = World::offline().await;
        fault.into_iter().for_each(|fault| world.storage.fail_next(fault));
        drop_after_storing(&world, large(1)).await;
        let reopened = world.reopened().await;
        assert_eq!(crate::value(&reopened, "/a").await, expected, "{fault:?}");
        reopened.collect().await.expect("collected");
        assert_eq!(world.stored().await, usize::from(expected.is_some()), "{fault:?}");
    }
}

#[tokio::test]
async fn a_record_written_since_is_not_overwritten_by_what_was_staged_before() {
    let world = World::offline().await;
    drop_after_storing(&world, large(1)).await;
    world.publisher.write(vec![small_write("2")]).await.expect("written");
    let reopened = world.reopened().await;
    assert_eq!((crate::value(&reopened, "/a").await, world.stored().await), (Some("2".into()), 0));
}

/// Staged values wait when the storage is away: nobody knows whether they are whole.
#[tokio::test]
async fn what_the_storage_cannot_be_asked_about_is_settled_later() {
    let world = World::offline().await;
    drop_after_storing(&world, large(1)).await;
    world.storage.set_faults(Faults { read_failed: 1_000, ..Faults::NONE });
    let reopened = world.reopened().await;
    reopened.collect().await.expect("collected");
    assert_eq!((reopened.staged_count().expect("read"), crate::value(&reopened, "/a").await), (1, None));
    world.storage.set_faults(Faults::NONE);
    reopened.collect().await.expect("collected");
    // Whoever was at it first: this collection or the datastore by itself.
    settled(&reopened).await;
    assert_eq!(crate::value(&reopened, "/a").await, Some(large(1)));
}

fn small_write(value: &'static str) -> Write {
    Write::Put { path: path("/a"), value: value.into(), content_type: String::new() }
}

/// Puts `/a` and gives up as soon as the object is in storage.
async fn drop_after_storing(world: &World, value: bytes::Bytes) {
    let (stored, reached) = std::sync::mpsc::channel();
    let config = tidings_datastore::DatastoreConfig {
        fail_hook: Some(std::sync::Arc::new(move |point| {
            if point == tidings_datastore::own::FailPoint::PutStored {
                let _ = stored.send(());
                panic!("the test ends this put");
            }
        })),
        ..tidings_datastore::DatastoreConfig::new(world.storage.clone(), world.folder.path().join("spool"))
    };
    let datastore = tidings_datastore::Datastore::open(world.state.clone(), world.publisher.clone(), config).await.expect("opened");
    let put = tokio::spawn(async move { datastore.put(path("/a"), Source::Bytes(value), String::new()).await.map(drop) });
    assert!(put.await.expect_err("it was ended").is_panic());
    reached.try_recv().expect("the object was stored");
}
