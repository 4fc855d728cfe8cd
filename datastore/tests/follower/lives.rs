//! A reader that is killed, in every state a value can be in.

use std::time::Duration;

use tidings_client::Subscriber;
use tidings_core::reader::ChangeKind::Create;
use tidings_datastore::Unfetched;
use tidings_datastore::follower::{FollowerError, forget, value_at};
use tidings_datastore::storage::Name;

use crate::shelf::Mood;
use crate::world::{Life, World, content, large, limits, path};

fn offline(world: &World) -> Result<Option<Vec<u8>>, FollowerError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let state = world.state();
    runtime.block_on(async {
        match value_at(&state, &world.queue(), &world.cache(), &path("/a")).await? {
            Some(value) => Ok(Some(content(value).await)),
            None => Ok(None),
        }
    })
}

/// Kills a reader once `/a` is in the state that `reached` waits for; the next life sees one create, with its value.
fn killed_when(mood: Option<Mood>, reached: impl Fn(&World, &Life, &Name)) {
    let world = World::new();
    let name = world.put_large("/a", &large(1), mood);
    let life = world.life();
    reached(&world, &life, &name);
    life.kill();
    world.shelf.set(&name, None);
    let life = world.life();
    life.fetched_all();
    assert_eq!(life.print(1), [("/a".to_owned(), Create, true)]);
    assert_eq!((life.value("/a").expect("here"), world.cached()), (Some(large(1)), 1));
    life.close();
}

#[test]
fn a_reader_killed_at_once_prints_and_fetches_in_its_next_life() {
    killed_when(None, |_, _, _| {});
}

#[test]
fn a_reader_killed_while_it_fetches_prints_and_fetches_in_its_next_life() {
    killed_when(Some(Mood::Hanging), |world, life, name| life.until_read(world, name, 1));
}

#[test]
fn a_reader_killed_while_the_storage_fails_prints_and_fetches_in_its_next_life() {
    killed_when(Some(Mood::Failing), |_, life, _| {
        life.until(|follower| (follower.fetches().expect("read").failing == 1).then_some(()));
    });
}

#[test]
fn a_reader_killed_when_a_value_is_missing_prints_and_fetches_in_its_next_life() {
    killed_when(Some(Mood::Missing), |_, life, _| {
        life.until(|follower| (follower.fetches().expect("read").missing == 1).then_some(()));
    });
}

#[test]
fn a_reader_killed_when_a_value_is_altered_prints_and_fetches_in_its_next_life() {
    killed_when(Some(Mood::Altered), |_, life, _| {
        life.until(|follower| (follower.fetches().expect("read").altered == 1).then_some(()));
    });
}

#[test]
fn a_reader_killed_before_it_prints_prints_in_its_next_life() {
    killed_when(None, |world, life, _| {
        life.merged(world);
        life.fetched_all();
    });
}

#[test]
fn a_reader_killed_while_it_prints_prints_again_in_its_next_life() {
    killed_when(None, |_, life, _| drop(life.take(1)));
}

#[test]
fn what_was_printed_is_not_printed_in_the_next_life() {
    let world = World::new();
    world.put("/a", "1");
    let life = world.life();
    life.print(1);
    life.kill();
    world.put("/b", "1");
    let life = world.life();
    assert_eq!(life.print(1), [("/b".to_owned(), Create, true)]);
    life.close();
}

#[test]
fn values_are_read_while_nothing_runs_if_they_were_fetched() {
    let world = World::new();
    let name = world.put_large("/a", &large(1), None);
    let life = world.life();
    life.fetched_all();
    life.print(1);
    life.close();
    assert_eq!(offline(&world).expect("here"), Some(large(1)));
    std::fs::write(world.file(&name), b"rotten").expect("written");
    assert!(matches!(offline(&world), Err(FollowerError::Unfetched(Unfetched::Damaged(file))) if file == world.file(&name)));
    std::fs::remove_file(world.file(&name)).expect("removed");
    assert!(matches!(offline(&world), Err(FollowerError::Unfetched(Unfetched::NotHere))));
}

/// The file of a superseded object may outlive a kill; the next life removes it.
#[test]
fn what_was_superseded_is_removed_in_the_next_life() {
    let world = World::new();
    world.put_large("/a", &large(1), None);
    let life = world.life();
    life.print(1);
    let kept = world.cache().join("objects");
    life.close();
    let saved = saved(&kept);
    world.put_large("/a", &large(2), None);
    let life = world.life();
    assert_eq!(life.print(1).len(), 1);
    life.until(|_| (world.cached() == 1).then_some(()));
    life.kill();
    assert!(!saved.exists());
}

fn saved(objects: &std::path::Path) -> std::path::PathBuf {
    let folder = std::fs::read_dir(objects).expect("a folder").next().expect("one").expect("a folder").path();
    std::fs::read_dir(folder).expect("a folder").next().expect("one").expect("a file").path()
}

#[test]
fn forgetting_a_follow_leaves_no_file_and_no_row() {
    let world = World::new();
    world.put_large("/a", &large(1), None);
    world.put_large("/b", &large(2), Some(Mood::Missing));
    world.put("/c", "1");
    let life = world.life_with(Some(world.shelf.clone()), limits());
    life.print(3);
    life.kill();
    let state = world.state();
    forget(&state, &world.queue(), &world.cache()).expect("forgotten");
    Subscriber::unfollow(&state, &world.queue()).expect("ended");
    let tables = ["unprinted", "printed", "fetches", "due", "cached", "uses", "garbage"];
    let names = tables.map(|table| -> &'static str { format!("follower/{table}").leak() });
    assert!(names.iter().all(|table| state.rows(table, &[], None, 1).expect("read").is_empty()));
    assert_eq!(world.cached(), 0);
}

/// Without patience nothing is waited for.
#[test]
fn a_value_that_is_not_here_costs_no_more_than_the_patience() {
    let world = World::new();
    world.put_large("/a", &large(1), Some(Mood::Hanging));
    let life = world.life();
    life.merged(&world);
    let value = life.value_within("/a", Duration::ZERO);
    assert!(matches!(value, Err(FollowerError::Unfetched(Unfetched::Failed(_)))));
    life.kill();
}
