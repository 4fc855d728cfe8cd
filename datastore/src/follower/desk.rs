//! What is to be printed, durably. One step at a time: what is read here decides what is written.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `follower/unprinted` | queue, path | encoded `Net` |
//! | `follower/printed` | queue, path | what was printed last, for records that are there |

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings_client::{Row, State, StateError};
use tidings_core::RecordPath;
use tidings_core::reader::{Change, ChangeKind};
use tidings_proto::{QueueId, Timestamp};

use super::net::{Left, Net, Presence, Shown};
use super::printers::{Printers, Unprinted, Wanted};
use crate::fetch::{Place, path_of};

/// Table of net changes that no printer has confirmed.
pub(super) const UNPRINTED: &str = "follower/unprinted";
/// Table of what was printed last.
pub(super) const PRINTED: &str = "follower/printed";
/// Rows read at once.
pub(super) const PAGE: usize = 512;

/// The durable obligations of one follow.
pub(super) struct Desk {
    pub(super) state: State,
    pub(super) queue: QueueId,
    /// Whether there is a storage to fetch from.
    pub(super) storage: bool,
    printers: Arc<Printers>,
    turn: Mutex<()>,
}

impl Desk {
    pub(super) fn new(state: State, queue: QueueId, storage: bool) -> Self {
        Self { state, queue, storage, printers: Arc::default(), turn: Mutex::default() }
    }

    pub(super) fn printers(&self) -> &Printers {
        &self.printers
    }

    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes changes, at most one for each record, into what is to be printed and fetched; `commit` makes the rows durable
    /// together with the acknowledgement. [P-15]
    pub(super) fn merge(
        &self,
        changes: &[Change],
        now: Timestamp,
        commit: impl FnOnce(&[Row]) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let _turn = self.turn();
        let mut rows = Vec::new();
        for change in changes {
            self.merge_one(change, now, &mut rows)?;
        }
        commit(&rows)
    }

    fn merge_one(&self, change: &Change, now: Timestamp, rows: &mut Vec<Row>) -> Result<(), StateError> {
        let place = Place::new(&self.queue, &change.path);
        let left = Left::by(change)?;
        let presence = self.arrange(&place, left.object.as_ref(), now, rows)?;
        let (before, handed) = match self.net_at(&place.key())? {
            Some(net) => (net.before, net.handed),
            None => (self.printed_before(&place, change.kind)?, false),
        };
        let net = Net { before, handed, now: left.shown, term: change.term, offset: change.offset, presence };
        rows.push(net_row(&place, &net));
        Ok(())
    }

    pub(super) fn net_at(&self, key: &[u8]) -> Result<Option<Net>, StateError> {
        self.state.row(UNPRINTED, key)?.map(|row| Net::decode(&row)).transpose()
    }

    /// What was printed of a record about which nothing waits. Where an earlier build printed it, only that it did is known.
    fn printed_before(&self, place: &Place<'_>, kind: ChangeKind) -> Result<Option<Shown>, StateError> {
        match self.state.row(PRINTED, &place.key())? {
            Some(row) => Ok(Some(Shown::decode(&row)?)),
            None => Ok((kind != ChangeKind::Create).then_some(Shown::UNKNOWN)),
        }
    }

    /// At most `limit` changes that no printer has, ascending by path. They are marked durably first: from then on a person may
    /// have seen them.
    pub(super) fn unprinted(&self, wanted: Wanted, limit: usize) -> Result<Vec<Unprinted>, StateError> {
        let _turn = self.turn();
        let (mut found, mut rows) = (Vec::new(), Vec::new());
        let mut after: Option<Vec<u8>> = None;
        while found.len() < limit {
            let page = self.state.rows(UNPRINTED, self.queue.bytes(), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            for (key, row) in page {
                let (path, net) = (path_of(&key, 32)?, Net::decode(&row)?);
                let ready = wanted == Wanted::NotNeeded || net.presence != Presence::Awaited;
                if found.len() < limit
                    && ready
                    && let Some(unprinted) = self.hand_out(&path, &net)
                {
                    rows.extend(handed_row(key, net));
                    found.push(unprinted);
                }
            }
        }
        self.state.put_rows(&rows)?;
        Ok(found)
    }

    fn hand_out(&self, path: &RecordPath, net: &Net) -> Option<Unprinted> {
        let kind = net.kind()?;
        let mark = self.printers.hand_out(path)?;
        Some(Unprinted {
            path: path.clone(),
            kind,
            term: net.term,
            offset: net.offset,
            hash: net.now.and_then(|shown| shown.hash),
            size: net.now.map_or(0, |shown| shown.size),
            fetched: net.presence == Presence::Here,
            shown: net.now,
            mark,
        })
    }

    /// A printer has shown these; durable when this returns. What changed since is told against what was shown.
    pub(super) fn printed(&self, changes: &[Unprinted]) -> Result<(), StateError> {
        let _turn = self.turn();
        let mut rows = Vec::new();
        let confirmed: Vec<_> = changes.iter().filter(|change| self.printers.has(&change.mark)).collect();
        for change in &confirmed {
            let place = Place::new(&self.queue, &change.path);
            rows.push(printed_row(&place, change.shown));
            if let Some(mut net) = self.net_at(&place.key())? {
                net.printed(change.shown);
                rows.push(net_row(&place, &net));
            }
        }
        self.state.put_rows(&rows)?;
        confirmed.iter().for_each(|change| self.printers.confirm(&change.mark));
        Ok(())
    }
}

/// A row that has nothing to tell goes.
fn net_row(place: &Place<'_>, net: &Net) -> Row {
    match net.kind() {
        Some(_) => Row::put(UNPRINTED, place.key(), net.encode()),
        None => Row::remove(UNPRINTED, place.key()),
    }
}

/// The row of what is handed out now, unless it says so already.
fn handed_row(key: Vec<u8>, mut net: Net) -> Option<Row> {
    let said = std::mem::replace(&mut net.handed, true);
    (!said).then(|| Row::put(UNPRINTED, key, net.encode()))
}

fn printed_row(place: &Place<'_>, shown: Option<Shown>) -> Row {
    match shown {
        Some(shown) => Row::put(PRINTED, place.key(), shown.encode()),
        None => Row::remove(PRINTED, place.key()),
    }
}
