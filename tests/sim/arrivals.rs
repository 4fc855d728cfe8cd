//! Frames that arrive, and what they lead to.

use tidings_core::Receipt;
use tidings_proto::{Reply, Request};

use crate::net::{Client, Conn, Frame};
use crate::owner::Took as OwnerTook;
use crate::reader::Took;
use crate::world::{Event, World};

impl World {
    pub(crate) fn arrive_up(&mut self, conn: Conn, request: Request) {
        if !self.net.served(conn) {
            return;
        }
        let broker = self.net.broker(conn);
        let alone = self.brokers[broker].place().is_some_and(|place| self.net.client(place).is_none());
        for reply in self.brokers[broker].take(conn, request, alone) {
            self.note_acknowledgement(conn, &reply);
            self.send(conn, Frame::Down(reply));
        }
        if self.brokers[broker].has_work() && self.commit_due.insert(broker) {
            self.soon(40, Event::Commit(broker));
        }
        self.wake(broker);
        self.stop_doomed(broker);
    }

    pub(crate) fn commit(&mut self, broker: usize) {
        self.commit_due.remove(&broker);
        for (conn, reply) in self.brokers[broker].commit(self.now) {
            self.note_receipt(broker, &reply);
            self.send(conn, Frame::Down(reply));
        }
        self.forget_acknowledgements(broker);
        self.wake(broker);
        self.stop_doomed(broker);
    }

    fn stop_doomed(&mut self, broker: usize) {
        if self.brokers[broker].doomed {
            self.soon(300, Event::Stop(broker));
        }
    }

    /// It is durable from when the broker says so.
    fn note_acknowledgement(&mut self, conn: Conn, reply: &Reply) {
        if let (Reply::Acknowledged(rank), Some(Client::Reader(reader))) = (reply, self.net.client(conn)) {
            let kept = self.readers[reader].acknowledged.entry(self.net.broker(conn)).or_default();
            *kept = (*rank).max(*kept);
        }
    }

    fn note_receipt(&mut self, broker: usize, reply: &Reply) {
        let Reply::Receipt(bytes) = reply else { return };
        let receipt = Receipt::verify(bytes, &self.brokers[broker].receipt_key()).expect("the broker's receipt");
        self.outcome.receipts += 1;
        self.truth.receipt(broker, &receipt.head, self.now);
        let newest = self.promised.entry((broker, receipt.queue)).or_insert((receipt.rank, receipt.head));
        *newest = (*newest).max((receipt.rank, receipt.head));
    }

    fn wake(&mut self, broker: usize) {
        for conn in std::mem::take(&mut self.brokers[broker].busy) {
            self.soon(20, Event::Step(conn));
        }
    }

    pub(crate) fn step(&mut self, conn: Conn) {
        let broker = self.net.broker(conn);
        self.brokers[broker].busy.insert(conn);
        if let Some(reply) = self.brokers[broker].step(conn, &mut self.dice) {
            self.send(conn, Frame::Down(reply));
        }
        if self.brokers[broker].busy.remove(&conn) {
            self.soon(20, Event::Step(conn));
        }
    }

    pub(crate) fn arrive_down(&mut self, conn: Conn, reply: &Reply) {
        match self.net.client(conn) {
            Some(Client::Owner(home, broker)) => self.answer_owner(home, broker, conn, reply),
            Some(Client::Reader(reader)) => self.answer_reader(reader, conn, reply),
            None => {}
        }
    }

    fn answer_owner(&mut self, home: usize, broker: usize, conn: Conn, reply: &Reply) {
        if self.homes[home].conn(broker) != Some(conn) {
            return;
        }
        let key = self.brokers[broker].receipt_key();
        let (took, request) = self.homes[home].take(broker, reply, &key, self.now);
        if let Some(request) = request {
            self.send(conn, Frame::Up(request));
        }
        match took {
            OwnerTook::Fits => self.send_unsent(home, broker),
            OwnerTook::Receipt(closed) => {
                if closed {
                    self.end_leaving(home);
                }
                self.send_unsent(home, broker);
            }
            OwnerTook::Merged(merged) => {
                self.outcome.merge(&merged);
                if self.told {
                    eprintln!("home {home} merged what broker {broker} has: {merged:?}; {}", self.homes[home].describe(broker));
                }
                self.cut_owner(home);
            }
            OwnerTook::Cut => self.cut(Client::Owner(home, broker)),
        }
    }

    fn answer_reader(&mut self, reader: usize, conn: Conn, reply: &Reply) {
        self.check_sent(reader, reply);
        let commit = self.dice.chance(50);
        match self.readers[reader].take(reply, commit) {
            Took::Nothing => {}
            Took::Ask => {
                self.outcome.bitmaps += 1;
                self.send(conn, Frame::Up(Request::AskBitmap));
            }
            Took::Accepted(accepted, before) => {
                self.outcome.accepted += 1;
                self.check_view(reader, &accepted, &before);
                self.soon(100, Event::HandOut(reader));
                if accepted.closed {
                    self.leave(reader);
                }
            }
            Took::Again => self.cut(Client::Reader(reader)),
            Took::Rewound(head, before) => {
                self.outcome.rewound += 1;
                self.check_rewound(&head, &before);
                self.cut(Client::Reader(reader));
            }
            Took::Behind => {
                self.outcome.behind += 1;
                self.leave(reader);
            }
            Took::Denied(head) => {
                self.outcome.denied += 1;
                self.check_denied(reader, &head);
                self.leave(reader);
            }
        }
    }

    /// A reader goes on to another address.
    fn leave(&mut self, reader: usize) {
        self.cut(Client::Reader(reader));
        self.move_reader(Client::Reader(reader));
    }

    pub(crate) fn acknowledge(&mut self, reader: usize) {
        let Some(request) = self.readers[reader].acknowledge() else { return };
        if let Some(conn) = self.readers[reader].conn {
            self.send(conn, Frame::Up(request));
        }
    }
}
