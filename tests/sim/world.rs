//! The loop: one queue of events in virtual time, one seed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use tidings_core::Reader;
use tidings_core::key::NodeKey;
use tidings_proto::{HeadHash, HeadRank, QueueId};

use crate::broker::SimBroker;
use crate::faults::Fault;
use crate::net::{Client, Conn, Frame, Net};
use crate::outcome::{Kind, Outcome};
use crate::owner::SimOwner;
use crate::paper::Dice;
use crate::reader::SimReader;
use crate::state::State;
use crate::truth::Truth;

/// Milliseconds of trouble; after it nothing fails any more.
pub(crate) const TROUBLE: u64 = 20_000;
/// By then everybody must have everything.
const END: u64 = 45_000;
/// How long an owner waits for brokers that do not answer.
const PATIENCE: u64 = 2_500;

#[derive(Debug)]
pub(crate) enum Event {
    Write(usize),
    Sign(usize),
    /// A home's process waits for brokers no longer.
    Waited(usize, u64),
    Connect(Client),
    Arrive(Conn, Frame),
    Commit(usize),
    Step(Conn),
    HandOut(usize),
    Acknowledge(usize),
    /// A broker whose store will not take anything any more stops and is started again.
    Stop(usize),
    /// A broker that was left is waited for no longer.
    Left(usize, u64),
    Cut(Client),
    Fault(Fault),
    /// A person looks whether a home needs a decision.
    Look,
    Heal,
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
    pub(crate) seed: u64,
    pub(crate) kind: Kind,
    pub(crate) dice: Dice,
    pub(crate) now: u64,
    order: u64,
    events: BinaryHeap<Reverse<Scheduled>>,
    pub(crate) net: Net,
    pub(crate) brokers: Vec<SimBroker>,
    pub(crate) commit_due: BTreeSet<usize>,
    /// Homes; several of one queue if one was copied.
    pub(crate) homes: Vec<SimOwner>,
    /// Homes whose machine was switched off for good.
    pub(crate) stopped: BTreeSet<usize>,
    pub(crate) backups: Vec<(QueueId, State)>,
    pub(crate) readers: Vec<SimReader>,
    pub(crate) truth: Truth,
    /// The newest receipt of each broker for each queue.
    pub(crate) promised: BTreeMap<(usize, QueueId), (HeadRank, HeadHash)>,
    pub(crate) outcome: Outcome,
    trace: Vec<u8>,
    /// `TIDINGS_SIM_TRACE` is set: print every event.
    pub(crate) told: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let brokers = 1 + dice.roll(3) as usize;
        let mut world = Self {
            seed,
            kind: Kind::of(seed),
            now: 0,
            order: 0,
            events: BinaryHeap::new(),
            net: Net::default(),
            brokers: (0..brokers).map(|number| SimBroker::new(seed, number as u8)).collect(),
            commit_due: BTreeSet::new(),
            homes: Vec::new(),
            stopped: BTreeSet::new(),
            backups: Vec::new(),
            readers: Vec::new(),
            truth: Truth::default(),
            promised: BTreeMap::new(),
            outcome: Outcome::default(),
            trace: Vec::new(),
            told: std::env::var_os("TIDINGS_SIM_TRACE").is_some(),
            dice,
        };
        for queue in 0..1 + world.dice.roll(2) {
            world.add_owner(queue);
        }
        world.begin();
        world
    }

    /// An owner with one or two readers, and its first heads signed.
    fn add_owner(&mut self, queue: u64) {
        let brokers = (0..self.brokers.len()).collect();
        let mut owner = SimOwner::new(self.seed * 4 + queue, brokers);
        owner.begin_queue(&mut self.truth);
        self.homes.push(owner);
        let home = self.homes.len() - 1;
        for _ in 0..1 + self.dice.roll(2) {
            self.add_reader(home);
        }
    }

    /// A node becomes a reader of a home's queue.
    pub(crate) fn add_reader(&mut self, home: usize) {
        let number = self.readers.len() as u8;
        let key = NodeKey::from_seed([100 + number; 32]);
        let grant = self.homes[home].grant(&mut self.truth, &key, self.now);
        let descriptor = self.homes[home].state.writer.descriptor().clone();
        let reader = Reader::join(descriptor, &grant, &key).expect("a grant of this reader");
        self.readers.push(SimReader::new(Arc::new(key), reader));
        self.soon(3_000, Event::Connect(Client::Reader(self.readers.len() - 1)));
    }

    fn begin(&mut self) {
        for home in 0..self.homes.len() {
            self.begin_home(home);
        }
        self.next_fault();
        self.soon(700, Event::Look);
        self.at(TROUBLE, Event::Heal);
    }

    /// The process of a home starts.
    pub(crate) fn begin_home(&mut self, home: usize) {
        for broker in self.homes[home].brokers.clone() {
            self.soon(500, Event::Connect(Client::Owner(home, broker)));
        }
        let life = self.homes[home].life;
        self.at(self.now + PATIENCE, Event::Waited(home, life));
        if life == 0 {
            self.soon(500, Event::Write(home));
            self.soon(500, Event::Sign(home));
        }
    }

    pub(crate) fn soon(&mut self, within: u64, event: Event) {
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
        if self.told {
            eprintln!("{}", format!("{} {event:?}", self.now).chars().take(300).collect::<String>());
        }
        let line = match event {
            Event::Arrive(conn, Frame::Up(request)) => [&conn.to_be_bytes()[..], &request.encode()].concat(),
            Event::Arrive(conn, Frame::Down(reply)) => [&conn.to_be_bytes()[..], &reply.encode()].concat(),
            other => format!("{other:?}").into_bytes(),
        };
        self.trace.extend_from_slice(&self.now.to_be_bytes());
        self.trace.extend_from_slice(&blake(&line));
        if self.trace.len() > 1 << 16 {
            self.trace = blake(&self.trace).to_vec();
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Write(home) => self.write(home),
            Event::Sign(home) => self.sign(home),
            Event::Waited(home, life) if self.homes[home].life == life => self.homes[home].wait_no_longer(),
            Event::Left(home, life) if self.homes[home].life == life => self.end_leaving(home),
            Event::Waited(..) | Event::Left(..) => {}
            Event::Connect(client) => self.connect(client),
            Event::Arrive(conn, Frame::Up(request)) => self.arrive_up(conn, request),
            Event::Arrive(conn, Frame::Down(reply)) => self.arrive_down(conn, &reply),
            Event::Commit(broker) => self.commit(broker),
            Event::Step(conn) => self.step(conn),
            Event::HandOut(reader) => {
                self.readers[reader].hand_out();
                self.soon(200, Event::Acknowledge(reader));
            }
            Event::Acknowledge(reader) => self.acknowledge(reader),
            Event::Stop(broker) if self.brokers[broker].doomed => self.crash_broker(broker),
            Event::Stop(_) => {}
            Event::Cut(client) => self.cut(client),
            Event::Fault(fault) if self.trouble() => {
                self.fail(fault);
                self.next_fault();
            }
            Event::Fault(_) => {}
            Event::Look => self.look(),
            Event::Heal => self.heal(),
        }
    }

    pub(crate) fn trouble(&self) -> bool {
        self.now < TROUBLE
    }

    fn write(&mut self, home: usize) {
        if !self.trouble() || self.stopped.contains(&home) {
            return;
        }
        if let Some(row) = self.homes[home].write(&mut self.dice, self.now) {
            self.truth.write(self.homes[home].queue, &row);
        }
        let pace = if self.dice.chance(60) { 120 } else { 1_500 };
        self.soon(pace, Event::Write(home));
    }

    fn sign(&mut self, home: usize) {
        if self.stopped.contains(&home) {
            return;
        }
        let dies = self.trouble() && self.dice.chance(3);
        let calm = !self.trouble();
        if self.homes[home].may_sign() && self.homes[home].sign(&mut self.truth, &mut self.dice, self.now, dies, calm) {
            self.outcome.signed += 1;
        }
        if dies {
            self.crash_owner(home);
        }
        self.send_all(home);
        self.soon(if calm { 400 } else { 700 }, Event::Sign(home));
    }

    pub(crate) fn send_all(&mut self, home: usize) {
        for broker in self.homes[home].brokers.clone() {
            self.send_unsent(home, broker);
        }
    }

    pub(crate) fn send_unsent(&mut self, home: usize, broker: usize) {
        let Some(conn) = self.homes[home].conn(broker) else { return };
        match self.homes[home].unsent(broker) {
            Some(requests) => requests.into_iter().for_each(|request| self.send(conn, Frame::Up(request))),
            None => self.cut(Client::Owner(home, broker)),
        }
    }

    pub(crate) fn send(&mut self, conn: Conn, frame: Frame) {
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
        let (broker, waits) = match client {
            Client::Owner(home, broker) => {
                let wanted = self.homes[home].brokers.contains(&broker) && !self.stopped.contains(&home);
                (broker, wanted && self.homes[home].conn(broker).is_none())
            }
            Client::Reader(reader) => (self.readers[reader].broker, self.readers[reader].conn.is_none()),
        };
        if !waits {
            return;
        }
        if self.brokers[broker].down {
            self.move_reader(client);
            return self.soon(800, Event::Connect(client));
        }
        let conn = self.net.open(client, broker);
        let hello = match client {
            Client::Owner(home, broker) => self.homes[home].open(broker, conn),
            Client::Reader(reader) => self.readers[reader].subscribe(conn),
        };
        self.send(conn, Frame::Up(hello));
    }

    /// A reader goes on to another address.
    pub(crate) fn move_reader(&mut self, client: Client) {
        if let Client::Reader(reader) = client {
            self.readers[reader].broker = self.dice.roll(self.brokers.len() as u64) as usize;
        }
    }

    pub(crate) fn cut(&mut self, client: Client) {
        let conn = match client {
            Client::Owner(home, broker) => self.homes[home].drop_link(broker),
            Client::Reader(reader) => self.readers[reader].conn.take(),
        };
        if let Some(conn) = conn {
            self.net.give_up(conn);
            self.soon(800, Event::Connect(client));
        }
    }

    pub(crate) fn cut_owner(&mut self, home: usize) {
        (0..self.brokers.len()).for_each(|broker| self.cut(Client::Owner(home, broker)));
    }
}

pub(crate) fn blake(bytes: &[u8]) -> [u8; 32] {
    *tidings_core::attachment_hash(bytes).bytes()
}
