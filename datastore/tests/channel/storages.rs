//! Storages around others: one that counts reads, one that stops for ever at a call.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tidings_datastore::storage::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// Whole content of an object.
pub(crate) async fn content(storage: &dyn Driver, name: &Name) -> Bytes {
    let reading = storage.read(name, u64::MAX).await.expect("it is there");
    let pieces: Vec<Bytes> = reading.bytes.try_collect().await.expect("read");
    pieces.concat().into()
}

/// Names of all objects of queues.
pub(crate) async fn objects(storage: &dyn Driver) -> Vec<Name> {
    storage.list(&Name::new("q").expect("a name")).await.expect("listed")
}

/// Remembers what was read.
pub(crate) struct Counting {
    inner: Arc<dyn Driver>,
    read: Mutex<Vec<Name>>,
}

impl Counting {
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self { inner, read: Mutex::default() })
    }

    /// Names read since the last call.
    pub(crate) fn take(&self) -> Vec<Name> {
        std::mem::take(&mut self.read.lock().expect("not poisoned"))
    }

    pub(crate) fn count(&self) -> usize {
        self.read.lock().expect("not poisoned").len()
    }
}

/// Lets so many calls through; the next one never returns, with or without its effect.
pub(crate) struct Stopping {
    inner: Arc<dyn Driver>,
    left: AtomicUsize,
    effect: bool,
    stopped: tokio::sync::watch::Sender<bool>,
}

impl Stopping {
    pub(crate) fn new(inner: Arc<dyn Driver>, calls: usize, effect: bool) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicUsize::new(calls), effect, stopped: tokio::sync::watch::Sender::new(false) })
    }

    /// Waits until a call has stopped.
    pub(crate) async fn stopped(&self) {
        self.stopped.subscribe().wait_for(|stopped| *stopped).await.expect("it is there");
    }

    async fn through<T>(&self, call: Pending<'_, Result<T, StorageError>>) -> Result<T, StorageError> {
        let goes = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if goes {
            return call.await;
        }
        if self.effect {
            let _ = call.await;
        }
        self.stopped.send_replace(true);
        std::future::pending().await
    }
}

/// Holds back the first exchange after it is told to, until it may go on: what the storage shows may change in between.
pub(crate) struct Racing {
    inner: Arc<dyn Driver>,
    state: tokio::sync::watch::Sender<Race>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Race {
    Open,
    Armed,
    Held,
}

impl Racing {
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Arc<Self> {
        Arc::new(Self { inner, state: tokio::sync::watch::Sender::new(Race::Open) })
    }

    pub(crate) fn hold(&self) {
        self.state.send_replace(Race::Armed);
    }

    pub(crate) async fn held(&self) {
        self.state.subscribe().wait_for(|state| *state == Race::Held).await.expect("it is there");
    }

    pub(crate) fn go_on(&self) {
        self.state.send_replace(Race::Open);
    }
}

impl Driver for Racing {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        self.inner.create(name, content)
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        self.inner.replace(name, content)
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(async move {
            if *self.state.borrow() == Race::Armed {
                self.state.send_replace(Race::Held);
                self.state.subscribe().wait_for(|state| *state == Race::Open).await.expect("it is there");
            }
            self.inner.exchange(name, seen, content).await
        })
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        self.inner.read(name, limit)
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        self.inner.remove(name)
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}

impl Driver for Counting {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        self.inner.create(name, content)
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        self.inner.replace(name, content)
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        self.read.lock().expect("not poisoned").push(name.clone());
        self.inner.read(name, limit)
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        self.inner.remove(name)
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}

impl Driver for Stopping {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.through(self.inner.create(name, content)))
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.through(self.inner.replace(name, content)))
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(self.through(self.inner.read(name, limit)))
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.through(self.inner.remove(name)))
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}
