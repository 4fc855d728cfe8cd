//! Values on their way from the storage.

use std::sync::Arc;
use std::time::Duration;

use tidings_core::reader::ChangeKind::{Create, Delete, Update};
use tidings_datastore::storage::faulty::{Fault, Faults};
use tidings_datastore::storage::{Content, Driver, Faulty};
use tidings_datastore::{FollowerError, Unfetched, Wanted, object_name};

use crate::shelf::Mood;
use crate::world::{LONG, World, large, limits, seal, stored};

fn unfetched(result: Result<Option<Vec<u8>>, FollowerError>) -> Unfetched {
    match result {
        Err(FollowerError::Unfetched(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_fetched_value_is_whole_and_comes_from_the_cache_afterwards() {
    let world = World::new();
    let life = world.life();
    let name = world.put_large("/a", &large(1), None);
    assert_eq!(life.print(1), [("/a".to_owned(), Create, true)]);
    world.shelf.set(&name, Some(Mood::Missing));
    assert_eq!(life.value("/a").expect("here"), Some(large(1)));
    assert_eq!((world.cached(), world.shelf.reads(&name)), (1, 1));
    life.close();
}

/// A storage that is consistent only after a while delays and does not mislead.
#[test]
fn an_object_that_becomes_visible_late_is_fetched_when_it_does() {
    let world = World::new();
    let faulty = Arc::new(Faulty::new(world.shelf.clone(), [1; 32], Faults::NONE));
    let (reference, sealed) = seal(&large(1), 1);
    faulty.fail_next(Fault::Delayed(5));
    let created = futures_util::future::FutureExt::now_or_never(faulty.create(&object_name(&reference.id), Content::Bytes(sealed.into())));
    created.expect("at once").expect("created");
    let life = world.life_with(Some(faulty), limits());
    world.publish(vec![stored("/a", reference)]);
    life.heard();
    life.fetched_all();
    assert_eq!(life.value("/a").expect("here"), Some(large(1)));
    life.close();
}

/// [P-22]
#[test]
fn an_object_that_never_comes_is_named_missing_and_is_fetched_if_it_comes_after_all() {
    let world = World::new();
    let life = world.life();
    let name = world.put_large("/a", &large(1), Some(Mood::Missing));
    assert_eq!(life.print(1), [("/a".to_owned(), Create, false)]);
    assert_eq!(life.follower.fetches().expect("read").missing, 1);
    assert_eq!(unfetched(life.value_within("/a", Duration::from_millis(50))), Unfetched::Missing);
    world.shelf.set(&name, None);
    life.fetched_all();
    assert!(life.follower.unprinted(Wanted::Fetched, 9).expect("read").is_empty());
    life.close();
}

/// [P-22] The owner may have replaced the value, and removed the object, in a head that this reader has not seen.
#[test]
fn nothing_is_named_missing_before_the_view_is_as_new_as_can_be() {
    let world = World::new();
    let life = world.life();
    let (reference, name) = world.store(&large(1), 1);
    world.publish(vec![stored("/a", reference)]);
    life.heard();
    life.fetched_all();
    life.close();
    std::fs::remove_file(world.file(&name)).expect("removed");
    world.shelf.set(&name, Some(Mood::Missing));
    world.peer.set(|queue| queue.away = true);
    let life = world.life();
    assert_eq!(unfetched(life.value_within("/a", Duration::from_millis(20))), Unfetched::Missing);
    let reads = world.shelf.reads(&name);
    life.until(|follower| {
        let fetches = follower.fetches().expect("read");
        assert_eq!(fetches.missing, 0);
        (world.shelf.reads(&name) > reads + 5).then_some(())
    });
    world.peer.set(|queue| queue.away = false);
    life.until(|follower| (follower.fetches().expect("read").missing == 1).then_some(()));
    life.close();
}

#[test]
fn altered_bytes_are_named_never_given_out_and_replaced_by_the_right_ones() {
    let world = World::new();
    let life = world.life();
    let name = world.put_large("/a", &large(1), Some(Mood::Altered));
    assert_eq!(life.print(1), [("/a".to_owned(), Create, false)]);
    assert_eq!((life.follower.fetches().expect("read").altered, world.cached()), (1, 0));
    assert_eq!(unfetched(life.value_within("/a", Duration::from_millis(50))), Unfetched::Altered);
    world.shelf.set(&name, None);
    life.fetched_all();
    assert_eq!(life.value("/a").expect("here"), Some(large(1)));
    life.close();
}

/// The id names the bytes; the owner's reference says what they open to.
#[test]
fn an_object_that_does_not_fit_its_reference_is_altered() {
    let world = World::new();
    let life = world.life();
    let (mut reference, _) = world.store(&large(1), 1);
    reference.plaintext_hash = [9; 32];
    world.publish(vec![stored("/a", reference)]);
    assert_eq!(life.print(1), [("/a".to_owned(), Create, false)]);
    assert_eq!((life.follower.fetches().expect("read").altered, world.cached()), (1, 0));
    life.close();
}

#[test]
fn objects_that_hang_or_fail_block_no_others() {
    let world = World::new();
    let life = world.life();
    world.put_large("/a", &large(1), Some(Mood::Hanging));
    world.put_large("/b", &large(2), Some(Mood::Hanging));
    world.put_large("/c", &large(3), Some(Mood::Failing));
    for number in 0..30 {
        world.put_large(&format!("/d{number}"), &large(100 + number), None);
    }
    assert_eq!(life.print(30).len(), 30);
    assert_eq!(life.follower.fetches().expect("read").waiting, 3);
    life.close();
}

#[test]
fn a_newer_value_takes_the_place_of_the_work_at_the_older_one() {
    let world = World::new();
    let life = world.life();
    let older = world.put_large("/a", &large(1), Some(Mood::Hanging));
    life.until_read(&world, &older, 1);
    world.put_large("/a", &large(2), None);
    assert_eq!(life.print(1), [("/a".to_owned(), Create, true)]);
    assert_eq!(life.value("/a").expect("here"), Some(large(2)));
    life.close();
}

#[test]
fn an_object_that_two_records_name_is_fetched_once() {
    let world = World::new();
    let (reference, name) = world.store(&large(1), 1);
    world.publish(vec![stored("/a", reference.clone()), stored("/b", reference)]);
    let life = world.life();
    assert_eq!(life.print(2).len(), 2);
    assert_eq!((world.shelf.reads(&name), world.cached()), (1, 1));
    life.close();
}

#[test]
fn superseded_and_deleted_objects_leave_the_cache_when_nobody_names_them() {
    let world = World::new();
    let life = world.life();
    let (shared, _) = world.store(&large(1), 1);
    world.publish(vec![stored("/a", shared.clone()), stored("/b", shared)]);
    assert_eq!(life.print(2).len(), 2);
    world.put_large("/a", &large(2), None);
    assert_eq!(life.print(1), [("/a".to_owned(), Update, true)]);
    assert_eq!(world.cached(), 2);
    world.delete("/b");
    assert_eq!(life.print(1), [("/b".to_owned(), Delete, true)]);
    life.until(|_| (world.cached() == 1).then_some(()));
    assert_eq!(life.value("/a").expect("here"), Some(large(2)));
    life.close();
}

#[test]
fn a_file_that_rotted_in_the_cache_is_dropped_and_fetched_again() {
    let world = World::new();
    let life = world.life();
    let name = world.put_large("/a", &large(1), None);
    life.print(1);
    std::fs::write(world.file(&name), b"rotten").expect("written");
    assert_eq!(life.value("/a").expect("here"), Some(large(1)));
    assert_eq!(world.shelf.reads(&name), 2);
    life.close();
}

#[test]
fn without_a_storage_a_value_is_named_so_and_comes_once_there_is_one() {
    let world = World::new();
    let life = world.life_with(None, limits());
    world.put_large("/a", &large(1), None);
    assert_eq!(life.print(1), [("/a".to_owned(), Create, false)]);
    assert_eq!(life.follower.fetches().expect("read").no_storage, 1);
    assert_eq!(unfetched(life.value("/a")), Unfetched::NoStorage);
    life.close();
    let life = world.life();
    life.fetched_all();
    life.close();
}

#[test]
fn a_value_is_fetched_at_once_for_who_asks() {
    let world = World::new();
    let (reference, name) = world.store(&large(1), 1);
    world.publish(vec![stored("/a", reference)]);
    world.shelf.set(&name, Some(Mood::Missing));
    let life = world.life();
    life.merged(&world);
    world.shelf.set(&name, None);
    assert_eq!(life.value("/a").expect("here"), Some(large(1)));
    assert_eq!(life.value("/nothing").expect("read"), None);
    life.close();
}

#[test]
fn many_wait_for_one_catch_up() {
    let world = World::new();
    world.put("/a", "1");
    let life = world.life();
    let all = life.runtime.block_on(async {
        let waiting = (0..10).map(|_| life.follower.caught_up(LONG));
        futures_util::future::join_all(waiting).await
    });
    assert!(all.iter().all(Result::is_ok));
    life.close();
}
