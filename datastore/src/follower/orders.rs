//! What is to be fetched, durably: the desk's rows about objects in storage.

use std::collections::HashSet;
use std::time::Duration;

use tidings_client::state::KeyAndValue;
use tidings_client::{Row, StateError};
use tidings_core::{ObjectReference, RecordPath};
use tidings_proto::Timestamp;

use super::desk::{Desk, PAGE, UNPRINTED};
use super::net::Presence;
use crate::fetch::{
    CACHED, Cached, DUE, FetchState, FetchStatus, GARBAGE, ORDERS, Order, Pace, Place, Shortfall, id_of_garbage, path_of, time_of_due,
};

/// Misses after which an object is named missing, once the view is as new as can be. [P-22]
const MISSES_MAX: u32 = 2;

/// How an attempt at one object ended.
pub(super) struct Finished {
    pub(super) path: RecordPath,
    pub(super) id: [u8; 32],
    pub(super) outcome: Result<(), Shortfall>,
}

/// What is to be tried now, and when the next after that.
pub(super) struct Due {
    pub(super) orders: Vec<(RecordPath, Order)>,
    pub(super) next: Option<Timestamp>,
}

impl Desk {
    /// Orders `object` for a record in the place of what was ordered or held for it.
    pub(super) fn arrange(
        &self,
        place: &Place<'_>,
        object: Option<&ObjectReference>,
        now: Timestamp,
        rows: &mut Vec<Row>,
    ) -> Result<Presence, StateError> {
        let (order, cached) = (self.order_at(&place.key())?, self.cached_at(&place.key())?);
        if let (Some(object), Some(order)) = (object, &order)
            && order.is_of(object)
        {
            return Ok(presence(order));
        }
        let same = |cached: &Cached| object.is_some_and(|object| (cached.id, cached.plaintext_hash) == (object.id, object.plaintext_hash));
        if order.is_none() && cached.as_ref().is_some_and(same) {
            return Ok(Presence::Here);
        }
        if let Some(order) = &order {
            place.cancel(order, rows);
        }
        if let Some(cached) = &cached {
            place.discard(cached, rows);
        }
        let Some(object) = object else { return Ok(Presence::Here) };
        let order = Order::new(object, self.first_state(), now);
        place.order(&order, rows);
        Ok(presence(&order))
    }

    fn first_state(&self) -> FetchState {
        if self.storage { FetchState::Waiting } else { FetchState::NoStorage }
    }

    pub(super) fn order_at(&self, key: &[u8]) -> Result<Option<Order>, StateError> {
        self.state.row(ORDERS, key)?.map(|row| Order::decode(&row)).transpose()
    }

    fn cached_at(&self, key: &[u8]) -> Result<Option<Cached>, StateError> {
        self.state.row(CACHED, key)?.map(|row| Cached::decode(&row)).transpose()
    }

    /// At most `limit` orders that are due and not in `at_work`, those that wait longest first. One that is further away than
    /// `horizon` is due too: the clock went back.
    pub(super) fn due(&self, now: Timestamp, horizon: Duration, limit: usize, at_work: &HashSet<RecordPath>) -> Result<Due, StateError> {
        let mut due = Due { orders: Vec::new(), next: None };
        let far = now.value().saturating_add(u64::try_from(horizon.as_millis()).unwrap_or(u64::MAX));
        for (key, _) in self.state.rows(DUE, self.queue.bytes(), None, limit + at_work.len())? {
            let (time, path) = (time_of_due(&key)?, path_of(&key, 40)?);
            if at_work.contains(&path) {
                continue;
            }
            if time > now && time.value() <= far {
                due.next = due.next.or(Some(time));
                continue;
            }
            if let Some(order) = self.order_at(&Place::new(&self.queue, &path).key())? {
                due.orders.push((path, order));
            }
        }
        Ok(due)
    }

    /// Whether `id` is still what is ordered for `path`.
    pub(super) fn is_ordered(&self, path: &RecordPath, id: &[u8; 32]) -> Result<bool, StateError> {
        Ok(self.order_at(&Place::new(&self.queue, path).key())?.is_some_and(|order| order.object.id == *id))
    }

    /// Keeps how attempts ended, all in one transaction. `current`: the view is as new as can be, so what is not in storage is
    /// missing. `chance` is a random number.
    pub(super) fn settle(&self, finished: &[Finished], current: bool, pace: &Pace, now: Timestamp, chance: u64) -> Result<(), StateError> {
        let _turn = self.turn();
        let mut rows = Vec::new();
        for finished in finished {
            let place = Place::new(&self.queue, &finished.path);
            // A later change of the record took the order's place.
            let Some(order) = self.order_at(&place.key())?.filter(|order| order.object.id == finished.id) else { continue };
            let presence = match &finished.outcome {
                Ok(()) => {
                    place.fulfil(&order, &mut rows);
                    Presence::Here
                }
                Err(shortfall) => {
                    let next = after(&order, shortfall, current, pace, now, chance);
                    place.reorder(&order, &next, &mut rows);
                    presence(&next)
                }
            };
            rows.extend(self.present(&place, presence)?);
        }
        self.state.put_rows(&rows)
    }

    /// The row that says how it stands with the value of an unprinted change, if that changed.
    fn present(&self, place: &Place<'_>, presence: Presence) -> Result<Option<Row>, StateError> {
        let Some(mut net) = self.net_at(&place.key())? else { return Ok(None) };
        let changed = std::mem::replace(&mut net.presence, presence) != presence;
        Ok(changed.then(|| Row::put(UNPRINTED, place.key(), net.encode())))
    }

    /// The file of a fetched object is gone or rotten: it is to be fetched again.
    pub(super) fn order_again(&self, path: &RecordPath, object: &ObjectReference, now: Timestamp) -> Result<(), StateError> {
        let _turn = self.turn();
        let place = Place::new(&self.queue, path);
        let Some(cached) = self.cached_at(&place.key())?.filter(|cached| cached.id == object.id) else { return Ok(()) };
        let mut rows = Vec::new();
        place.discard(&cached, &mut rows);
        place.order(&Order::new(object, self.first_state(), now), &mut rows);
        self.state.put_rows(&rows)
    }

    /// What was missed often enough to be named is tried once more now that the view is as new as can be. [P-22]
    pub(super) fn hurry(&self, now: Timestamp) -> Result<(), StateError> {
        self.revise(|order| {
            let unnamed = order.state == FetchState::Waiting && order.misses >= MISSES_MAX && order.due > now;
            unnamed.then(|| Order { due: now, ..order.clone() })
        })
    }

    /// Brings the orders of an earlier process to what this one knows: a storage came or went.
    pub(super) fn resume(&self, now: Timestamp) -> Result<(), StateError> {
        self.revise(|order| {
            let differs = (order.state == FetchState::NoStorage) == self.storage;
            differs.then(|| Order { state: self.first_state(), due: now, ..order.clone() })
        })
    }

    fn revise(&self, change: impl Fn(&Order) -> Option<Order>) -> Result<(), StateError> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let _turn = self.turn();
            let page = self.state.rows(ORDERS, self.queue.bytes(), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let mut rows = Vec::new();
            for (key, row) in page {
                let (path, order) = (path_of(&key, 32)?, Order::decode(&row)?);
                if let Some(next) = change(&order) {
                    let place = Place::new(&self.queue, &path);
                    place.reorder(&order, &next, &mut rows);
                    rows.extend(self.present(&place, presence(&next))?);
                }
            }
            self.state.put_rows(&rows)?;
        }
    }

    /// Orders nothing any more and gives up what was fetched.
    pub(super) fn withdraw_all(&self) -> Result<(), StateError> {
        let _turn = self.turn();
        loop {
            let (orders, cached) = (self.page(ORDERS)?, self.page(CACHED)?);
            if orders.is_empty() && cached.is_empty() {
                return Ok(());
            }
            let mut rows = Vec::new();
            for (key, row) in orders {
                Place::new(&self.queue, &path_of(&key, 32)?).cancel(&Order::decode(&row)?, &mut rows);
            }
            for (key, row) in cached {
                Place::new(&self.queue, &path_of(&key, 32)?).discard(&Cached::decode(&row)?, &mut rows);
            }
            self.state.put_rows(&rows)?;
        }
    }

    fn page(&self, table: &'static str) -> Result<Vec<KeyAndValue>, StateError> {
        self.state.rows(table, self.queue.bytes(), None, PAGE)
    }

    /// How many values are not here.
    pub(super) fn fetches(&self) -> Result<FetchStatus, StateError> {
        let (mut status, mut after) = (FetchStatus::default(), None::<Vec<u8>>);
        loop {
            let page = self.state.rows(ORDERS, self.queue.bytes(), after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(status) };
            after = Some(last.clone());
            for (_, row) in page {
                status.count(&Order::decode(&row)?);
            }
        }
    }

    /// Lets `sweep` remove the files of objects that were superseded, at most a page; whether there was a whole one. Within one
    /// turn: an object that is wanted again meanwhile must not lose its place among the superseded ones.
    pub(super) fn collect(&self, sweep: impl FnOnce(&[[u8; 32]]) -> Result<(), StateError>) -> Result<bool, StateError> {
        let _turn = self.turn();
        let rows = self.state.rows(GARBAGE, self.queue.bytes(), None, PAGE)?;
        let ids = rows.iter().map(|(key, _)| id_of_garbage(key)).collect::<Result<Vec<_>, _>>()?;
        sweep(&ids)?;
        let rows: Vec<_> = rows.into_iter().map(|(key, _)| Row::remove(GARBAGE, key)).collect();
        self.state.put_rows(&rows)?;
        Ok(ids.len() == PAGE)
    }
}

fn presence(order: &Order) -> Presence {
    match order.state {
        FetchState::Waiting => Presence::Awaited,
        _ => Presence::Unfetchable,
    }
}

/// An order after a failed attempt.
fn after(order: &Order, shortfall: &Shortfall, current: bool, pace: &Pace, now: Timestamp, chance: u64) -> Order {
    let mut next = Order { failures: order.failures.saturating_add(1), ..order.clone() };
    match shortfall {
        Shortfall::Altered => next.state = FetchState::Altered,
        Shortfall::TooNew => next.state = FetchState::TooNew,
        Shortfall::Missing => {
            next.misses = next.misses.saturating_add(1);
            if current && next.misses >= MISSES_MAX && next.state == FetchState::Waiting {
                next.state = FetchState::Missing;
            }
        }
        Shortfall::NoStorage | Shortfall::Failed(_) => {}
    }
    let delay = if next.state == FetchState::Waiting { pace.delay(next.failures, chance) } else { pace.slow(chance) };
    next.due = Timestamp::new(now.value().saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)));
    next
}
