//! Memory for publishes on their way: from their first byte until their answer. [P-19]
//!
//! A peer that begins frames and never ends them would otherwise hold megabytes for each stream.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For all connections together, bytes.
const BROKER_BYTES_MAX: usize = 512 * 1024 * 1024;
/// For one connection, bytes: two of the largest frames, or many usual ones.
const CONNECTION_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What may still be held by one connection, and by all.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    broker: Arc<Semaphore>,
    connection: Arc<Semaphore>,
}

impl Budget {
    /// That of all connections.
    pub(super) fn for_broker() -> Self {
        Self { broker: Arc::new(Semaphore::new(BROKER_BYTES_MAX)), connection: Arc::new(Semaphore::new(CONNECTION_BYTES_MAX)) }
    }

    /// A connection's share.
    pub(super) fn for_connection(&self) -> Self {
        Self { broker: self.broker.clone(), connection: Arc::new(Semaphore::new(CONNECTION_BYTES_MAX)) }
    }

    /// Takes nothing yet.
    pub(super) fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0, permits: None }
    }
}

/// Bytes that are taken; given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Budget,
    bytes: usize,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl Held {
    /// Takes more until `bytes` are taken. `None`: there is no room, and nothing more was taken. Never waits, so nobody who
    /// holds some waits for others who hold the rest.
    pub(super) fn grow(&mut self, bytes: usize) -> Option<()> {
        let more = u32::try_from(bytes.saturating_sub(self.bytes)).ok()?;
        if more == 0 {
            return Some(());
        }
        let broker = self.budget.broker.clone().try_acquire_many_owned(more).ok()?;
        let connection = self.budget.connection.clone().try_acquire_many_owned(more).ok()?;
        match &mut self.permits {
            Some((all, own)) => {
                all.merge(broker);
                own.merge(connection);
            }
            None => self.permits = Some((broker, connection)),
        }
        self.bytes = bytes;
        Some(())
    }

    /// Moves what is taken to the frame that is whole now; the next one begins with nothing.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, self.budget.hold())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [P-19]
    #[test]
    fn one_connection_gets_no_more_than_its_share_and_gives_it_back() {
        let broker = Budget::for_broker();
        let (one, two) = (broker.for_connection(), broker.for_connection());
        let mut held = one.hold();
        assert!(held.grow(CONNECTION_BYTES_MAX).is_some());
        assert!(one.hold().grow(1).is_none());
        assert!(two.hold().grow(1).is_some());
        drop(held.take());
        assert!(one.hold().grow(1).is_some());
    }
}
