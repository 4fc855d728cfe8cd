//! The long tests: what they measure is written to `docs/evidence/network-lab.json`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::blackholes::{Away, Resumed, resume};
use super::lab::{Lab, middle_and_longest, run};
use super::relay::Rebind;
use super::weather::{AT_ONCE, weathers, write_in};
use super::{hostile, idle, mappings, restarts};
use crate::nodes::below;

/// Labs that run beside each other; most of the time they wait.
const BESIDE: u64 = 20;
/// Only a failing lab waits so long.
const LONGEST: Duration = Duration::from_secs(120);

#[test]
#[ignore = "takes a quarter of an hour: make network-lab"]
fn the_network_lab() {
    let mut figures = serde_json::Map::new();
    let mut note = |name: &str, figure: Value| {
        println!("{name}: {figure}");
        figures.insert(name.to_owned(), figure);
        write(&figures);
    };
    let idle = std::thread::spawn(ten_minutes);
    MEASURES.iter().for_each(|(name, measure)| note(name, measure()));
    note("ten_minutes_idle", idle.join().expect("measured"));
}

type Measure = (&'static str, fn() -> Value);

const MEASURES: &[Measure] = &[
    ("weather", weather),
    ("catch_up_with_changing_ports", || catch_ups(Rebind::Port)),
    ("catch_up_with_changing_addresses", || catch_ups(Rebind::Address)),
    ("both_directions_away", || json!([away(Away::Both, 5, 20), away(Away::Both, 15, 20), away(Away::Both, 60, 40)])),
    ("to_the_broker_away", || json!([away(Away::ToBroker, 60, 10)])),
    ("from_the_broker_away", || json!([away(Away::FromBroker, 60, 10)])),
    ("broker_killed_and_begun_again", restarted),
    ("broker_killed_and_away", killed),
    ("attack", attacked),
];

fn write(figures: &serde_json::Map<String, Value>) {
    let folder = crate::world::repository().join("docs/evidence");
    std::fs::create_dir_all(&folder).expect("the repository is writable");
    let whole = json!({ "made_by": "make network-lab", "unit": "seconds, where nothing else is said", "figures": figures });
    let text = serde_json::to_string_pretty(&whole).expect("plain data");
    std::fs::write(folder.join("network-lab.json"), text + "\n").expect("the repository is writable");
}

fn times(times: Vec<Duration>) -> Value {
    let trials = times.len();
    let (middle, longest) = middle_and_longest(times);
    json!({ "trials": trials, "p50": middle, "max": longest })
}

fn weather() -> Value {
    let singles = 100;
    let measured = weathers().into_iter().enumerate().map(|(seed, (name, way))| {
        let written = write_in(100 + seed as u64, way, singles);
        let seen = written.seen;
        let figure = json!({
            "single_writes": singles, "p50": written.middle, "max": written.longest, "written_at_once": AT_ONCE,
            "datagrams": { "up": seen.up, "down": seen.down, "lost": seen.lost, "doubled": seen.doubled, "altered": seen.altered, "late": seen.late, "too_long": seen.too_long },
            "connections": seen.connections,
        });
        (name.to_owned(), figure)
    });
    Value::Object(measured.collect())
}

fn catch_ups(rebind: Rebind) -> Value {
    let caught_up: Vec<_> = (0..25).map(|seed| run(mappings::catch_up(&Lab::start(200 + seed), rebind))).collect();
    let on_one = caught_up.iter().filter(|caught_up| caught_up.connections == 1).count();
    let changes: u64 = caught_up.iter().map(|caught_up| caught_up.changes).sum();
    let took = times(caught_up.iter().map(|caught_up| caught_up.took).collect());
    json!({ "took": took, "changes": changes, "on_one_connection": on_one })
}

/// Runs `count` trials, some beside each other, each in a lab of its own.
fn beside<T, F>(count: u64, trial: impl Fn(Lab) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut done = Vec::new();
    while (done.len() as u64) < count {
        let labs: Vec<Lab> = (0..BESIDE.min(count - done.len() as u64)).map(|_| Lab::start(below(u64::MAX))).collect();
        done.extend(run(async { labs.into_iter().map(&trial).collect::<JoinSet<T>>().join_all().await }));
    }
    done
}

fn away(away: Away, seconds: u64, count: u64) -> Value {
    let resumed = beside(count, |lab| async move {
        // Somewhere between what was said last and what would have been said next.
        let quiet = Duration::from_millis(below(1_000 * seconds.min(15)));
        resume(&lab, away, quiet, Duration::from_secs(seconds), LONGEST).await
    });
    let of = |time: fn(&Resumed) -> Duration| times(resumed.iter().map(time).collect());
    let initials = resumed.iter().map(|resumed| resumed.initials).max();
    json!({
        "away": seconds, "to_receipt": of(|resumed| resumed.receipt), "to_delivery": of(|resumed| resumed.delivery),
        "handshake_datagrams_of_both_nodes_max": initials,
    })
}

fn restarted() -> Value {
    times(beside(30, |mut lab| async move { restarts::heard_after_restart(&mut lab, Duration::from_millis(below(15_000))).await }))
}

fn killed() -> Value {
    times(beside(30, |mut lab| async move { restarts::noticed_after_kill(&mut lab, Duration::from_millis(below(15_000))).await }))
}

fn ten_minutes() -> Value {
    let quiet = Duration::from_secs(600);
    let mapping = Duration::from_secs(30);
    let heard = beside(10, |lab| async move { idle::heard_after(&lab, mapping, quiet).await });
    json!({ "idle": 600, "mapping": 30, "to_delivery": times(heard) })
}

fn attacked() -> Value {
    let attack = run(hostile::attack(&Lab::start(300), 20_000, 300));
    json!({
        "replayed_to_each_side": attack.replayed, "made_up_to_each_side": attack.made_up, "connections_opened_by_it": attack.connections,
        "broker_kib_before": attack.memory.0, "broker_kib_after": attack.memory.1,
    })
}
