//! A round: load, a kill at a moment that nobody chose, a look at what the dead left, and everybody comes back.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::process::Process;
use super::scene::{Part, Scene, rank};
use crate::world::json;

/// Longest wait for receipts in a round.
const PROGRESS: Duration = Duration::from_secs(20);

/// What was done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Kills {
    pub(crate) broker: u64,
    pub(crate) owner: u64,
    pub(crate) reader: u64,
    /// Of these, those that killed all three at once.
    pub(crate) all_at_once: u64,
    /// Of these, those of a process that was only just starting.
    pub(crate) at_start: u64,
    /// Kills of an `apply` alone, whose owner went on.
    pub(crate) apply: u64,
}

impl Kills {
    pub(crate) fn add(&mut self, other: &Self) {
        self.broker += other.broker;
        self.owner += other.owner;
        self.reader += other.reader;
        self.all_at_once += other.all_at_once;
        self.at_start += other.at_start;
        self.apply += other.apply;
    }

    fn of(&mut self, part: Part) -> &mut u64 {
        match part {
            Part::Broker => &mut self.broker,
            Part::Owner => &mut self.owner,
            Part::Reader => &mut self.reader,
        }
    }
}

/// One round in a scene where everybody runs.
pub(crate) fn round(scene: &mut Scene, kills: &mut Kills) {
    let beside = beside(scene);
    await_moment(scene);
    if scene.chance.percent(15) && scene.owner_serves() {
        scene.exchange_apply();
        kills.apply += 1;
    }
    let victims = victims(scene);
    scene.kill(&victims);
    victims.iter().for_each(|part| *kills.of(*part) += 1);
    kills.all_at_once += u64::from(victims.len() == Part::ALL.len());
    look(scene, &victims);
    come_back(scene, victims, kills);
    if let Some((what, process)) = beside {
        heard(scene, what, process);
    }
}

/// Most rounds have some progress first, so that there is something to lose; the others kill who has hardly begun.
fn await_moment(scene: &mut Scene) {
    if scene.chance.percent(75) {
        let wanted = scene.witnessed.receipts + 1 + scene.chance.below(150);
        scene.load(PROGRESS, |scene| scene.witnessed.receipts >= wanted);
    }
    let moment = Duration::from_micros(scene.chance.below(80_000));
    scene.load(moment, |_| false);
}

fn victims(scene: &mut Scene) -> Vec<Part> {
    let mask = 1 + scene.chance.below(7);
    let mut victims: Vec<Part> =
        Part::ALL.into_iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, part)| part).collect();
    scene.chance.shuffle(&mut victims);
    victims
}

fn come_back(scene: &mut Scene, mut victims: Vec<Part>, kills: &mut Kills) {
    scene.chance.shuffle(&mut victims);
    for part in victims {
        while scene.chance.percent(20) {
            scene.stutter(part);
            *kills.of(part) += 1;
            kills.at_start += 1;
        }
        scene.start(part);
    }
}

/// What the dead left: no receipt lied, no head was signed twice, no acknowledgement fell or was more than what is kept. [P-3] [P-7] [P-15]
pub(crate) fn look(scene: &mut Scene, dead: &[Part]) {
    // In front of all others: the broker may go on.
    let stored = scene.stored_head();
    let (inspection, seen) = scene.inspection();
    let readers = inspection.readers(&scene.queue).expect("readable");
    stored.iter().for_each(|head| scene.witnessed.stored(head));
    let signed = format!("{:?} {} {} {} {}", seen.writer, seen.signed_at.value(), seen.offset, seen.live, seen.epoch);
    scene.witnessed.stands(seen.rank, signed);
    let acknowledged = readers.iter().find(|reader| reader.pseudonym == scene.bob).expect("bob has access").acknowledged;
    scene.witnessed.acknowledged("bob at the broker", acknowledged.unwrap_or_default());
    if dead.contains(&Part::Reader) && scene.chance.percent(30) {
        let follow = json(&scene.world.ok("bob", &["status", "--offline"]))["follows"][0].clone();
        scene.witnessed.reader_has(rank(&follow), acknowledged.unwrap_or_default());
    }
    if dead.contains(&Part::Owner) && scene.chance.percent(30) {
        let records = scene.records("alice", &["ls", "--offline"]);
        scene.written.found("the owner after a kill", &records);
    }
}

/// Something else that is asked of the owner while it is killed.
fn beside(scene: &mut Scene) -> Option<(&'static str, Process)> {
    if !scene.owner_serves() {
        return None;
    }
    match scene.chance.below(10) {
        0 | 1 => Some(("readers", scene.begin("alice", &["--timeout", "5s", "readers"]))),
        2 => {
            let card = json(&scene.world.ok("carol", &["id"]))["card"].as_str().expect("a card").to_owned();
            Some(("grant", scene.begin("alice", &["--timeout", "5s", "grant", &card, "--as", "carol"])))
        }
        3 => Some(("revoke", scene.begin("alice", &["--timeout", "5s", "revoke", "carol"]))),
        _ => None,
    }
}

/// It ends by itself, done or not; what a list said holds.
fn heard(scene: &mut Scene, what: &str, process: Process) {
    let (lines, _) = process.rest();
    if what != "readers" {
        return;
    }
    let readers = lines.iter().map(|line| json(line));
    for reader in readers.filter(|reader| reader["name"] == "bob" && !reader["acknowledged"].is_null()) {
        scene.witnessed.acknowledged("bob at the owner", rank(&reader["acknowledged"]));
    }
}
