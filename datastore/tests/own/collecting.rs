//! Objects outlive their entries, and no longer. [P-22]

use std::time::Duration;

use tidings_datastore::Collected;

use crate::{Broker, World, large, path};

#[tokio::test]
async fn what_was_never_signed_goes_at_once() {
    let world = World::offline().await;
    let patient = world.with_grace(Duration::from_secs(3_600)).await;
    for fill in 1..=3 {
        world.put("/a", large(fill)).await;
    }
    let collected = patient.collect().await.expect("collected");
    assert_eq!(collected, Collected { named: 1, removed: 2, ..Collected::default() });
    assert_eq!((world.value("/a").await, world.stored().await), (Some(large(3)), 1));
}

#[tokio::test]
async fn an_object_that_a_live_entry_names_stays() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    world.put("/a", large(1)).await;
    world.published().await;
    assert_eq!(world.datastore.collect().await.expect("collected"), Collected { named: 1, ..Collected::default() });
}

/// [P-22] A reader that is a little behind must still find what its head names.
#[tokio::test]
async fn a_replaced_object_stays_for_the_grace() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    let patient = world.with_grace(Duration::from_secs(3_600)).await;
    for fill in [1, 2] {
        world.put("/a", large(fill)).await;
        world.published().await;
    }
    for _ in 0..2 {
        assert_eq!(patient.collect().await.expect("collected"), Collected { named: 1, waiting: 1, ..Collected::default() });
    }
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
    assert_eq!((world.value("/a").await, world.stored().await), (Some(large(2)), 1));
}

/// [P-22] Before the receipt a broker may still give out the head that names the old object.
#[tokio::test]
async fn a_replaced_object_stays_until_the_head_that_retired_it_is_receipted() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    world.put("/a", large(1)).await;
    world.published().await;
    let before = broker.publishes();
    broker.give_receipts(false);
    world.put("/a", large(2)).await;
    broker.published_after(before).await;
    for _ in 0..2 {
        assert_eq!(world.datastore.collect().await.expect("collected"), Collected { named: 1, waiting: 1, ..Collected::default() });
    }
    broker.give_receipts(true);
    world.published().await;
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
}

#[tokio::test]
async fn the_object_of_a_deleted_record_goes_after_the_receipt() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    world.put("/a", large(1)).await;
    world.published().await;
    world.datastore.delete(path("/a")).await.expect("deleted");
    world.published().await;
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
    assert_eq!(world.stored().await, 0);
}

/// Somebody wrote through the publisher itself, and no row was noted.
#[tokio::test]
async fn an_object_replaced_behind_the_datastores_back_is_found() {
    let broker = Broker::new();
    let world = World::online(&broker).await;
    world.put("/a", large(1)).await;
    world.published().await;
    world.publisher.write(vec![tidings_client::Write::Delete { path: path("/a") }]).await.expect("written");
    world.published().await;
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
}

/// [P-22] Never by listing: others may keep objects in the same storage.
#[tokio::test]
async fn an_object_of_somebody_else_is_never_removed() {
    let world = World::offline().await;
    let foreign = tidings_datastore::object_name(&[9; 32]);
    let storage: &dyn tidings_datastore::storage::Driver = world.storage.as_ref();
    storage.create(&foreign, tidings_datastore::storage::Content::Bytes("x".into())).await.expect("created");
    world.datastore.collect().await.expect("collected");
    assert_eq!(world.stored().await, 1);
}

#[tokio::test]
async fn what_cannot_be_removed_now_is_removed_by_the_next_collection() {
    let world = World::offline().await;
    world.put("/a", large(1)).await;
    world.datastore.delete(path("/a")).await.expect("deleted");
    world.storage.fail_next(tidings_datastore::storage::faulty::Fault::WriteFailed);
    assert_eq!(world.datastore.collect().await.expect("collected").failed, 1);
    assert_eq!(world.datastore.collect().await.expect("collected").removed, 1);
}
