//! An owner: what it signed is durable before it is sent, and is sent until it is receipted.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use tidings_core::path::RecordPath;
use tidings_core::{Receipt, SignedHead};
use tidings_proto::frames::{Open, Publish};
use tidings_proto::{HeadHash, HeadNumber, HeadRank, Offset, Reply, Request, VerifyingKey};

use crate::net::Conn;
use crate::paper::{Dice, Owner, path};

/// Durable state: survives a crash.
#[derive(Clone)]
struct Durable {
    owner: Owner,
    unreceipted: VecDeque<Publish>,
    receipted: HeadRank,
}

/// An owner's process.
pub(crate) struct SimOwner {
    durable: Durable,
    pub(crate) conn: Option<Conn>,
    /// What was sent on this connection and is not answered yet: from here on.
    in_flight: usize,
    /// What the owner held at each head, for comparison.
    pub(crate) views: BTreeMap<u64, BTreeMap<RecordPath, Bytes>>,
    /// Every receipt: the broker said that this is durable.
    pub(crate) receipts: BTreeMap<HeadNumber, HeadHash>,
    /// Every head that left this node.
    left: BTreeMap<HeadNumber, HeadHash>,
}

impl SimOwner {
    pub(crate) fn new(seed: u64) -> Self {
        let owner = Owner::new(seed);
        let unreceipted = owner.log.iter().cloned().collect();
        let durable = Durable { owner, unreceipted, receipted: HeadRank::default() };
        let views = BTreeMap::from([(1, BTreeMap::new())]);
        Self { durable, conn: None, in_flight: 0, views, receipts: BTreeMap::new(), left: BTreeMap::new() }
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.durable.owner
    }

    pub(crate) fn head(&self) -> &SignedHead {
        self.durable.owner.writer.head().expect("signed at creation")
    }

    /// A grant for a reader, in a publish of its own.
    pub(crate) fn grant(&mut self, key: &tidings_core::key::NodeKey) -> Bytes {
        let grant = self.durable.owner.grant(key);
        self.remember();
        grant
    }

    /// Signs a random publish. `crash`: the process dies before the transaction, so that nothing happened.
    pub(crate) fn publish(&mut self, dice: &mut Dice, crash: bool) {
        let mut owner = self.durable.owner.clone();
        let changes: Vec<_> = (0..dice.roll(5)).map(|_| random_change(dice)).collect();
        let newest = owner.writer.head().expect("signed at creation").head().offset.value();
        let floor = dice.chance(25).then(|| Offset::new(dice.roll(newest + 1)));
        owner.publish(&changes, floor);
        if !crash {
            self.durable.owner = owner;
            self.remember();
        }
    }

    fn remember(&mut self) {
        let newest = self.durable.owner.log.last().expect("just signed").clone();
        self.durable.unreceipted.push_back(newest);
        self.views.insert(self.head().rank().number.value(), self.durable.owner.values.clone());
    }

    pub(crate) fn open(&mut self, conn: Conn) -> Request {
        self.conn = Some(conn);
        self.in_flight = usize::MAX;
        let descriptor = tidings_core::Object::encode(self.durable.owner.writer.descriptor());
        Request::Open(Open { descriptor: descriptor.into() })
    }

    /// What was signed and not sent on this connection.
    pub(crate) fn unsent(&mut self) -> Vec<Request> {
        let from = self.in_flight.min(self.durable.unreceipted.len());
        if self.in_flight == usize::MAX {
            return Vec::new();
        }
        self.in_flight = self.durable.unreceipted.len();
        let publishes: Vec<_> = self.durable.unreceipted.iter().skip(from).cloned().collect();
        publishes.iter().for_each(|publish| self.leave(publish));
        publishes.into_iter().map(Request::Publish).collect()
    }

    /// [P-3] A number is never signed twice: whatever leaves under one is always the same.
    fn leave(&mut self, publish: &Publish) {
        let head = SignedHead::parse(publish.head.clone()).expect("own head");
        let before = self.left.insert(head.rank().number, head.hash());
        assert!(before.is_none_or(|hash| hash == head.hash()), "two heads of one number left their owner");
    }

    /// Takes an answer; false if the connection is of no more use.
    pub(crate) fn take(&mut self, reply: &Reply, receipt_key: &VerifyingKey) -> bool {
        match reply {
            Reply::Standing(head) => self.on_standing(head),
            Reply::Receipt(bytes) => self.on_receipt(&Receipt::verify(bytes, receipt_key).expect("the broker's receipt")),
            _ => return false,
        }
        true
    }

    /// Sends again from the head that the broker stands at: its receipt may have been lost. Only a receipt ends the duty to
    /// keep a publish: what stands may be readable and not yet durable.
    fn on_standing(&mut self, head: &Bytes) {
        let stands = if head.is_empty() { HeadRank::default() } else { SignedHead::parse(head.clone()).expect("own head").rank() };
        assert!(stands >= self.durable.receipted, "the broker stands at {stands}, below the receipted {}", self.durable.receipted);
        let known = |publish: &&Publish| number(publish) < stands.number;
        self.in_flight = self.durable.unreceipted.iter().take_while(known).count();
    }

    fn on_receipt(&mut self, receipt: &Receipt) {
        self.receipts.insert(receipt.rank.number, receipt.head);
        self.durable.receipted = self.durable.receipted.max(receipt.rank);
        while self.durable.unreceipted.front().is_some_and(|publish| number(publish) <= receipt.rank.number) {
            self.durable.unreceipted.pop_front();
            self.in_flight = self.in_flight.saturating_sub(1);
        }
    }

    pub(crate) fn idle(&self) -> bool {
        self.durable.unreceipted.is_empty()
    }
}

fn number(publish: &Publish) -> HeadNumber {
    SignedHead::parse(publish.head.clone()).expect("own head").rank().number
}

fn random_change(dice: &mut Dice) -> (RecordPath, Option<Bytes>) {
    let value = (!dice.chance(35)).then(|| Bytes::from(dice.roll(1 << 40).to_string()));
    (path(dice.roll(14)), value)
}
