//! Two branches of a queue whose fork nobody remembers: the state was lost on the way. [P-5]

use super::restores::{key, lose_everything};
use super::{are, bobs, mine, own, put};
use crate::world::{Broker, Done, World};

/// Restores alice from whichever of these brokers answer.
fn restore(world: &World, brokers: &[&Broker; 2]) -> Done {
    let key = world.path("kept.key").to_string_lossy().into_owned();
    let [one, other] = brokers.map(|broker| broker.address.as_str());
    let done = world.run("alice", &["--timeout", "3s", "init", "--restore", &key, "--broker", one, "--broker", other]);
    assert_eq!(done.code, 0, "{}{}", done.out, done.err);
    done
}

/// A record was deleted, and its tombstone purged, where one broker alone heard of it. The owner, who lost everything, went on from the
/// other one for long, and lost everything again: the deleted record came back to life, because the offset of the fork was not known.
#[test]
fn a_delete_that_one_broker_alone_knows_stands_after_the_state_was_lost_twice() {
    let world = World::new();
    let (mut first, mut second) = (world.broker("127.0.0.1:0", &[]), world.broker_in("other", "127.0.0.1:0", &[]));
    let (first_place, second_place) = (first.place().to_owned(), second.place().to_owned());
    world.ok("alice", &["init", "--broker", &first.address, "--broker", &second.address]);
    world.ok("bob", &["init"]);
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    key(&world);
    let (settings, file) = (world.path("alice/config.toml"), |text: &str| std::fs::write(world.path("alice/config.toml"), text));
    let one_receipt = std::fs::read_to_string(settings).expect("settings");
    file(&format!("receipts = 2\n{one_receipt}")).expect("written");
    ["/a", "/b", "/c", "/d"].into_iter().for_each(|path| put(&world, "alice", path, "1"));
    file(&one_receipt).expect("written");
    world.ok("bob", &["watch", "--once"]);
    second.process.end_with("KILL");

    world.ok("alice", &["rm", "/b"]);
    for number in ["1", "2", "3"] {
        put(&world, "alice", "/n", number);
        world.ok("bob", &["watch", "--once"]);
    }
    assert_eq!(own(&world, "alice")["live"], 4, "the tombstone is purged");
    first.process.end_with("KILL");
    lose_everything(&world);
    let second = world.broker_in("other", &second_place, &[]);
    restore(&world, &[&first, &second]);
    assert!(mine(&world, "alice").contains_key("/b"), "this broker never heard of the delete");
    // Terms that begin one after the other, since a broker cannot be compared with: only hashes will be left of their heads.
    ["1", "2", "3"].into_iter().for_each(|number| put(&world, "alice", "/m", number));
    lose_everything(&world);

    let first = world.broker(&first_place, &[]);
    let done = restore(&world, &[&first, &second]);
    let wanted = are(&[("/a", "1"), ("/c", "1"), ("/d", "1"), ("/m", "3"), ("/n", "3")]);
    assert_eq!(mine(&world, "alice"), wanted, "{}", done.out);
    assert_eq!(world.ok("alice", &["rescued", "ls"]), "", "what is known to be deleted needs no decision");
    let merged = own(&world, "alice")["merged"].clone();
    assert!(merged.as_array().is_some_and(|notes| notes.iter().all(|note| note["doubtful"] == 0)), "{merged}");
    put(&world, "alice", "/end", "1");
    world.run("bob", &["watch", "--once"]);
    assert_eq!(bobs(&world), mine(&world, "alice"));
}
