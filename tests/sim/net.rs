//! Connections: streams in order within a connection, any order between connections.

use std::collections::BTreeMap;

use tidings_proto::{Reply, Request};

/// Number of a connection; never used twice.
pub(crate) type Conn = u64;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// A home, to this broker.
    Owner(usize, usize),
    Reader(usize),
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub(crate) enum Frame {
    Up(Request),
    Down(Reply),
}

#[derive(Debug)]
struct Link {
    client: Client,
    broker: usize,
    /// The client has not given it up.
    held: bool,
    /// The broker has not crashed since it was opened.
    served: bool,
    /// Nothing is delivered before what was sent earlier in the same direction.
    up_from: u64,
    down_from: u64,
}

/// All connections there ever were.
#[derive(Debug, Default)]
pub(crate) struct Net {
    next: Conn,
    links: BTreeMap<Conn, Link>,
}

impl Net {
    pub(crate) fn open(&mut self, client: Client, broker: usize) -> Conn {
        self.next += 1;
        self.links.insert(self.next, Link { client, broker, held: true, served: true, up_from: 0, down_from: 0 });
        self.next
    }

    /// When a frame sent now arrives. Frames of a connection that the client gave up still arrive at the broker, late.
    pub(crate) fn arrival(&mut self, conn: Conn, frame: &Frame, at: u64) -> Option<u64> {
        let link = self.links.get_mut(&conn)?;
        let from = match frame {
            Frame::Up(_) => &mut link.up_from,
            Frame::Down(_) => &mut link.down_from,
        };
        *from = at.max(*from);
        Some(*from)
    }

    pub(crate) fn give_up(&mut self, conn: Conn) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.held = false;
        }
    }

    /// A broker crashed: whatever is on its way to it is lost.
    pub(crate) fn drop_all(&mut self, broker: usize) -> Vec<Client> {
        let links = || self.links.values().filter(|link| link.broker == broker);
        let clients = links().filter(|link| link.held).map(|link| link.client).collect();
        for link in self.links.values_mut().filter(|link| link.broker == broker) {
            (link.held, link.served) = (false, false);
        }
        clients
    }

    pub(crate) fn client(&self, conn: Conn) -> Option<Client> {
        self.links.get(&conn).filter(|link| link.held && link.served).map(|link| link.client)
    }

    pub(crate) fn broker(&self, conn: Conn) -> usize {
        self.links.get(&conn).map_or(0, |link| link.broker)
    }

    pub(crate) fn served(&self, conn: Conn) -> bool {
        self.links.get(&conn).is_some_and(|link| link.served)
    }
}
