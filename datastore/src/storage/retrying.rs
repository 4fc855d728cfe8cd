//! A storage that is asked again when it failed for a moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// How often and after how long a storage is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts, the first one included.
    pub attempts: u32,
    /// Longest pause after the first attempt; it doubles with each further one.
    pub pause: Duration,
    /// Longest pause of all.
    pub pause_max: Duration,
}

impl Default for Patience {
    /// Four attempts within about two seconds.
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_millis(300), pause_max: Duration::from_secs(2) }
    }
}

/// Repeats what ended with [`StorageError::Unavailable`]; every operation may be repeated. A read is repeated until it begins, not
/// once its bytes come.
pub struct Retrying {
    inner: Arc<dyn Driver>,
    patience: Patience,
}

impl Retrying {
    /// Asks `inner` with `patience`.
    pub fn new(inner: Arc<dyn Driver>, patience: Patience) -> Self {
        Self { inner, patience }
    }

    async fn repeat<'a, T>(&'a self, mut attempt: impl FnMut() -> Pending<'a, Result<T, StorageError>>) -> Result<T, StorageError> {
        let mut pause = self.patience.pause;
        for _ in 1..self.patience.attempts {
            match attempt().await {
                Err(StorageError::Unavailable(_)) => {}
                done => return done,
            }
            tokio::time::sleep(jittered(pause)).await;
            pause = pause.saturating_mul(2).min(self.patience.pause_max);
        }
        attempt().await
    }
}

impl Driver for Retrying {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.repeat(move || self.inner.create(name, content.clone())))
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.repeat(move || self.inner.replace(name, content.clone())))
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(self.repeat(move || self.inner.exchange(name, seen.clone(), content.clone())))
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(self.repeat(move || self.inner.read(name, limit)))
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.repeat(move || self.inner.remove(name)))
    }

    fn copies(&self) -> &[Arc<dyn Driver>] {
        self.inner.copies()
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        Box::pin(self.repeat(move || self.inner.list(prefix)))
    }
}

/// Half of the pause at least: many clients that failed together must not come back together.
fn jittered(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_between_its_half_and_its_whole() {
        let pause = Duration::from_millis(300);
        assert!((0..100).map(|_| jittered(pause)).all(|found| (pause / 2..=pause).contains(&found)));
    }
}
