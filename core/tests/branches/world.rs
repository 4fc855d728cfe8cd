//! Owners and brokers, and what happens to them.

use std::collections::{BTreeMap, HashSet};

use super::check::{Broken, Written};
use super::head::{At, Path, history, id, within};
use super::merge::Rule;
use super::owner::{Begin, Owner, State};
use super::random::Random;

/// Whether a home may be copied to a second machine.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lives {
    One,
    Copied,
}

/// A broker.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    head: At,
    down: bool,
    /// An old head that it shows instead of its own.
    shows: Option<At>,
    past: Vec<At>,
    /// When it was rolled back or began to lie.
    pub(crate) failed: Vec<u64>,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    rebuilt: u64,
    tails: u64,
    conflicts: u64,
    restored: u64,
    lost: u64,
    copies: u64,
    rolled_back: u64,
    lies: u64,
    from_zero: u64,
}

/// One life.
pub(crate) struct World {
    random: Random,
    now: u64,
    rule: Rule,
    lives: Lives,
    pub(crate) brokers: Vec<Broker>,
    owners: Vec<Owner>,
    backups: Vec<State>,
    pub(crate) log: Vec<Written>,
    /// When an owner lost what it had.
    pub(crate) lost: Vec<u64>,
    pub(crate) broken: Vec<Broken>,
    ranks: BTreeMap<(u64, u64), u64>,
    heads: u64,
    count: Count,
}

impl Count {
    pub(crate) fn add(&mut self, other: Count) {
        let pairs = [
            (&mut self.rebuilt, other.rebuilt),
            (&mut self.tails, other.tails),
            (&mut self.conflicts, other.conflicts),
            (&mut self.restored, other.restored),
            (&mut self.lost, other.lost),
            (&mut self.copies, other.copies),
            (&mut self.rolled_back, other.rolled_back),
            (&mut self.lies, other.lies),
            (&mut self.from_zero, other.from_zero),
        ];
        pairs.into_iter().for_each(|(sum, more)| *sum += more);
    }

    /// None of these lives was quiet.
    pub(crate) fn happened_enough(&self, lives: u64) -> bool {
        [self.rebuilt, self.restored, self.lost, self.rolled_back, self.lies].iter().all(|count| *count > lives / 2)
            && [self.tails, self.conflicts, self.copies].iter().all(|count| *count > lives / 4)
            && self.from_zero > lives / 20
    }
}

impl World {
    pub(crate) fn new(seed: u64, rule: Rule, lives: Lives) -> Self {
        let mut random = Random::new(seed);
        let brokers = 1 + random.below(3);
        let state = State { writer: 1, known: [1].into(), ..State::default() };
        Self {
            now: 1,
            rule,
            lives,
            brokers: (0..brokers).map(|_| Broker::default()).collect(),
            owners: vec![Owner::new(state, brokers)],
            backups: Vec::new(),
            log: Vec::new(),
            lost: Vec::new(),
            broken: Vec::new(),
            ranks: BTreeMap::new(),
            heads: 0,
            count: Count::default(),
            random,
        }
    }

    pub(crate) fn count(&self) -> Count {
        self.count
    }

    pub(crate) fn final_state(&self) -> &State {
        &self.owners[0].state
    }

    /// Something happens.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        let (owner, broker) = (self.random.below(self.owners.len()), self.random.below(self.brokers.len()));
        self.owners[owner].age = self.owners[owner].age.saturating_add(1);
        match self.random.below(100) {
            0..=34 => self.write(owner),
            35..=59 => self.publish(owner),
            60..=79 => self.meet(owner, broker),
            80..=83 => self.owners[owner].start(Begin::Again, &mut self.random),
            84..=86 => self.backups.push(self.owners[owner].state.clone()),
            87 => self.restore(owner),
            88 => self.lose(owner),
            89 => self.copy(owner),
            90..=91 => self.toggle(broker),
            92 => self.roll_back(broker),
            93 => self.lie(broker),
            94 => self.brokers[broker].shows = None,
            95..=97 if self.owners[owner].conflict && self.random.chance(40) => self.take_over(owner),
            95..=97 => {}
            _ => self.end_restoring(owner),
        }
    }

    /// Faults stop, a person decides for one of the homes, and everything comes to rest.
    pub(crate) fn heal(&mut self) {
        if self.owners.len() > 1 {
            self.lost.push(self.now + 1);
            let stays = self.random.below(self.owners.len());
            self.owners.swap(0, stays);
            self.owners.truncate(1);
        }
        self.brokers.iter_mut().for_each(|broker| (broker.down, broker.shows) = (false, None));
        self.owners[0].start(Begin::Again, &mut self.random);
        for _ in 0..60 {
            self.now += 1;
            if self.owners[0].conflict {
                self.take_over(0);
            }
            (0..self.brokers.len()).for_each(|broker| self.meet(0, broker));
            self.owners[0].state.restoring = false;
            self.publish(0);
            (0..self.brokers.len()).for_each(|broker| self.deliver(0, broker));
        }
        let newest = id(&self.owners[0].state.head);
        if self.brokers.iter().any(|broker| id(&broker.head) != newest) || !self.owners[0].state.outbox.is_empty() {
            self.broken.push(Broken::NoProgress);
        }
    }

    fn write(&mut self, owner: usize) {
        let path = Path::Plain(self.random.below(6));
        if let Some(row) = self.owners[owner].write(path, self.now, &mut self.random) {
            self.log.push(Written { row, signed: Vec::new(), receipted: BTreeMap::new() });
        }
    }

    /// Signs what waits, if it may, and sends it to most of the brokers. A term that was opened wants a head. [P-5]
    fn publish(&mut self, owner: usize) {
        let idle = self.owners[owner].state.outbox.is_empty() && self.owners[owner].state.open.is_none();
        if self.owners[owner].may_sign() && !(idle && self.random.chance(90)) {
            self.heads += 1;
            let (head, signed, wrong) = self.owners[owner].sign(self.heads, true, &mut self.random);
            self.broken.extend(wrong.into_iter().map(|row| Broken::OlderOverNewer { _row: row }));
            if self.ranks.insert(head.rank, head.id).is_some() {
                self.broken.push(Broken::SignedTwice { _rank: head.rank });
            }
            for row in signed {
                self.log.iter_mut().filter(|written| written.row == row).for_each(|written| written.signed.push(head.clone()));
            }
        }
        for broker in 0..self.brokers.len() {
            if self.random.chance(70) {
                self.deliver(owner, broker);
            }
        }
    }

    /// An owner connects: it compares by ancestry, merges, and brings the broker on. [P-5]
    fn meet(&mut self, owner: usize, broker: usize) {
        if self.brokers[broker].down || self.owners[owner].conflict {
            return;
        }
        let shown = self.brokers[broker].shows.clone().unwrap_or_else(|| self.brokers[broker].head.clone());
        let Owner { state, .. } = &mut self.owners[owner];
        if state.restoring && state.head.is_none() && shown.is_none() {
            return;
        }
        if let Some(theirs) = shown.clone().filter(|_| !within(&shown, &state.head)) {
            if !state.known.contains(&theirs.writer) && !state.restoring {
                self.owners[owner].conflict = true;
                self.count.conflicts += 1;
                return;
            }
            state.known.insert(theirs.writer);
            let was_tail = self.owners[owner].merge(theirs, self.rule, &mut self.random);
            *(if was_tail { &mut self.count.tails } else { &mut self.count.rebuilt }) += 1;
        }
        self.owners[owner].compared[broker] = Some(id(&shown));
        self.deliver(owner, broker);
    }

    /// A broker takes the newest head, if it stands where it was compared and the head continues or outranks what stands. [P-7, P-10]
    fn deliver(&mut self, owner: usize, broker: usize) {
        let Owner { state, compared, conflict, .. } = &mut self.owners[owner];
        let Broker { head: stands, down, shows, past, .. } = &mut self.brokers[broker];
        let Some(seen) = compared[broker].filter(|_| !*down && !*conflict && shows.is_none()) else { return };
        let Some(newest) = state.head.clone().filter(|newest| Some(newest.id) != id(stands)) else { return };
        if id(stands) != seen {
            compared[broker] = None;
            return;
        }
        if !within(stands, &state.head) {
            let merged = state.open.is_none() && (!self.rule.refill_waits || state.merging.is_empty());
            if !merged || stands.as_ref().is_some_and(|stands| stands.rank.0 >= newest.rank.0) {
                return;
            }
            self.count.from_zero += 1;
        }
        past.push(std::mem::replace(stands, state.head.clone()));
        compared[broker] = Some(Some(newest.id));
        let heads: HashSet<u64> = history(&state.head).map(|head| head.id).collect();
        let unreceipted = self.log.iter_mut().filter(|written| !written.receipted.contains_key(&broker));
        for written in unreceipted.filter(|written| written.signed.iter().any(|head| heads.contains(&head.id))) {
            written.receipted.insert(broker, self.now);
        }
    }

    fn restore(&mut self, owner: usize) {
        if self.backups.is_empty() {
            return;
        }
        let backup = self.random.below(self.backups.len());
        self.owners[owner].state = self.backups[backup].clone();
        self.lost.push(self.now);
        self.count.restored += 1;
        self.owners[owner].start(Begin::Moved, &mut self.random);
    }

    fn lose(&mut self, owner: usize) {
        self.owners[owner].state = State { restoring: true, ..State::default() };
        self.lost.push(self.now);
        self.count.lost += 1;
        self.owners[owner].start(Begin::Moved, &mut self.random);
    }

    fn copy(&mut self, owner: usize) {
        if self.lives == Lives::Copied && self.owners.len() < 2 {
            let mut copy = Owner::new(self.owners[owner].state.clone(), self.brokers.len());
            copy.start(Begin::Moved, &mut self.random);
            self.owners.push(copy);
            self.count.copies += 1;
        }
    }

    fn toggle(&mut self, broker: usize) {
        self.brokers[broker].down = !self.brokers[broker].down;
        self.disconnect(broker);
    }

    fn roll_back(&mut self, broker: usize) {
        let Broker { head, past, failed, .. } = &mut self.brokers[broker];
        if !past.is_empty() {
            let to = self.random.below(past.len());
            *head = past[to].clone();
            past.truncate(to);
            failed.push(self.now);
            self.count.rolled_back += 1;
            self.disconnect(broker);
        }
    }

    fn lie(&mut self, broker: usize) {
        let Broker { past, failed, shows, .. } = &mut self.brokers[broker];
        if !past.is_empty() {
            *shows = Some(past[self.random.below(past.len())].clone());
            failed.push(self.now);
            self.count.lies += 1;
            self.disconnect(broker);
        }
    }

    fn disconnect(&mut self, broker: usize) {
        self.owners.iter_mut().for_each(|owner| owner.compared[broker] = None);
    }

    /// A person says that this owner goes on: it knows all writers from now on. [P-4]
    fn take_over(&mut self, owner: usize) {
        let writers: Vec<u64> = self.brokers.iter().flat_map(|broker| history(&broker.head)).map(|head| head.writer).collect();
        self.owners[owner].state.known.extend(writers);
        self.owners[owner].conflict = false;
    }

    fn end_restoring(&mut self, owner: usize) {
        let state = &mut self.owners[owner].state;
        state.restoring &= state.head.is_none();
    }
}
