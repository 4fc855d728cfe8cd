//! The loop: one queue of events in virtual time, one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use tidings_broker::store::Store;
use tidings_core::history::NodeIndex;
use tidings_core::key::NodeKey;
use tidings_core::{Acknowledgement, Reader};
use tidings_proto::{HeadRank, Reply, Request};

use crate::broker::SimBroker;
use crate::net::{Client, Conn, Frame, Net};
use crate::owner::SimOwner;
use crate::paper::Dice;
use crate::reader::{SimReader, Took};

/// Milliseconds of trouble; after it nothing fails any more.
const TROUBLE: u64 = 20_000;
/// By then everybody must have everything.
const END: u64 = 60_000;

#[derive(Clone, Debug)]
enum Event {
    Publish(usize),
    Connect(Client),
    Arrive(Conn, Frame),
    Commit,
    Step(Conn),
    HandOut(usize),
    Acknowledge(usize),
    CrashBroker,
    /// A broker whose store will not take anything any more stops and is started again.
    Stop,
    CrashOwner(usize),
    CrashReader(usize),
    Cut(Client),
    Fail,
}

/// What happened in one run, or in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    pub(crate) crashes: u64,
    pub(crate) receipts: u64,
    pub(crate) accepted: u64,
    pub(crate) bitmaps: u64,
    pub(crate) behind: u64,
    /// Hash over all events; equal for equal seeds.
    pub(crate) trace: [u8; 32],
}

impl Outcome {
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.crashes += other.crashes;
        self.receipts += other.receipts;
        self.accepted += other.accepted;
        self.bitmaps += other.bitmaps;
        self.behind += other.behind;
    }
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    dice: Dice,
    now: u64,
    order: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    net: Net,
    broker: SimBroker,
    owners: Vec<SimOwner>,
    readers: Vec<(usize, SimReader)>,
    commit_due: bool,
    outcome: Outcome,
    trace: Vec<u8>,
    /// `TIDINGS_SIM_TRACE` is set: print every event.
    told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut owners: Vec<_> = (1..=2).map(|number| SimOwner::new(seed * 2 + number)).collect();
        let mut readers = Vec::new();
        for number in 0..3 {
            let of = dice.roll(2) as usize;
            let key = NodeKey::from_seed([100 + number; 32]);
            let grant = owners[of].grant(&key);
            let reader = Reader::join(owners[of].owner().writer.descriptor().clone(), &grant, &key).expect("a grant of this reader");
            readers.push((of, SimReader::new(Arc::new(key), reader)));
        }
        let broker = SimBroker::new(seed);
        let mut world = Self {
            dice,
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            net: Net::default(),
            broker,
            owners,
            readers,
            commit_due: false,
            outcome: Outcome::default(),
            trace: Vec::new(),
            told: std::env::var_os("TIDINGS_SIM_TRACE").is_some(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for owner in 0..self.owners.len() {
            self.soon(500, Event::Connect(Client::Owner(owner)));
            self.soon(500, Event::Publish(owner));
            self.soon(TROUBLE, Event::CrashOwner(owner));
        }
        for reader in 0..self.readers.len() {
            self.soon(5_000, Event::Connect(Client::Reader(reader)));
            self.soon(TROUBLE, Event::CrashReader(reader));
        }
        self.soon(4_000, Event::CrashBroker);
        self.soon(4_000, Event::Fail);
    }

    fn soon(&mut self, within: u64, event: Event) {
        let at = self.now + 1 + self.dice.roll(within);
        self.at(at, event);
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    /// Runs to the end and gives what happened; panics where a promise is broken.
    pub(crate) fn run(mut self) -> Outcome {
        while let Some(Reverse(next)) = self.events.pop().filter(|next| next.0.at < END) {
            self.now = next.at;
            self.outcome.events += 1;
            self.note(&next.event);
            self.handle(next.event);
        }
        self.check_end();
        self.outcome.trace = blake(&self.trace);
        self.outcome
    }

    fn note(&mut self, event: &Event) {
        let line = format!("{} {event:?}\n", self.now);
        if self.told {
            eprint!("{line}");
        }
        self.trace.extend_from_slice(&blake(line.as_bytes()));
        if self.trace.len() > 1 << 16 {
            self.trace = blake(&self.trace).to_vec();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Publish(owner) => self.publish(owner),
            Event::Connect(client) => self.connect(client),
            Event::Arrive(conn, Frame::Up(request)) => self.arrive_up(conn, request),
            Event::Arrive(conn, Frame::Down(reply)) => self.arrive_down(conn, &reply),
            Event::Commit => self.commit(),
            Event::Step(conn) => self.step(conn),
            Event::HandOut(reader) => {
                self.readers[reader].1.hand_out();
                self.soon(200, Event::Acknowledge(reader));
            }
            Event::Acknowledge(reader) => self.acknowledge(reader),
            Event::CrashBroker | Event::CrashOwner(_) | Event::CrashReader(_) if !self.trouble() => {}
            Event::CrashBroker => {
                self.crash_broker();
                self.soon(4_000, Event::CrashBroker);
            }
            Event::CrashOwner(owner) => {
                self.crash_owner(owner);
                self.soon(5_000, Event::CrashOwner(owner));
            }
            Event::CrashReader(reader) => {
                self.crash_reader(reader);
                self.soon(5_000, Event::CrashReader(reader));
            }
            Event::Stop if self.broker.doomed => self.crash_broker(),
            Event::Stop => {}
            Event::Cut(client) => self.cut(client),
            Event::Fail if self.trouble() => {
                self.broker.fail_next(&mut self.dice);
                self.soon(6_000, Event::Fail);
            }
            Event::Fail => {}
        }
    }

    fn trouble(&self) -> bool {
        self.now < TROUBLE
    }

    fn publish(&mut self, owner: usize) {
        if !self.trouble() {
            return;
        }
        let dies = self.dice.chance(5);
        self.owners[owner].publish(&mut self.dice, dies);
        if dies {
            self.crash_owner(owner);
        }
        self.send_publishes(owner);
        let pace = if self.dice.chance(50) { 60 } else { 1_500 };
        self.soon(pace, Event::Publish(owner));
    }

    fn send_publishes(&mut self, owner: usize) {
        let Some(conn) = self.owners[owner].conn else { return };
        for request in self.owners[owner].unsent() {
            self.send(conn, Frame::Up(request));
        }
    }

    fn send(&mut self, conn: Conn, frame: Frame) {
        let slow = if self.dice.chance(10) { 1_000 } else { 30 };
        let at = self.now + 1 + self.dice.roll(slow);
        if let Some(at) = self.net.arrival(conn, &frame, at) {
            self.at(at, Event::Arrive(conn, frame));
        }
        // A lost packet is delay to a stream; a path that is gone for long is a lost connection.
        if self.trouble()
            && self.dice.chance(1)
            && let Some(client) = self.net.client(conn)
        {
            self.soon(50, Event::Cut(client));
        }
    }

    fn connect(&mut self, client: Client) {
        let conn = self.net.open(client);
        let hello = match client {
            Client::Owner(owner) => self.owners[owner].open(conn),
            Client::Reader(reader) => self.readers[reader].1.subscribe(conn),
        };
        self.send(conn, Frame::Up(hello));
    }

    fn arrive_up(&mut self, conn: Conn, request: Request) {
        if !self.net.served(conn) {
            return;
        }
        let publish = matches!(request, Request::Publish(_));
        for reply in self.broker.take(conn, request) {
            self.send(conn, Frame::Down(reply));
        }
        if publish && !self.commit_due {
            self.commit_due = true;
            self.soon(40, Event::Commit);
        }
        self.wake();
    }

    fn commit(&mut self) {
        self.commit_due = false;
        for (conn, reply) in self.broker.commit(self.now) {
            self.send(conn, Frame::Down(reply));
        }
        self.wake();
        if self.broker.doomed {
            self.soon(300, Event::Stop);
        }
    }

    fn wake(&mut self) {
        for conn in std::mem::take(&mut self.broker.busy) {
            self.soon(20, Event::Step(conn));
        }
    }

    fn step(&mut self, conn: Conn) {
        self.broker.busy.insert(conn);
        if let Some(reply) = self.broker.step(conn, &mut self.dice) {
            self.send(conn, Frame::Down(reply));
        }
        if self.broker.busy.remove(&conn) {
            self.soon(20, Event::Step(conn));
        }
    }

    fn arrive_down(&mut self, conn: Conn, reply: &Reply) {
        match self.net.client(conn) {
            Some(Client::Owner(owner)) => self.answer_owner(owner, conn, reply),
            Some(Client::Reader(reader)) => self.answer_reader(reader, conn, reply),
            None => {}
        }
    }

    fn answer_owner(&mut self, owner: usize, conn: Conn, reply: &Reply) {
        self.outcome.receipts += u64::from(matches!(reply, Reply::Receipt(_)));
        let key = self.broker.receipt_key();
        if self.owners[owner].conn != Some(conn) {
            return;
        }
        if self.owners[owner].take(reply, &key) {
            self.send_publishes(owner);
        } else {
            self.cut(Client::Owner(owner));
        }
    }

    fn answer_reader(&mut self, reader: usize, conn: Conn, reply: &Reply) {
        let commit = self.dice.chance(50);
        match self.readers[reader].1.take(reply, commit) {
            Took::Nothing => {}
            Took::Ask => {
                self.outcome.bitmaps += 1;
                self.send(conn, Frame::Up(Request::AskBitmap));
            }
            Took::Accepted => {
                self.outcome.accepted += 1;
                self.check_view(reader);
                self.soon(100, Event::HandOut(reader));
            }
            Took::Behind => {
                self.outcome.behind += 1;
                self.cut(Client::Reader(reader));
            }
        }
    }

    fn acknowledge(&mut self, reader: usize) {
        let Some(request) = self.readers[reader].1.acknowledge() else { return };
        if let Some(conn) = self.readers[reader].1.conn {
            self.send(conn, Frame::Up(request));
        }
    }

    fn cut(&mut self, client: Client) {
        let conn = match client {
            Client::Owner(owner) => self.owners[owner].conn.take(),
            Client::Reader(reader) => self.readers[reader].1.conn.take(),
        };
        if let Some(conn) = conn {
            self.net.give_up(conn);
            self.soon(800, Event::Connect(client));
        }
    }

    /// Everything an owner decides by is durable: a crash is the loss of its connection.
    fn crash_owner(&mut self, owner: usize) {
        self.outcome.crashes += 1;
        self.cut(Client::Owner(owner));
    }

    fn crash_reader(&mut self, reader: usize) {
        self.outcome.crashes += 1;
        self.cut(Client::Reader(reader));
        self.readers[reader].1.crash();
    }

    fn crash_broker(&mut self) {
        self.outcome.crashes += 1;
        self.broker.crash();
        self.check_durable();
        for client in self.net.drop_all() {
            self.cut(client);
        }
    }

    /// [P-15] What was accepted is what the owner had at that head.
    fn check_view(&self, reader: usize) {
        let (of, reader) = &self.readers[reader];
        let number = reader.reader().cursor().rank.number.value();
        assert_eq!(reader.holds(), self.owners[*of].views[&number], "a view that its owner never had");
    }

    /// [P-7] Whatever was receipted or acknowledged is there after a crash, in the history of the head that stands.
    fn check_durable(&self) {
        for owner in &self.owners {
            let queue = owner.owner().writer.queue();
            let stands = self.broker.stands_at(&queue).map(|head| head.rank()).unwrap_or_default();
            for (number, hash) in &owner.receipts {
                assert!(stands.number >= *number, "head {number} was receipted and is lost");
                let leaf = self.broker.store().history(&queue, &[NodeIndex { level: 0, index: number.value() }]).expect("no read fails");
                assert_eq!(leaf, [Some(*hash.bytes())], "another head stands where {number} was receipted");
            }
        }
        for (of, reader) in &self.readers {
            let queue = self.owners[*of].owner().writer.queue();
            let kept = self.broker.store().acknowledgements(&queue).expect("no read fails");
            let own = kept.iter().find(|(pseudonym, _)| *pseudonym == reader.reader().pseudonym());
            let rank = own.map_or(HeadRank::default(), |(_, bytes)| Acknowledgement::verify(bytes).expect("signed").cursor.rank);
            assert!(rank >= reader.acknowledged, "an acknowledgement was lost");
        }
    }

    /// Progress: once the trouble is over everybody gets everything.
    fn check_end(&self) {
        self.check_durable();
        for owner in &self.owners {
            assert!(owner.idle(), "publishes were never receipted");
        }
        for (of, reader) in &self.readers {
            let owner = &self.owners[*of];
            assert_eq!(reader.reader().cursor(), owner.head().cursor(), "a reader never caught up");
            assert_eq!(reader.seen, owner.owner().values, "an application does not see what the owner has");
        }
    }
}

fn blake(bytes: &[u8]) -> [u8; 32] {
    *tidings_core::attachment_hash(bytes).bytes()
}
