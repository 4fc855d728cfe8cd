//! A storage in memory that misbehaves for the objects it is told.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tidings_datastore::storage::{Capabilities, Content, Driver, MemoryStorage, Name, Pending, Reading, StorageError};
use tokio::sync::watch;

/// What happens to who reads an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// It is not there.
    Missing,
    /// One bit is another.
    Altered,
    /// The read never ends.
    Hanging,
    /// The storage fails.
    Failing,
}

/// The storage.
pub(crate) struct Shelf {
    inner: MemoryStorage,
    moods: Mutex<HashMap<Name, Mood>>,
    reads: Mutex<Vec<Name>>,
    read: watch::Sender<usize>,
    at_once: Mutex<(HashSet<u64>, usize)>,
}

impl Shelf {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStorage::new(),
            moods: Mutex::default(),
            reads: Mutex::default(),
            read: watch::Sender::new(0),
            at_once: Mutex::default(),
        })
    }

    /// From now on reads of `name` go like this; `None`: well.
    pub(crate) fn set(&self, name: &Name, mood: Option<Mood>) {
        let mut moods = self.moods.lock().expect("not poisoned");
        match mood {
            Some(mood) => drop(moods.insert(name.clone(), mood)),
            None => drop(moods.remove(name)),
        }
    }

    /// How often `name` was read.
    pub(crate) fn reads(&self, name: &Name) -> usize {
        self.reads.lock().expect("not poisoned").iter().filter(|read| *read == name).count()
    }

    /// Waits until there were so many reads of anything.
    pub(crate) async fn until_all_read(&self, count: usize) {
        self.read.subscribe().wait_for(|reads| *reads >= count).await.expect("the shelf is there");
    }

    /// Waits until `name` was read so often.
    pub(crate) async fn until_read(&self, name: &Name, count: usize) {
        let mut read = self.read.subscribe();
        read.wait_for(|_| self.reads(name) >= count).await.expect("the shelf is there");
    }

    /// The most reads that were open at once.
    pub(crate) fn at_once(&self) -> usize {
        self.at_once.lock().expect("not poisoned").1
    }

    fn opened(&self) -> u64 {
        let mut at_once = self.at_once.lock().expect("not poisoned");
        let number = self.reads.lock().expect("not poisoned").len() as u64;
        at_once.0.insert(number);
        at_once.1 = at_once.1.max(at_once.0.len());
        number
    }

    fn closed(&self, number: u64) {
        self.at_once.lock().expect("not poisoned").0.remove(&number);
    }

    async fn open(&self, name: &Name, limit: u64) -> Result<Reading, StorageError> {
        let mood = self.moods.lock().expect("not poisoned").get(name).copied();
        match mood {
            None => self.inner.read(name, limit).await,
            Some(Mood::Missing) => Err(StorageError::Missing),
            Some(Mood::Failing) => Err(StorageError::Unavailable("a test wants it".into())),
            Some(Mood::Hanging) => std::future::pending().await,
            Some(Mood::Altered) => {
                let reading = self.inner.read(name, limit).await?;
                let bytes = Bytes::from(vec![1; usize::try_from(reading.size).expect("small")]);
                let bytes = futures_util::stream::once(std::future::ready(Ok(bytes)));
                Ok(Reading { size: reading.size, bytes: Box::pin(bytes) })
            }
        }
    }
}

impl Driver for Shelf {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        "memory:shelf".into()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        self.inner.create(name, content)
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        self.inner.replace(name, content)
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let number = self.opened();
            self.reads.lock().expect("not poisoned").push(name.clone());
            self.read.send_modify(|count| *count += 1);
            tokio::task::yield_now().await;
            let read = self.open(name, limit).await;
            self.closed(number);
            read
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        self.inner.remove(name)
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}
