//! How much is fetched at once, by all follows together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

/// Fetches at once.
const FETCHES_MAX: usize = 8;
/// Fetches at once from one storage: one that hangs leaves room for the others.
const STORAGE_FETCHES_MAX: usize = 6;
/// Sealed bytes at once.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes are counted in pieces of this size.
const PIECE_BYTES: u64 = 64 * 1024;

/// How long to wait between attempts at one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bound of the first delay; it doubles with each failure.
    pub shortest: Duration,
    /// Bound of the longest delay.
    pub longest: Duration,
}

impl Default for Pace {
    /// 250 ms doubling to a minute.
    fn default() -> Self {
        Self { shortest: Duration::from_millis(250), longest: Duration::from_secs(60) }
    }
}

impl Pace {
    /// The delay after so many failures in a row: between half the bound and the bound. `chance` is a random number.
    pub(crate) fn delay(&self, failures: u32, chance: u64) -> Duration {
        jittered(self.shortest.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.longest), chance)
    }

    /// The delay for what is not expected to come.
    pub(crate) fn slow(&self, chance: u64) -> Duration {
        jittered(self.longest, chance)
    }
}

/// At most 8 fetches and 64 MiB of sealed bytes at once, at most 6 fetches from one storage. One value is shared by all follows of
/// a process; follows that wait for one storage get their turns in the order they came, each waits in at most one place.
pub struct FetchLimits {
    fetches: Arc<Semaphore>,
    pieces: Arc<Semaphore>,
    storages: Mutex<HashMap<String, Arc<Semaphore>>>,
    alone: Mutex<HashMap<[u8; 32], Weak<tokio::sync::Mutex<()>>>>,
    moves: Mutex<()>,
    pace: Pace,
}

/// The right to fetch one object, until this is dropped.
pub(crate) struct Ticket {
    _storage: OwnedSemaphorePermit,
    _fetch: OwnedSemaphorePermit,
    _pieces: OwnedSemaphorePermit,
}

impl FetchLimits {
    /// The limits, with delays between attempts.
    pub fn new(pace: Pace) -> Self {
        Self {
            fetches: Arc::new(Semaphore::new(FETCHES_MAX)),
            pieces: Arc::new(Semaphore::new(pieces(BYTES_MAX) as usize)),
            storages: Mutex::default(),
            alone: Mutex::default(),
            moves: Mutex::default(),
            pace,
        }
    }

    pub(crate) fn pace(&self) -> &Pace {
        &self.pace
    }

    /// Waits for the turn to fetch `sealed_bytes` from the storage at `address`. Dropping the future leaves the queue.
    pub(crate) async fn enter(&self, address: &str, sealed_bytes: u64) -> Ticket {
        let storage = self.storage(address);
        let never_closed = "the limits are never closed";
        let _storage = storage.acquire_owned().await.expect(never_closed);
        let _fetch = self.fetches.clone().acquire_owned().await.expect(never_closed);
        let _pieces = self.pieces.clone().acquire_many_owned(pieces(sealed_bytes.min(BYTES_MAX))).await.expect(never_closed);
        Ticket { _storage, _fetch, _pieces }
    }

    fn storage(&self, address: &str) -> Arc<Semaphore> {
        let mut storages = self.storages.lock().unwrap_or_else(PoisonError::into_inner);
        storages.entry(address.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(STORAGE_FETCHES_MAX))).clone()
    }

    /// Waits until nobody else is at work on this object: what two records want is fetched once.
    pub(crate) async fn alone(&self, id: &[u8; 32]) -> OwnedMutexGuard<()> {
        self.alone_at(id).lock_owned().await
    }

    fn alone_at(&self, id: &[u8; 32]) -> Arc<tokio::sync::Mutex<()>> {
        let mut alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = alone.get(id).and_then(Weak::upgrade) {
            return lock;
        }
        alone.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        alone.insert(*id, Arc::downgrade(&lock));
        lock
    }

    /// Files come into the cache and leave it one at a time, so that what was just found unused is not what somebody just found.
    pub(crate) fn moving(&self) -> MutexGuard<'_, ()> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FetchLimits {
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

impl std::fmt::Debug for FetchLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FetchLimits({} of {FETCHES_MAX} free)", self.fetches.available_permits())
    }
}

fn jittered(bound: Duration, chance: u64) -> Duration {
    bound.mul_f64(0.5 + chance as f64 / u64::MAX as f64 / 2.0)
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// What the future gives at this moment.
    async fn ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    #[test]
    fn delays_double_up_to_a_minute_and_never_fall_below_half_their_bound() {
        let pace = Pace::default();
        for (failures, bound) in [(1, 250), (2, 500), (3, 1_000), (9, 60_000), (u32::MAX, 60_000)] {
            assert_eq!(pace.delay(failures, u64::MAX), Duration::from_millis(bound));
            assert_eq!(pace.delay(failures, 0), Duration::from_millis(bound / 2));
        }
    }

    #[tokio::test]
    async fn one_storage_leaves_room_for_the_others() {
        let limits = FetchLimits::default();
        let mut taken = Vec::new();
        for _ in 0..STORAGE_FETCHES_MAX {
            taken.push(limits.enter("file:///slow", 1).await);
        }
        let mut waiting = Box::pin(limits.enter("file:///slow", 1));
        assert!(ready(&mut waiting).await.is_none());
        taken.push(limits.enter("file:///other", 1).await);
        taken.clear();
        assert!(ready(&mut waiting).await.is_some());
    }

    #[tokio::test]
    async fn large_objects_wait_for_the_bytes_of_others() {
        let limits = FetchLimits::default();
        let large = limits.enter("file:///a", BYTES_MAX).await;
        let mut waiting = Box::pin(limits.enter("file:///b", 1));
        assert!(ready(&mut waiting).await.is_none());
        drop(large);
        assert!(ready(&mut waiting).await.is_some());
    }

    /// Three follows of one storage, each with one place in the queue, are served in turn.
    #[tokio::test]
    async fn follows_of_one_storage_take_turns() {
        let limits = FetchLimits::default();
        let mut taken = Vec::new();
        for _ in 0..STORAGE_FETCHES_MAX {
            taken.push(limits.enter("file:///a", 1).await);
        }
        let (mut first, mut second) = (Box::pin(limits.enter("file:///a", 1)), Box::pin(limits.enter("file:///a", 1)));
        assert!(ready(&mut first).await.is_none() && ready(&mut second).await.is_none());
        taken.pop();
        let first = ready(&mut first).await;
        let mut again = Box::pin(limits.enter("file:///a", 1));
        assert!(first.is_some() && ready(&mut again).await.is_none());
        taken.pop();
        let second = ready(&mut second).await;
        assert!(second.is_some() && ready(&mut again).await.is_none());
    }
}
