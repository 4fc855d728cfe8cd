//! What goes wrong, and how it is made good.

use tidings_proto::QueueId;

use crate::net::Client;
use crate::outcome::Kind;
use crate::world::{Event, World};

/// Something that happens to a part of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    CrashBroker,
    CrashOwner,
    CrashReader,
    /// The next write of a broker fails.
    Write,
    /// A broker is switched off, or on again.
    Switch,
    /// A reader is added or removed.
    Access,
    /// A broker is left, or taken back.
    Move,
    BackUpBroker,
    BackUpOwner,
    RollBack,
    /// A broker shows owners an old copy, or ceases to.
    Lie,
    PutBack,
    Lose,
    Copy,
}

/// What happens in every run, and how often.
const CRASHES: [Fault; 14] = [
    Fault::CrashBroker,
    Fault::CrashBroker,
    Fault::CrashOwner,
    Fault::CrashOwner,
    Fault::CrashReader,
    Fault::CrashReader,
    Fault::Write,
    Fault::Write,
    Fault::Write,
    Fault::Switch,
    Fault::Switch,
    Fault::Switch,
    Fault::Access,
    Fault::Move,
];
const RESTORES: [Fault; 10] = [
    Fault::BackUpBroker,
    Fault::BackUpBroker,
    Fault::BackUpBroker,
    Fault::BackUpOwner,
    Fault::BackUpOwner,
    Fault::RollBack,
    Fault::Lie,
    Fault::Lie,
    Fault::PutBack,
    Fault::Lose,
];

impl World {
    pub(crate) fn next_fault(&mut self) {
        let kinds = match self.kind {
            Kind::Crashes => CRASHES.len(),
            Kind::Restores => CRASHES.len() + RESTORES.len(),
            Kind::Copies => CRASHES.len() + RESTORES.len() + 1,
        };
        let which = self.dice.roll(kinds as u64) as usize;
        let fault = CRASHES.iter().chain(&RESTORES).nth(which).copied().unwrap_or(Fault::Copy);
        self.soon(900, Event::Fault(fault));
    }

    pub(crate) fn fail(&mut self, fault: Fault) {
        let broker = self.dice.roll(self.brokers.len() as u64) as usize;
        let home = self.dice.roll(self.homes.len() as u64) as usize;
        let reader = self.dice.roll(self.readers.len() as u64) as usize;
        match fault {
            Fault::CrashBroker => self.crash_broker(broker),
            Fault::CrashOwner => self.crash_owner(home),
            Fault::CrashReader => self.crash_reader(reader),
            Fault::Write => self.brokers[broker].fail_next(&mut self.dice),
            Fault::Switch => {
                self.crash_broker(broker);
                self.brokers[broker].down = !self.brokers[broker].down;
            }
            Fault::Access => self.change_access(home),
            Fault::Move => self.change_brokers(home, broker),
            Fault::BackUpBroker => self.brokers[broker].back_up(),
            Fault::BackUpOwner => self.backups.push((self.homes[home].queue, self.homes[home].state.clone())),
            Fault::RollBack => self.roll_back(broker),
            Fault::Lie => self.lie(broker),
            Fault::PutBack => self.put_back(home),
            Fault::Lose => self.lose(home),
            Fault::Copy => self.copy(home),
        }
    }

    pub(crate) fn crash_broker(&mut self, broker: usize) {
        self.outcome.crashes += 1;
        self.brokers[broker].crash();
        self.check_durable(broker);
        self.drop_broker(broker);
    }

    fn drop_broker(&mut self, broker: usize) {
        for client in self.net.drop_all(broker) {
            self.cut(client);
        }
    }

    pub(crate) fn crash_owner(&mut self, home: usize) {
        self.outcome.crashes += 1;
        self.cut_owner(home);
        self.homes[home].restart();
        self.begin_home(home);
    }

    fn crash_reader(&mut self, reader: usize) {
        self.outcome.crashes += 1;
        self.cut(Client::Reader(reader));
        self.readers[reader].crash();
    }

    /// [P-17] One of the readers ceases to be one, or a node becomes one.
    fn change_access(&mut self, home: usize) {
        if self.stopped.contains(&home) || !self.homes[home].may_sign() || self.homes[home].state.writer.keys_are_due() {
            return;
        }
        let granted = self.homes[home].state.granted();
        if granted.len() > 1 && self.dice.chance(60) {
            let gone = granted[self.dice.roll(granted.len() as u64) as usize];
            self.homes[home].revoke(&mut self.truth, gone, self.now);
            self.outcome.revoked += 1;
        } else if self.readers.len() < 6 {
            self.add_reader(home);
        }
        self.send_all(home);
    }

    /// [P-13] A broker is left, or one that was left is taken back.
    fn change_brokers(&mut self, home: usize, broker: usize) {
        if self.stopped.contains(&home) {
            return;
        }
        if self.homes[home].brokers.insert(broker) {
            return self.soon(100, Event::Connect(Client::Owner(home, broker)));
        }
        if self.homes[home].may_sign() && self.homes[home].leave_broker(&mut self.truth, broker, self.now) {
            self.outcome.moved += 1;
            let life = self.homes[home].life;
            self.soon(2_000, Event::Left(home, life));
            self.send_all(home);
        }
    }

    /// The queue goes on at the others.
    pub(crate) fn end_leaving(&mut self, home: usize) {
        if let Some(broker) = self.homes[home].end_leaving() {
            self.cut(Client::Owner(home, broker));
        }
    }

    /// A broker's disk is an older one. Not while an owner has nothing but what brokers hold.
    fn roll_back(&mut self, broker: usize) {
        if self.homes.iter().any(|home| home.head().is_none()) {
            return;
        }
        self.outcome.rolled_back += 1;
        self.truth.broker_failed(broker, self.now);
        self.brokers[broker].roll_back(&mut self.dice);
        self.promised.retain(|(of, _), _| *of != broker);
        for reader in &mut self.readers {
            reader.acknowledged.remove(&broker);
        }
        self.drop_broker(broker);
    }

    fn lie(&mut self, broker: usize) {
        if self.brokers[broker].lies() {
            self.brokers[broker].end_lie();
        } else {
            self.outcome.lies += 1;
            self.truth.broker_failed(broker, self.now);
            self.brokers[broker].lie(&mut self.dice);
        }
        self.drop_broker(broker);
    }

    fn put_back(&mut self, home: usize) {
        let queue = self.homes[home].queue;
        let backups: Vec<usize> = (0..self.backups.len()).filter(|at| self.backups[*at].0 == queue).collect();
        if backups.is_empty() || self.stopped.contains(&home) {
            return;
        }
        let at = backups[self.dice.roll(backups.len() as u64) as usize];
        let backup = self.backups[at].1.clone();
        if backup.writer.head().is_none() {
            return;
        }
        self.outcome.put_back += 1;
        self.truth.owner_lost(queue, self.now);
        self.homes[home].put_back(backup);
        self.crash_owner(home);
    }

    /// A home is gone, but not while nobody else has anything.
    fn lose(&mut self, home: usize) {
        let queue = self.homes[home].queue;
        if self.stopped.contains(&home) || !self.is_held(&queue) {
            return;
        }
        self.outcome.lost += 1;
        self.truth.owner_lost(queue, self.now);
        self.homes[home].lose();
        self.crash_owner(home);
    }

    fn is_held(&self, queue: &QueueId) -> bool {
        self.brokers.iter().any(|broker| !broker.lies() && broker.stands_at(queue).is_some())
    }

    fn copy(&mut self, home: usize) {
        let queue = self.homes[home].queue;
        let homes = self.homes.iter().filter(|other| other.queue == queue).count();
        if homes > 1 || self.homes[home].head().is_none() {
            return;
        }
        self.outcome.copied += 1;
        let copy = self.homes[home].copied(self.seed * 1_000 + 500 + self.homes.len() as u64);
        self.homes.push(copy);
        self.begin_home(self.homes.len() - 1);
    }

    /// A person decides sooner or later, and at once when there is one home only.
    pub(crate) fn look(&mut self) {
        for home in 0..self.homes.len() {
            if self.homes[home].is_in_conflict() && (!self.trouble() || self.dice.chance(20)) {
                self.outcome.conflicts += 1;
                self.homes[home].take_over();
                self.cut_owner(home);
            }
        }
        self.soon(700, Event::Look);
    }

    /// Nothing fails any more, one home of each queue stays, and all brokers serve.
    pub(crate) fn heal(&mut self) {
        for broker in 0..self.brokers.len() {
            self.brokers[broker].down = false;
            self.brokers[broker].end_lie();
            self.crash_broker(broker);
        }
        let queues: std::collections::BTreeSet<QueueId> = self.homes.iter().map(|home| home.queue).collect();
        for queue in queues {
            let homes: Vec<usize> = (0..self.homes.len()).filter(|home| self.homes[*home].queue == queue).collect();
            let stays = homes[self.dice.roll(homes.len() as u64) as usize];
            if homes.len() > 1 {
                self.truth.owner_lost(queue, self.now + 1);
            }
            for home in homes.into_iter().filter(|home| *home != stays) {
                self.cut_owner(home);
                self.stopped.insert(home);
            }
            self.homes[stays].brokers = (0..self.brokers.len()).collect();
            self.crash_owner(stays);
        }
    }
}
