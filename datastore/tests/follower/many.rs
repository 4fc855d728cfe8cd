//! Thousands of values at once.

use std::time::Instant;

use crate::shelf::Shelf;
use crate::world::{LONG, World, stored};

const RECORDS: u64 = 5_000;

/// Published as a fleet of devices would: 3 KiB to 20 KiB each, all changed before the reader comes.
#[test]
fn five_thousand_values_are_fetched_with_eight_at_once() {
    let world = World::new();
    let mut writes = Vec::new();
    for number in 0..RECORDS {
        let value = vec![number as u8; 3 * 1024 + (number as usize * 7_919) % (17 * 1024)];
        writes.push(stored(&format!("/devices/{number}"), world.store(&value, number).0));
    }
    world.publish(writes);
    let begun = Instant::now();
    let life = world.life();
    life.merged(&world);
    let merged = begun.elapsed();
    // Looking at every order at every change would be most of what is measured.
    let all = async { tokio::time::timeout(LONG, world.shelf.until_all_read(RECORDS as usize)).await };
    life.runtime.block_on(all).expect("in time");
    life.fetched_all();
    let fetched = begun.elapsed();
    let mut printed = 0;
    while printed < RECORDS as usize {
        printed += life.print(500).len();
    }
    println!("merged after {merged:?}, fetched after {fetched:?}, printed after {:?}, {} reads at once", begun.elapsed(), at_once(&world));
    assert_eq!((world.cached(), printed), (RECORDS as usize, RECORDS as usize));
    assert!(at_once(&world) <= 8);
    life.close();
}

fn at_once(world: &World) -> usize {
    Shelf::at_once(&world.shelf)
}
