//! Brokers that come, go, die and lag. [P-10] [P-13]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{are, bob_is_content, bobs, own, put};
use crate::world::{Broker, World, json};

/// Alice with a second broker, which has everything.
fn two_brokers(world: &World) -> (Broker, Broker) {
    let first = world.alice_and_bob();
    put(world, "alice", "/a", "1");
    bob_is_content(world);
    let second = world.broker_in("other", "127.0.0.1:0", &[]);
    let added = json(&world.ok("alice", &["brokers", "add", &second.address]));
    assert_eq!((&added["result"], state(world, &second)), (&"added".into(), "connected".to_owned()));
    (first, second)
}

fn state(world: &World, broker: &Broker) -> String {
    let listed = world.ok("alice", &["brokers", "ls"]);
    let listed = listed.lines().map(json).find(|line| line["address"] == broker.address.as_str());
    listed.map_or_else(String::new, |line| line["state"].as_str().expect("words").to_owned())
}

/// [P-10] A broker that was away lags and is brought on; one that lost everything is filled; readers ask the one that answers.
#[test]
fn with_two_brokers_one_may_die_lag_and_be_emptied_and_nobody_misses_anything() {
    let world = World::new();
    let (mut first, mut second) = two_brokers(&world);
    bob_is_content(&world);
    world.without_storage();
    let (first_place, second_place) = (first.place().to_owned(), second.place().to_owned());
    first.process.end_with("KILL");
    put(&world, "alice", "/while-away", "2");
    assert_eq!(state(&world, &first), "unreachable");
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/while-away", "2")]), "bob asks the second one");
    let mut first = world.broker(&first_place, &[]);
    put(&world, "alice", "/back", "3");
    world.ok("alice", &["status"]);
    second.process.end_with("KILL");
    world.without_storage();
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/back", "3"), ("/while-away", "2")]), "the first one was brought on");
    // Nothing but its key is left of the first one.
    first.process.end_with("KILL");
    let data = world.path("broker");
    let store = std::fs::read_dir(&data).expect("its folder").map(|entry| entry.expect("an entry").path());
    store.filter(|path| path.is_dir()).for_each(|folder| std::fs::remove_dir_all(folder).expect("it is ours"));
    let (first, mut second) = (world.broker(&first_place, &[]), world.broker_in("other", &second_place, &[]));
    put(&world, "alice", "/emptied", "4");
    assert_eq!(state(&world, &first), "connected");
    second.process.end_with("KILL");
    world.without_storage();
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/back", "3"), ("/emptied", "4"), ("/while-away", "2")]), "the first one was filled");
    bob_is_content(&world);
}

/// How often each state of each record was printed, until a catch-up with `/end`.
fn heard(watch: &mut crate::world::Running) -> BTreeMap<(String, u64, u64), u64> {
    let mut heard = BTreeMap::new();
    let mut end = false;
    loop {
        let line = watch.line();
        assert!(!line.is_empty(), "the watch ended");
        let event: Value = json(&line);
        assert!(!["withheld", "forked", "rewound", "denied"].contains(&event["verdict"].as_str().unwrap_or_default()), "{line}");
        if event["event"] == "change" {
            let number = |field: &str| event[field].as_u64().expect("a number");
            let path = event["path"].as_str().expect("a path").to_owned();
            end |= path == "/end";
            *heard.entry((path, number("term"), number("offset"))).or_default() += 1;
        }
        if end && event["event"] == "caught-up" {
            return heard;
        }
    }
}

/// [P-13] The queue moves while its reader watches: nothing is lost, nothing is printed twice, nobody is accused.
#[test]
fn a_reader_follows_a_queue_that_moves_to_another_broker() {
    let world = World::new();
    let first = world.alice_and_bob();
    put(&world, "alice", "/before", "1");
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.without_storage();
    let _up = world.up("alice");
    let second = world.broker_in("other", "127.0.0.1:0", &[]);
    world.ok("alice", &["brokers", "add", &second.address]);
    put(&world, "alice", "/between", "2");
    let removed = json(&world.ok("alice", &["brokers", "remove", first.place()]));
    assert_eq!((&removed["result"], &removed["informed"]), (&"removed".into(), &true.into()));
    put(&world, "alice", "/end", "3");
    let heard = heard(&mut watch);
    let paths: Vec<_> = heard.keys().map(|(path, _, _)| path.as_str()).filter(|path| *path != "/before").collect();
    assert_eq!(paths, ["/between", "/end"]);
    assert!(heard.values().all(|count| *count == 1), "{heard:?}");
    assert_eq!(world.ok("alice", &["brokers", "ls"]).lines().count(), 1);
    let config = std::fs::read_to_string(world.path("alice/config.toml")).expect("the settings");
    assert!(config.contains(&second.address) && !config.contains(&first.address), "{config}");
    assert_eq!(own(&world, "alice")["unreceipted"], 0);
}

/// [P-13] The first broker is alive and takes nothing of the owner any more. Its readers stayed there, with a view that was called stale
/// and nothing newer, although they knew the second one.
#[test]
fn a_broker_that_refuses_the_owner_is_left_by_its_readers() {
    let world = World::new();
    let (data, list) = (world.path("broker").to_string_lossy().into_owned(), ["--admit", "list"]);
    let (first, mut second) = (world.broker("127.0.0.1:0", &list), world.broker_in("other", "127.0.0.1:0", &[]));
    world.ok("alice", &["init", "--broker", &first.address, "--broker", &second.address]);
    let did = json(&world.ok("alice", &["id"]))["did"].as_str().expect("a did").to_owned();
    world.ok("nobody", &["broker", "allow", &did, "--data", &data]);
    follows(&world, "bob");
    put(&world, "alice", "/a", "1");
    bob_is_content(&world);
    second.process.end_with("KILL");
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.ok("nobody", &["broker", "deny", &did, "--data", &data]);
    let _second = world.broker_in("other", second.place(), &[]);
    put(&world, "alice", "/b", "2");
    world.wait_until("bob", |follow| (follow["offset"].as_u64(), &follow["detail"]) == (Some(2), &"".into()));
    drop(first);
    world.without_storage();
    put(&world, "alice", "/c", "3");
    world.wait_for("bob", 3, 0);
}

fn follows(world: &World, reader: &str) {
    world.ok(reader, &["init"]);
    world.ok(reader, &["follow", &world.invitation(reader), "--as", "alice"]);
}

/// [P-13] A reader was told of the new broker together with the last head of the old one, and asked the storage first, which had nothing:
/// every third of those that asked once failed.
#[test]
fn who_was_away_while_the_queue_moved_asks_the_new_broker() {
    let world = World::new();
    let first = world.alice_and_bob();
    let readers: Vec<_> = (0..8).map(|number| format!("reader-{number}")).collect();
    readers.iter().for_each(|reader| follows(&world, reader));
    put(&world, "alice", "/a", "1");
    readers.iter().for_each(|reader| drop(world.ok(reader, &["watch", "--once"])));
    let second = world.broker_in("other", "127.0.0.1:0", &[]);
    world.ok("alice", &["brokers", "add", &second.address]);
    world.ok("alice", &["brokers", "remove", first.place()]);
    put(&world, "alice", "/b", "2");
    world.without_storage();
    for reader in &readers {
        assert!(world.ok(reader, &["watch", "--once"]).contains("/b"), "{reader}");
    }
}

#[test]
fn a_broker_that_does_not_answer_is_left_only_by_force_and_the_last_one_too() {
    let world = World::new();
    let (mut first, second) = two_brokers(&world);
    first.process.end_with("KILL");
    let refused = world.run("alice", &["brokers", "remove", first.place()]);
    assert_eq!(refused.exit_and_effect(), (5, "none".to_owned()), "{}", refused.err);
    world.ok("alice", &["brokers", "remove", first.place(), "--force"]);
    assert_eq!(state(&world, &first), "");
    let last = world.run("alice", &["brokers", "remove", second.place()]);
    assert_eq!(last.exit_and_effect(), (1, "none".to_owned()), "{}", last.err);
    put(&world, "alice", "/b", "2");
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/b", "2")]));
    let unknown = world.run("alice", &["brokers", "remove", "nowhere:1"]);
    assert_eq!(unknown.exit_and_effect(), (1, "none".to_owned()), "{}", unknown.err);
}

/// `receipts = 2`: one broker that has it is not enough.
#[test]
fn a_change_counts_as_published_when_as_many_brokers_have_it_as_the_settings_say() {
    let world = World::new();
    let (mut first, _second) = two_brokers(&world);
    let config = world.path("alice/config.toml");
    let text = std::fs::read_to_string(&config).expect("the settings");
    std::fs::write(&config, format!("receipts = 2\n{text}")).expect("the folder is writable");
    put(&world, "alice", "/both", "2");
    let place = first.place().to_owned();
    first.process.end_with("KILL");
    let done = world.feed("alice", &["--timeout", "6s", "put", "/one", "-"], "3");
    assert_eq!(done.exit_and_effect(), (5, "done".to_owned()), "{}", done.err);
    let _first = world.broker(&place, &[]);
    put(&world, "alice", "/again", "4");
    assert_eq!(own(&world, "alice")["unreceipted"], 0);
}

fn config(world: &World) -> String {
    std::fs::read_to_string(world.path("alice/config.toml")).expect("the settings")
}

/// The brokers in the settings: of `known` those that are there.
fn configured(world: &World, known: &[&Broker]) -> Vec<bool> {
    let config = config(world);
    known.iter().map(|broker| config.contains(&broker.address)).collect()
}

/// An owner that is killed within `brokers add`, or whose settings a person edits, has a broker that no reader was told of; a repetition
/// was refused. [P-13]
#[test]
fn a_broker_that_is_only_in_the_settings_is_told_to_readers_at_the_next_start() {
    let world = World::new();
    let mut first = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    bob_is_content(&world);
    let second = world.broker_in("other", "127.0.0.1:0", &[]);
    let both = config(&world).replace("brokers = [", &format!("brokers = [\n    \"{}\",", second.address));
    std::fs::write(world.path("alice/config.toml"), both).expect("the folder is writable");
    put(&world, "alice", "/b", "2");
    let head = own(&world, "alice")["head"].clone();
    bob_is_content(&world);
    let kept = json(&world.ok("alice", &["brokers", "add", &second.address]));
    assert_eq!((&kept["result"], own(&world, "alice")["head"].clone()), (&"kept".into(), head), "it was told once");
    first.process.end_with("KILL");
    put(&world, "alice", "/c", "3");
    world.without_storage();
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/b", "2"), ("/c", "3")]));
}

/// Both wrote one draft of the settings, and one of them was told of a failure after it had written.
#[test]
fn of_two_brokers_that_are_added_at_once_both_are_there() {
    let world = World::new();
    let first = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    let _up = world.up("alice");
    let (second, third) = (world.broker_in("second", "127.0.0.1:0", &[]), world.broker_in("third", "127.0.0.1:0", &[]));
    let adding: Vec<_> = [&second, &third].map(|broker| world.begin("alice", &["brokers", "add", &broker.address])).into();
    for mut add in adding {
        assert_eq!((json(&add.line())["result"].clone(), add.wait().code()), ("added".into(), Some(0)));
    }
    assert_eq!(configured(&world, &[&first, &second, &third]), [true; 3]);
    assert_eq!([&first, &second, &third].map(|broker| state(&world, broker)), ["connected"; 3]);
}

/// The node went on with the move, and the settings kept the broker that it had left: the next start named it again. And as long as it
/// was waited for, nothing was published. [P-13]
#[cfg(unix)]
#[test]
fn a_removal_whose_caller_is_gone_is_carried_out_and_holds_nobody_up_for_long() {
    let world = World::new();
    let (first, second) = two_brokers(&world);
    let _up = world.up("alice");
    wait_for(|| state(&world, &first) == "connected");
    let sent = std::process::Command::new("sh").arg("-c").arg(format!("kill -STOP {}", first.process.pid())).status();
    assert!(sent.expect("a shell").success());
    let mut remove = world.begin("alice", &["brokers", "remove", first.place()]);
    // Those that are left are listed last.
    wait_for(|| json(world.ok("alice", &["brokers", "ls"]).lines().next().expect("a line"))["address"] == second.address.as_str());
    remove.end_with("KILL");
    let began = Instant::now();
    put(&world, "alice", "/meanwhile", "2");
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    wait_for(|| configured(&world, &[&first, &second]) == [false, true]);
    assert_eq!(world.ok("alice", &["brokers", "ls"]).lines().count(), 1);
}

fn wait_for(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not come to it");
    }
}

/// The invitation of the first day was given out for ever, and no other one was taken. [P-13]
#[test]
fn a_reader_that_missed_a_move_follows_with_an_invitation_of_now() {
    let world = World::new();
    let (mut first, _second) = two_brokers(&world);
    let old = world.invitation("bob");
    world.ok("alice", &["brokers", "remove", first.place()]);
    first.process.end_with("KILL");
    put(&world, "alice", "/b", "2");
    world.without_storage();
    let new = world.invitation("bob");
    assert_ne!(new, old);
    let taken = json(&world.ok("bob", &["follow", &new]));
    assert_eq!(taken["result"], "renewed");
    assert_eq!(bobs(&world), are(&[("/a", "1"), ("/b", "2")]));
}

/// [P-17] Who is granted again goes on with what it holds, while it watches.
#[test]
fn a_reader_that_was_denied_takes_a_new_invitation_without_an_end_of_the_follow() {
    let world = World::new();
    let _broker = world.alice_and_bob();
    put(&world, "alice", "/a", "1");
    let mut watch = world.begin("bob", &["watch"]);
    watch.event("caught-up");
    world.ok("alice", &["revoke", "bob"]);
    while watch.event("verdict")["verdict"] != "denied" {}
    put(&world, "alice", "/b", "2");
    world.ok("bob", &["follow", &world.invitation("bob")]);
    assert_eq!(watch.event("change")["path"], "/b");
    world.put("/c", "3");
    assert_eq!(watch.event("change")["path"], "/c");
}

/// Readers were told of as many brokers as found room, and nobody was told of that.
#[test]
fn a_broker_that_readers_cannot_be_told_of_is_refused() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    let other = |port: u16| broker.address.replace(broker.place(), &format!("a-broker-with-a-long-name.example:{port}"));
    let (one, two, three) = (other(1), other(2), other(3));
    let all = ["--broker", &broker.address, "--broker", &one, "--broker", &two, "--broker", &three];
    let crowded = world.run("alice", &[&["init"], &all[..]].concat());
    assert_eq!(crowded.exit_and_effect(), (2, "none".to_owned()), "{}", crowded.err);
    world.ok("alice", &[&["init"], &all[..4]].concat());
    let before = config(&world);
    let long = broker.address.replace(broker.place(), &format!("{0}.{0}.{0}.example:4", "b".repeat(50)));
    let refused = world.run("alice", &["brokers", "add", &long]);
    assert_eq!(refused.exit_and_effect(), (1, "none".to_owned()), "{}", refused.err);
    assert!(refused.error().contains("readers are told at most 512"), "{}", refused.err);
    assert_eq!(config(&world), before);
}

/// Two identities at one place.
#[test]
fn a_place_that_means_two_brokers_is_said_to_be_ambiguous() {
    let world = World::new();
    let broker = world.broker("127.0.0.1:0", &[]);
    world.ok("alice", &["init", "--broker", &broker.address]);
    let (pin, rest) = broker.address.split_once("pin=").map(|(_, pin)| pin.split_at(pin.find('&').unwrap_or(pin.len()))).expect("a pin");
    let twin = broker.address.replace(&format!("pin={pin}{rest}"), &format!("pin={}{rest}", "A".repeat(pin.len())));
    let text = config(&world).replace("brokers = [", &format!("brokers = [\n    \"{twin}\","));
    std::fs::write(world.path("alice/config.toml"), text).expect("the folder is writable");
    let refused = world.run("alice", &["brokers", "remove", broker.place()]);
    assert_eq!(refused.exit_and_effect(), (1, "none".to_owned()), "{}", refused.err);
    assert!(refused.error().contains("more than one"), "{}", refused.err);
}
