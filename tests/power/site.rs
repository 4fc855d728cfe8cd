//! A broker, an owner who writes and a reader who watches, each on a disk of its own whose power can be cut.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidings_broker::store::{RocksStore, Settings};

use super::desk::Desk;
use super::disk::{Disk, Keep, Operation};
use super::held::Held;
use super::ledger::{Ask, Ledger};
use super::process::Process;
use crate::world::{World, json, port};

/// How long a disk may do nothing before the power is cut without waiting for more.
const PATIENCE: Duration = Duration::from_millis(700);
/// Longest wait for anything.
const LONG: Duration = Duration::from_secs(90);

/// Who loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    /// Keeps the queue.
    Broker,
    /// Writes it.
    Owner,
    /// Follows it.
    Reader,
}

impl Party {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Broker, Self::Owner, Self::Reader];

    /// Folder of its disk, and what is in it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Broker => ("disk-broker", "disk-broker/data"),
            Self::Owner => ("disk-owner", "disk-owner/alice"),
            Self::Reader => ("disk-reader", "disk-reader/bob"),
        }
    }
}

/// All of it. What is declared first ends first.
pub(crate) struct Site {
    processes: BTreeMap<Party, Process>,
    feeder: Option<JoinHandle<()>>,
    disks: BTreeMap<Party, Disk>,
    desk: Arc<Desk>,
    listen: String,
    lives: u64,
    world: World,
}

impl Site {
    /// Makes all of it. `None` where no such disk can be.
    pub(crate) fn new(seed: u64) -> Option<Self> {
        let world = World::new();
        let mut disks = BTreeMap::new();
        for party in Party::ALL {
            disks.insert(party, Disk::mount(&world.path(party.names().0))?);
        }
        let desk = Desk::new(seed);
        let listen = format!("127.0.0.1:{}", port::steady());
        let mut site = Self { processes: BTreeMap::new(), feeder: None, disks, desk: Arc::new(desk), listen, lives: 0, world };
        site.furnish();
        Some(site)
    }

    fn furnish(&mut self) {
        let (told, hear) = std::sync::mpsc::channel();
        let lines = move |line: &str| drop(told.send(line.to_owned()));
        self.begin_broker(lines);
        let heard = hear.recv_timeout(LONG).expect("it listens");
        self.listen = heard.trim_start_matches("listening on ").to_owned();
        let address = hear.recv_timeout(LONG).expect("it has an address");
        let (owner, reader) = (Party::Owner.names().1, Party::Reader.names().1);
        self.world.ok(owner, &["init", "--broker", &address]);
        self.world.ok(reader, &["init"]);
        let card = json(&self.world.ok(reader, &["id"]))["card"].as_str().expect("a card").to_owned();
        let granted = json(&self.world.ok(owner, &["grant", &card, "--as", "bob"]));
        self.world.ok(reader, &["follow", granted["invitation"].as_str().expect("an invitation"), "--as", "alice"]);
    }

    /// The disk of a party.
    pub(crate) fn disk(&self, party: Party) -> &Disk {
        &self.disks[&party]
    }

    /// What was said.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.desk.ledger()
    }

    fn home(&self, party: Party) -> PathBuf {
        self.world.path(party.names().1)
    }

    /// Begins what of the three does not run.
    pub(crate) fn begin(&mut self) {
        for party in Party::ALL {
            if !self.processes.contains_key(&party) {
                match party {
                    Party::Broker => self.begin_broker(|_| {}),
                    Party::Owner => self.begin_owner(),
                    Party::Reader => self.begin_reader(),
                }
            }
        }
    }

    fn errors(&mut self, party: Party) -> PathBuf {
        self.lives += 1;
        self.world.path(&format!("{party:?}-{}", self.lives))
    }

    fn begin_broker(&mut self, hear: impl FnMut(&str) + Send + 'static) {
        let data = self.home(Party::Broker).to_string_lossy().into_owned();
        let command = self.world.command("nobody", &["--log", "warn", "broker", "--data", &data, "--listen", &self.listen]);
        let process = Process::begin(command, &self.errors(Party::Broker), hear);
        self.processes.insert(Party::Broker, process);
    }

    fn begin_owner(&mut self) {
        let mut command = self.world.command(Party::Owner.names().1, &["apply"]);
        command.stdin(Stdio::piped());
        self.desk.begin();
        let desk = self.desk.clone();
        let mut process = Process::begin(command, &self.errors(Party::Owner), move |line| desk.answered(&json(line)));
        let (desk, input) = (self.desk.clone(), process.input().expect("its input is open"));
        self.processes.insert(Party::Owner, process);
        self.feeder = Some(std::thread::spawn(move || desk.feed(input)));
    }

    fn begin_reader(&mut self) {
        let command = self.world.command(Party::Reader.names().1, &["watch"]);
        let desk = self.desk.clone();
        let process = Process::begin(command, &self.errors(Party::Reader), move |line| desk.ledger().printed(&json(line)));
        self.processes.insert(Party::Reader, process);
    }

    /// Cuts the power of some after so many changes and syncs of the first one's disk, and looks at what is left.
    pub(crate) fn cut(&mut self, parties: &[Party], steps: u64, keep: Keep, seed: u64) {
        self.disks[&parties[0]].stop_after(steps, PATIENCE);
        parties[1..].iter().for_each(|party| self.disks[party].stop());
        for party in parties {
            self.processes.get_mut(party).into_iter().for_each(Process::kill);
            self.disks[party].release();
        }
        for party in parties {
            self.end(*party);
            self.disks[party].cut(keep, seed);
        }
        parties.iter().for_each(|party| self.look_at(*party));
    }

    fn stop_feeding(&mut self) {
        self.desk.stop();
        self.feeder.take().into_iter().for_each(|feeder| feeder.join().expect("it feeds"));
    }

    /// Waits for the end of one that was killed. That it had ended before is a violation.
    fn end(&mut self, party: Party) {
        let Some(process) = self.processes.remove(&party) else { return };
        let (status, said) = process.wait();
        if party == Party::Owner {
            self.stop_feeding();
        }
        if std::os::unix::process::ExitStatusExt::signal(&status).is_none() {
            self.ledger().violate(format!("{party:?} ended by itself with {status}: {said}"));
        }
    }

    /// Looks at what a party that does not run has on its disk.
    pub(crate) fn look_at(&self, party: Party) {
        match party {
            Party::Broker => self.look_at_broker(),
            Party::Owner => {
                let found = self.export(Party::Owner, &["export", "/", "--offline"]);
                self.ledger().owner_has(&found);
            }
            Party::Reader => self.look_at_reader(),
        }
    }

    fn look_at_broker(&self) {
        match Held::read(&self.home(Party::Broker)) {
            Ok(held) => self.ledger().broker_has(held.newest, &held.heads, held.acknowledged),
            Err(error) => {
                keep_for_a_look(&self.home(Party::Broker).join("store"));
                self.ledger().violate(format!("the broker's folder does not open: {error}"));
            }
        }
    }

    /// What it told others that it has, it has.
    fn look_at_reader(&self) {
        let done = self.world.run(Party::Reader.names().1, &["status", "--offline"]);
        if done.code != 0 {
            return self.ledger().violate(format!("the reader's status: {}", done.err));
        }
        let number = json(&done.out)["follows"][0]["number"].as_u64().unwrap_or_default();
        // A broker that is about to end or to begin may not be readable for a moment.
        if let Ok(held) = Held::read(&self.home(Party::Broker))
            && held.acknowledged > number
        {
            self.ledger().violate(format!("the reader acknowledged {} and has {number}", held.acknowledged));
        }
    }

    /// All records of a home, by exporting them.
    fn export(&self, party: Party, arguments: &[&str]) -> BTreeMap<String, Vec<u8>> {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("records");
        let (last, first) = (place.to_string_lossy().into_owned(), arguments.len().min(2));
        let done = self.world.run(party.names().1, &[&arguments[..first], &[&last], &arguments[first..]].concat());
        if done.code != 0 {
            self.ledger().violate(format!("{party:?} {arguments:?}: {} {}", done.out, done.err));
        }
        let mut found = BTreeMap::new();
        collect(&place, &place, &mut found);
        found
    }

    /// Ends the broker before it syncs its log, and leaves its disk as it is.
    pub(crate) fn kill_broker_before_a_sync(&mut self) {
        let disk = &self.disks[&Party::Broker];
        disk.stop_at(Operation::Sync, ".log");
        self.processes.get_mut(&Party::Broker).into_iter().for_each(Process::kill);
        disk.release();
        self.end(Party::Broker);
    }

    /// Opens the broker's store as a broker does, and looks at what it holds.
    pub(crate) fn open_store(&self) {
        let opened = RocksStore::open(&self.home(Party::Broker).join("store"), &Settings::default());
        if let Err(error) = opened {
            return self.ledger().violate(format!("the broker's store does not open: {error:?}"));
        }
        drop(opened);
        self.look_at_broker();
    }

    /// Kills some and looks at what they left, with the power on.
    pub(crate) fn kill(&mut self, parties: &[Party]) {
        for party in parties {
            self.processes.get_mut(party).into_iter().for_each(Process::kill);
            self.end(*party);
            self.look_at(*party);
        }
    }

    /// Waits until so many lines were receipted, all in all.
    pub(crate) fn wait_for_receipts(&self, receipts: u64) {
        self.desk.wait_for_receipts(receipts, LONG);
    }

    /// Waits until the broker holds what a reader acknowledged.
    pub(crate) fn wait_for_acknowledgement(&self) {
        let deadline = Instant::now() + LONG;
        while !Held::read(&self.home(Party::Broker)).is_ok_and(|held| held.acknowledged > 1) {
            assert!(Instant::now() < deadline, "nothing is acknowledged");
        }
    }

    /// So many lines for a short `apply`; gives its results. The owner does not run meanwhile.
    pub(crate) fn apply(&self, lines: u64) -> Vec<String> {
        let asked: Vec<Ask> = (0..lines).map(|_| self.ledger().ask()).collect();
        let input: String = asked.iter().map(|ask| format!("{}\n", ask.line)).collect();
        let done = self.world.feed(Party::Owner.names().1, &["--timeout", "3s", "apply"], &input);
        let said: Vec<Value> = done.out.lines().map(json).collect();
        asked.iter().zip(&said).for_each(|(ask, said)| self.ledger().answered(ask, said));
        said.iter().map(|said| said["result"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Lets the owner in by the broker's list, and gives its name.
    pub(crate) fn allow_owner(&self) -> String {
        let did = json(&self.world.ok(Party::Owner.names().1, &["id"]))["did"].as_str().expect("a did").to_owned();
        self.world.ok("nobody", &["broker", "allow", &did, "--data", &self.home(Party::Broker).to_string_lossy()]);
        did
    }

    /// Who is on that list.
    pub(crate) fn admitted(&self) -> Vec<String> {
        let list = tidings_broker::server::AdmissionList::in_folder(&self.home(Party::Broker));
        list.owners().expect("readable").iter().map(ToString::to_string).collect()
    }

    /// Waits until the broker that runs has logged one of these words: of a failed publish at once, of a store that takes nothing within
    /// a second.
    pub(crate) fn wait_for_word_of_broker(&self, words: &[&str]) {
        let deadline = Instant::now() + LONG;
        loop {
            let said = self.processes[&Party::Broker].said();
            if words.iter().any(|words| said.contains(words)) {
                return;
            }
            assert!(Instant::now() < deadline, "{words:?} was not said: {said}");
            std::thread::yield_now();
        }
    }

    /// Lets everybody come to rest and compares them.
    pub(crate) fn settle(&mut self) {
        self.begin();
        self.stop_feeding();
        if let Some(owner) = self.processes.remove(&Party::Owner) {
            let (status, said) = owner.wait();
            // Refused deletes are failures of lines; that a broker came too late is made good below.
            if !matches!(status.code(), Some(0 | 1 | 5)) {
                self.ledger().violate(format!("the owner ended with {status}: {said}"));
            }
        }
        self.publish_all();
        self.processes.get_mut(&Party::Reader).into_iter().for_each(Process::kill);
        self.end(Party::Reader);
        self.watch_once();
        let own = self.export(Party::Owner, &["export", "/"]);
        let read = self.export(Party::Reader, &["export", "alice:", "--fresh"]);
        let mut ledger = self.ledger();
        ledger.owner_has(&own);
        ledger.reader_has(&own);
        if own != read {
            ledger.violate(format!("the views differ: {:?} and {:?}", own.keys(), read.keys()));
        }
        drop(ledger);
        self.look_at(Party::Broker);
        let evidence = self.home(Party::Reader).join("evidence");
        if fs::read_dir(evidence).is_ok_and(|mut files| files.next().is_some()) {
            self.ledger().violate("there is evidence against somebody");
        }
    }

    fn publish_all(&self) {
        let deadline = Instant::now() + LONG;
        loop {
            let done = self.world.run(Party::Owner.names().1, &["status"]);
            let own = if done.code == 0 { json(&done.out)["own"].clone() } else { Value::Null };
            let waits = ["unsigned", "unreceipted", "staged"].iter().any(|kind| own[kind] != 0);
            if own["losses"].as_array().is_some_and(|losses| !losses.is_empty()) {
                return self.ledger().violate(format!("the owner noted losses: {}", own["losses"]));
            }
            if !waits {
                return;
            }
            if Instant::now() > deadline {
                return self.ledger().violate(format!("what waits is not published: {own} {}", done.err));
            }
            self.world.run(Party::Owner.names().1, &["ls"]);
        }
    }

    fn watch_once(&self) {
        let done = self.world.run(Party::Reader.names().1, &["watch", "--once"]);
        let mut ledger = self.ledger();
        done.out.lines().for_each(|line| ledger.printed(&json(line)));
        if done.code != 0 {
            ledger.violate(format!("the reader does not catch up: {} {}", done.out, done.err));
        }
    }
}

/// Copies the files of a folder to where `TIDINGS_POWER_KEEP` says.
fn keep_for_a_look(folder: &Path) {
    let Some(to) = std::env::var_os("TIDINGS_POWER_KEEP").map(PathBuf::from) else { return };
    fs::create_dir_all(&to).expect("made");
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let _ = fs::copy(file.path(), to.join(file.file_name()));
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = format!("/{}", path.strip_prefix(root).expect("below").display());
            found.insert(name, fs::read(&path).expect("readable"));
        }
    }
}
