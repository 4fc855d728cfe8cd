//! What a person is shown.

use tidings_core::reader::ChangeKind::{Create, Delete, Update};
use tidings_datastore::Wanted;

use crate::shelf::Mood;
use crate::world::{World, large, stored, told};

fn line(path: &str, kind: tidings_core::reader::ChangeKind) -> (String, tidings_core::reader::ChangeKind, bool) {
    (path.to_owned(), kind, true)
}

/// [P-15]
#[test]
fn what_is_printed_is_the_net_change_since_the_last_printing() {
    let world = World::new();
    let life = world.life();
    world.put("/a", "1");
    world.put("/b", "1");
    assert_eq!(life.print(2), [line("/a", Create), line("/b", Create)]);
    world.put("/a", "2");
    world.delete("/b");
    world.put("/c", "1");
    assert_eq!(life.print(3), [line("/a", Update), line("/b", Delete), line("/c", Create)]);
    life.close();
}

/// [P-15]
#[test]
fn a_record_that_came_and_went_unprinted_is_not_printed() {
    let world = World::new();
    let life = world.life();
    world.put("/a", "1");
    life.merged(&world);
    world.delete("/a");
    world.put("/b", "1");
    life.merged(&world);
    assert_eq!(life.print(1), [line("/b", Create)]);
    assert!(life.follower.unprinted(Wanted::NotNeeded, 9).expect("read").is_empty());
    life.close();
}

#[test]
fn an_object_that_is_published_again_is_not_fetched_again() {
    let world = World::new();
    let life = world.life();
    let (reference, name) = world.store(&large(1), 1);
    world.publish(vec![stored("/a", reference.clone())]);
    assert_eq!(life.print(1), [line("/a", Create)]);
    world.publish(vec![stored("/a", reference)]);
    assert_eq!(life.print(1), [line("/a", Update)]);
    assert_eq!(world.shelf.reads(&name), 1);
    life.close();
}

#[test]
fn a_change_is_held_back_until_its_value_is_here_and_not_if_that_is_not_needed() {
    let world = World::new();
    let life = world.life();
    let name = world.put_large("/a", &large(1), Some(Mood::Failing));
    life.until(|follower| (follower.fetches().expect("read").failing == 1).then_some(()));
    assert!(life.follower.unprinted(Wanted::Fetched, 9).expect("read").is_empty());
    let without = life.follower.unprinted(Wanted::NotNeeded, 9).expect("read");
    assert_eq!(told(&without), [("/a".to_owned(), Create, false)]);
    drop(without);
    world.shelf.set(&name, None);
    assert_eq!(life.print(1), [line("/a", Create)]);
    life.close();
}

#[test]
fn two_printers_print_each_change_once() {
    let world = World::new();
    let life = world.life();
    for number in 0..10 {
        world.put(&format!("/{number}"), "1");
    }
    life.merged(&world);
    let first = life.take(4);
    let second = life.follower.unprinted(Wanted::Fetched, 100).expect("read");
    let mut paths: Vec<_> = first.iter().chain(&second).map(|change| change.path.clone()).collect();
    paths.sort();
    paths.dedup();
    assert_eq!((first.len() + second.len(), paths.len()), (10, 10));
    life.close();
}

#[test]
fn what_a_printer_had_when_it_died_is_printed_by_another() {
    let world = World::new();
    let life = world.life();
    world.put("/a", "1");
    drop(life.take(1));
    assert_eq!(life.print(1), [line("/a", Create)]);
    life.close();
}

/// [P-15] The printer may have shown it before it died, so the delete has to be shown too.
#[test]
fn a_delete_of_what_a_dead_printer_had_is_printed() {
    let world = World::new();
    let life = world.life();
    world.put("/a", "1");
    let had = life.take(1);
    world.delete("/a");
    life.merged(&world);
    drop(had);
    life.kill();
    let life = world.life();
    assert_eq!(life.print(1), [line("/a", Delete)]);
    life.close();
}

#[test]
fn a_change_that_comes_while_its_record_is_printed_is_told_against_what_was_printed() {
    let world = World::new();
    let life = world.life();
    world.put("/a", "1");
    let had = life.take(1);
    world.put("/a", "2");
    life.merged(&world);
    assert!(life.follower.unprinted(Wanted::Fetched, 9).expect("read").is_empty());
    life.follower.printed(&had).expect("kept");
    assert_eq!(life.print(1), [line("/a", Update)]);
    life.close();
}
