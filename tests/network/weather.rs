//! Loss, repetition, disorder, damage and small packets: everything arrives, once, and as it was.

use std::time::Duration;

use super::lab::{Lab, Nodes, middle_and_longest, run};
use super::relay::{Seen, Way, Weather};
use crate::nodes::{LONG, put};
use crate::world::{World, json};

/// A path of a few milliseconds on which packets overtake each other.
const NEAR: (Duration, Duration) = (Duration::from_millis(3), Duration::from_millis(6));

/// Records that are written at once.
pub(crate) const AT_ONCE: usize = 200;

/// What writing over a path was like.
pub(crate) struct Written {
    /// From the write to the reader, seconds: the middle one and the longest.
    pub(crate) middle: f64,
    pub(crate) longest: f64,
    pub(crate) seen: Seen,
}

/// Connects, grants, and writes `single` records one after the other and [`AT_ONCE`] together, all in this weather.
pub(crate) fn write_in(seed: u64, way: Way, single: usize) -> Written {
    let lab = Lab::start(seed);
    lab.relay.weather(Weather::both(way));
    run(async {
        let nodes = Nodes::join(&lab).await;
        let mut times = Vec::new();
        for number in 0..single {
            times.push(nodes.hears(&format!("/{}", number % 7), &number.to_string(), LONG).await.1);
        }
        let many = (0..AT_ONCE).map(|number| put(&format!("/many/{number}"), &"x".repeat(number % 3_000)));
        nodes.owner.write(many.collect()).await.expect("written");
        nodes.agree(&format!("seed {seed}, {way:?}")).await;
        nodes.close().await;
        let (middle, longest) = middle_and_longest(times);
        Written { middle, longest, seen: lab.relay.seen() }
    })
}

/// The weathers that are measured, by name.
pub(crate) fn weathers() -> [(&'static str, Way); 5] {
    let near = Way { delay: NEAR, ..Way::default() };
    [
        ("ten_percent_loss", Way { lost: 10, ..near }),
        ("thirty_percent_loss", Way { lost: 30, ..near }),
        ("doubled_and_disordered", Way { doubled: 30, late: 30, ..near }),
        ("one_bit_in_ten_percent", Way { altered: 10, ..near }),
        ("everything", Way { lost: 10, doubled: 10, altered: 5, late: 20, longest: 1_300, ..near }),
    ]
}

#[test]
fn with_thirty_percent_lost_everything_arrives() {
    let written = write_in(1, weathers()[1].1, 15);
    assert!(written.seen.lost > 50, "{:?}", written.seen);
}

#[test]
fn what_comes_twice_and_in_any_order_has_one_effect() {
    let written = write_in(2, weathers()[2].1, 15);
    assert!(written.seen.doubled > 20 && written.seen.late > 20, "{:?}", written.seen);
}

#[test]
fn what_was_altered_on_the_way_is_nothing() {
    let written = write_in(3, weathers()[3].1, 15);
    assert!(written.seen.altered > 10, "{:?}", written.seen);
}

#[test]
fn in_all_weathers_at_once_everything_arrives() {
    let written = write_in(4, weathers()[4].1, 10);
    assert!(written.seen.lost > 10 && written.seen.doubled > 5 && written.seen.altered > 2, "{:?}", written.seen);
}

/// A tunnel that begins on the way makes packets smaller than those that went through before.
#[test]
fn a_path_that_carries_only_small_packets_from_now_on_is_no_hindrance() {
    let lab = Lab::start(5);
    run(async {
        let nodes = Nodes::join(&lab).await;
        let many = |folder: &str| (0..300).map(|number| put(&format!("/{folder}/{number}"), &"y".repeat(3_000))).collect();
        nodes.owner.write(many("before")).await.expect("written");
        nodes.agree("before").await;
        // QUIC asks for 1,200 bytes of every path.
        lab.relay.weather(Weather::both(Way { longest: 1_200, ..Way::default() }));
        nodes.owner.write(many("after")).await.expect("written");
        nodes.agree("after").await;
        nodes.close().await;
    });
    assert!(lab.relay.seen().too_long > 0, "{:?}", lab.relay.seen());
}

/// The same with the command at both ends.
#[test]
fn the_commands_of_owner_and_reader_work_with_thirty_percent_lost() {
    let lab = Lab::start(6);
    let world: &World = &lab.world;
    lab.relay.weather(Weather::both(weathers()[1].1));
    world.ok("alice", &["init", "--broker", &lab.address()]);
    world.ok("bob", &["init"]);
    world.ok("bob", &["follow", &world.invitation("bob"), "--as", "alice"]);
    for (path, value) in [("/a", "1"), ("/b", "2"), ("/a", "3")] {
        world.ok("alice", &["--timeout", "60s", "put", path, &world.file("value", value)]);
    }
    world.without_storage();
    let printed = world.ok("bob", &["--timeout", "60s", "watch", "--once"]);
    let changes = printed.lines().map(json).filter(|event| event["event"] == "change").count();
    assert_eq!(changes, 2, "{printed}");
    let record = json(&world.ok("bob", &["--timeout", "60s", "get", "alice:/a", "--fresh"]));
    assert_eq!(record["value"], "3");
    assert!(lab.relay.seen().lost > 10, "{:?}", lab.relay.seen());
}
