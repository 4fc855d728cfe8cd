//! One world: a broker, an owner who writes, a reader who watches; who is killed comes back in the same folders.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings_broker::inspect::{Inspection, SeenQueue, inspect};
use tidings_core::storage_index::StorageHead;
use tidings_core::{Object, SignedHead};
use tidings_proto::{HeadNumber, HeadRank, Pseudonym, QueueId, Term};

use super::chance::Chance;
use super::load;
use super::printed::Printed;
use super::process::{LONG, Process};
use super::witnessed::Witnessed;
use super::written::{Records, Written};
use crate::world::{World, json};

/// Lines that the owner has not answered; more are not given to it.
const IN_FLIGHT: u64 = 200;
/// Between two looks at who prints.
const GLANCE: Duration = Duration::from_millis(2);

/// Who can be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Broker,
    Owner,
    Reader,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Broker, Self::Owner, Self::Reader];
}

/// The owner's processes. Without `up`, `apply` runs the node itself.
#[derive(Default)]
struct Owner {
    up: Option<Process>,
    apply: Option<Process>,
    /// Counts the `apply`s.
    life: u32,
    given: u64,
    answered: u64,
}

impl Owner {
    /// Both: an `apply` whose node ends before it began to use it would run the node itself.
    fn kill(&mut self) {
        self.up.iter_mut().chain(&mut self.apply).for_each(Process::kill);
    }
}

/// The world, what runs in it and what was seen there.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) chance: Chance,
    pub(crate) written: Written,
    pub(crate) printed: Printed,
    pub(crate) witnessed: Witnessed,
    pub(crate) queue: QueueId,
    /// Bob's key at the broker.
    pub(crate) bob: Pseudonym,
    place: String,
    broker: Option<Process>,
    owner: Owner,
    reader: Option<Process>,
    lines: u64,
}

impl Scene {
    /// Everybody runs and nothing is written.
    pub(crate) fn new(seed: u64) -> Self {
        let world = World::new();
        let broker = world.alice_and_bob();
        let place = broker.place().to_owned();
        world.ok("carol", &["init"]);
        drop(broker);
        let inspection = inspect(&world.path("broker")).expect("readable");
        let queue = inspection.queues().next().expect("a queue").expect("readable");
        let readers = inspection.readers(&queue).expect("readable");
        let bob = readers.iter().find(|reader| !reader.owner).expect("bob was granted").pseudonym;
        let mut scene = Self {
            world,
            chance: Chance::new(seed),
            written: Written::default(),
            printed: Printed::default(),
            witnessed: Witnessed::default(),
            queue,
            bob,
            place,
            broker: None,
            owner: Owner::default(),
            reader: None,
            lines: 0,
        };
        Part::ALL.iter().for_each(|part| scene.start(*part));
        scene
    }

    /// Begins a part; of the owner one of the ways in which it can run.
    pub(crate) fn start(&mut self, part: Part) {
        match part {
            Part::Broker => self.broker = Some(self.serving()),
            Part::Reader => self.reader = Some(self.begin("bob", &["watch"])),
            Part::Owner if self.chance.percent(50) => {
                let up = self.begin("alice", &["up"]);
                assert!(up.said().is_some_and(|line| line.contains("did:key:")), "alice does not come up");
                self.owner.up = Some(up);
                self.apply();
            }
            Part::Owner => self.apply(),
        }
    }

    /// Begins a part, which is killed before it could say anything, and what it said nevertheless.
    pub(crate) fn stutter(&mut self, part: Part) {
        let lives = Duration::from_micros(self.chance.below(60_000));
        match part {
            Part::Broker => self.broker = Some(self.begin_broker()),
            Part::Reader => self.reader = Some(self.begin("bob", &["watch"])),
            Part::Owner => {
                self.apply();
                self.give();
            }
        }
        // A kill at any moment of a start.
        std::thread::sleep(lives);
        self.kill(&[part]);
    }

    /// Only who lends an owner that runs for others its lines is killed, and another one comes.
    pub(crate) fn exchange_apply(&mut self) {
        if self.owner.up.is_some()
            && let Some(mut apply) = self.owner.apply.take()
        {
            apply.kill();
            self.last_answers(apply);
            self.apply();
        }
    }

    /// Whether the owner's node runs for others too.
    pub(crate) fn owner_serves(&self) -> bool {
        self.owner.up.is_some()
    }

    /// All at once.
    pub(crate) fn kill(&mut self, parts: &[Part]) {
        for part in parts {
            match part {
                Part::Broker => self.broker.as_mut().expect("it runs").kill(),
                Part::Reader => self.reader.as_mut().expect("it runs").kill(),
                Part::Owner => self.owner.kill(),
            }
        }
        for part in parts {
            self.bury(*part);
        }
    }

    /// Waits for the end of who was killed and looks at all that it printed.
    fn bury(&mut self, part: Part) {
        match part {
            Part::Broker => drop(self.broker.take()),
            Part::Owner => {
                drop(self.owner.up.take());
                let apply = self.owner.apply.take().expect("it runs");
                self.last_answers(apply);
            }
            Part::Reader => {
                let (lines, _) = self.reader.take().expect("it runs").rest();
                lines.iter().for_each(|line| self.printed.take(&json(line), &self.written));
                self.printed.killed();
            }
        }
    }

    /// Gives lines and takes answers until it is so, or `patience` is over.
    pub(crate) fn load(&mut self, patience: Duration, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && !is_so(self) {
            while self.owner.given < self.owner.answered + IN_FLIGHT {
                self.give();
            }
            self.listen(GLANCE);
        }
    }

    /// No more lines: waits until every line that was given is answered.
    pub(crate) fn finish_lines(&mut self) {
        let mut apply = self.owner.apply.take().expect("it runs");
        apply.end_input();
        self.last_answers(apply);
        if self.owner.given != self.owner.answered {
            self.written.violations.push(format!("{} lines and {} answers", self.owner.given, self.owner.answered));
        }
        if self.owner.up.is_none() {
            let up = self.begin("alice", &["up"]);
            assert!(up.said().is_some(), "alice does not come up");
            self.owner.up = Some(up);
        }
    }

    /// Ends the reader as a person does.
    pub(crate) fn finish_watch(&mut self) {
        let watch = self.reader.take().expect("it runs");
        watch.interrupt();
        let (lines, status) = watch.rest();
        lines.iter().for_each(|line| self.printed.take(&json(line), &self.written));
        assert!(status.success(), "the watch failed");
    }

    /// What a listing shows.
    pub(crate) fn records(&self, node: &str, arguments: &[&str]) -> Records {
        let listed = self.world.ok(node, arguments);
        let text = |record: &Value, field: &str| record[field].as_str().expect("a text").to_owned();
        listed.lines().map(json).map(|record| (text(&record, "path"), text(&record, "hash"))).collect()
    }

    /// What stands at the broker, also if it is dead.
    pub(crate) fn inspection(&self) -> (Inspection, SeenQueue) {
        let inspection = inspect(&self.world.path("broker")).expect("readable");
        let seen = inspection.queue(&self.queue).expect("readable").expect("there");
        (inspection, seen)
    }

    /// The head that the owner's storage shows, if it shows one.
    pub(crate) fn stored_head(&self) -> Option<SignedHead> {
        let queue = data_encoding::HEXLOWER.encode(self.queue.bytes());
        let bytes = std::fs::read(self.world.path("alice/storage/q").join(queue).join("head")).ok()?;
        Some(StorageHead::decode(&bytes).expect("a head object is whole").head)
    }

    /// Whether something contradicts a promise already.
    pub(crate) fn has_failed(&self) -> bool {
        [&self.written.violations, &self.printed.violations, &self.witnessed.violations].into_iter().any(|list| !list.is_empty())
    }

    /// Copies everything into the folder that `TIDINGS_KILL_KEEP` names, if it names one.
    pub(crate) fn keep(&self, seed: u64) {
        if let Some(folder) = std::env::var_os("TIDINGS_KILL_KEEP") {
            let to = PathBuf::from(folder).join(format!("seed-{seed}"));
            let _ = std::process::Command::new("cp").arg("-r").arg(self.world.path("")).arg(to).status();
        }
    }

    /// Begins a command.
    pub(crate) fn begin(&self, node: &str, arguments: &[&str]) -> Process {
        Process::begin(self.world.command(node, arguments), &self.log(node))
    }

    /// Standard error of a node.
    fn log(&self, node: &str) -> PathBuf {
        self.world.path(&format!("{node}.log"))
    }

    fn begin_broker(&self) -> Process {
        let data = self.world.path("broker").to_string_lossy().into_owned();
        self.begin("nobody", &["broker", "--data", &data, "--listen", &self.place])
    }

    /// One that listens. While a part was dead, somebody else's socket may have got its port for a while.
    fn serving(&self) -> Process {
        let deadline = Instant::now() + LONG;
        loop {
            let broker = self.begin_broker();
            if broker.said().is_some() && broker.said().is_some() {
                return broker;
            }
            assert!(Instant::now() < deadline, "the broker does not come back");
        }
    }

    fn apply(&mut self) {
        let mut command = self.world.command("alice", &["apply"]);
        command.stdin(std::process::Stdio::piped());
        let apply = Process::begin(command, &self.log("alice"));
        self.owner = Owner { up: self.owner.up.take(), apply: Some(apply), life: self.owner.life + 1, given: 0, answered: 0 };
    }

    fn give(&mut self) {
        self.lines += 1;
        let line = load::line(self.lines, &mut self.chance, &self.written);
        self.owner.given += 1;
        self.written.give((self.owner.life, self.owner.given), &line.path, line.hash);
        assert!(self.owner.apply.as_mut().expect("it runs").feed(&line.text), "apply ended by itself");
    }

    /// Looks at what was printed; waits `patience` for an answer.
    fn listen(&mut self, patience: Duration) {
        let mut next = self.owner.apply.as_ref().expect("it runs").line(patience);
        while let Some(line) = next {
            self.answered(&line);
            next = self.owner.apply.as_ref().expect("it runs").line(Duration::ZERO);
        }
        while let Some(line) = self.reader.as_ref().and_then(|reader| reader.line(Duration::ZERO)) {
            self.printed.take(&json(&line), &self.written);
        }
    }

    fn last_answers(&mut self, apply: Process) {
        apply.rest().0.iter().for_each(|line| self.answered(line));
    }

    fn answered(&mut self, line: &str) {
        let answer = json(line);
        self.owner.answered += 1;
        let at = (self.owner.life, answer["line"].as_u64().expect("a line"));
        self.written.answered(at, answer["result"].as_str().expect("a result"));
        if answer["result"] == "receipted" {
            self.witnessed.receipt(rank(&answer));
        }
    }
}

/// Term and number in a line.
pub(crate) fn rank(line: &Value) -> HeadRank {
    let number = |field: &str| line[field].as_u64().expect("a number");
    HeadRank { term: Term::new(number("term")), number: HeadNumber::new(number("number")) }
}
