//! A storage that fails as storages do, from a seed or a script: for tests of what stands above it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use tidings_core::Entropy;

use super::memory::reading;
use super::{Capabilities, Content, Driver, Name, Pending, Reading, StorageError};

/// How one operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Fault {
    /// Write or remove: `Unavailable`, and nothing happened.
    WriteFailed,
    /// Write or remove: `Unavailable`, but it happened.
    AnswerLost,
    /// Write: `Ok`, but reads see it only after this many that do not.
    Delayed(u32),
    /// Write: `Ok`, but it is gone.
    Lost,
    /// Read: `Unavailable`.
    ReadFailed,
    /// Read: half of the bytes, and no error.
    Cut,
    /// Read: one bit is another.
    Altered,
}

/// How often what fails, in a thousand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// [`Fault::WriteFailed`].
    pub write_failed: u16,
    /// [`Fault::AnswerLost`].
    pub answer_lost: u16,
    /// [`Fault::Delayed`], by one to four reads.
    pub delayed: u16,
    /// [`Fault::Lost`].
    pub lost: u16,
    /// [`Fault::ReadFailed`].
    pub read_failed: u16,
    /// [`Fault::Cut`].
    pub cut: u16,
    /// [`Fault::Altered`].
    pub altered: u16,
}

/// A storage around another one that fails.
pub struct Faulty {
    inner: Arc<dyn Driver>,
    state: Mutex<State>,
}

struct State {
    faults: Faults,
    script: VecDeque<Fault>,
    /// Reads of a name that do not see it yet.
    delayed: BTreeMap<Name, u32>,
    lost: BTreeSet<Name>,
    entropy: Entropy,
}

impl Faulty {
    /// Fails as `faults` says, the same for the same seed and calls.
    pub fn new(inner: Arc<dyn Driver>, seed: [u8; 32], faults: Faults) -> Self {
        let state = State { faults, script: VecDeque::new(), delayed: BTreeMap::new(), lost: BTreeSet::new(), entropy: Entropy::new(seed) };
        Self { inner, state: Mutex::new(state) }
    }

    /// From now on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The next operation of its kind that no earlier call has a fault for meets this one.
    pub fn fail_next(&self, fault: Fault) {
        self.state().script.push_back(fault);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, name: &Name, write: Pending<'_, Result<(), StorageError>>) -> Result<(), StorageError> {
        let fault = self.state().next(&[Fault::WriteFailed, Fault::AnswerLost, Fault::Delayed(1), Fault::Lost]);
        if fault == Some(Fault::WriteFailed) {
            return Err(failed());
        }
        write.await?;
        let mut state = self.state();
        state.lost.remove(name);
        match fault {
            Some(Fault::AnswerLost) => return Err(failed()),
            Some(Fault::Delayed(reads)) => drop(state.delayed.insert(name.clone(), reads)),
            Some(Fault::Lost) => drop(state.lost.insert(name.clone())),
            _ => {}
        }
        Ok(())
    }
}

impl State {
    /// The fault that the next operation meets, if it can meet one of these.
    fn next(&mut self, kinds: &[Fault]) -> Option<Fault> {
        let fits = |fault: &Fault| kinds.iter().any(|kind| std::mem::discriminant(kind) == std::mem::discriminant(fault));
        if let Some(at) = self.script.iter().position(fits) {
            return self.script.remove(at);
        }
        let mut number = u16::from_be_bytes(self.entropy.bytes()) % 1_000;
        for kind in kinds {
            let share = self.faults.share(*kind);
            if number < share {
                let reads = 1 + u32::from(self.entropy.bytes::<1>()[0] % 4);
                return Some(if matches!(kind, Fault::Delayed(_)) { Fault::Delayed(reads) } else { *kind });
            }
            number -= share;
        }
        None
    }

    fn visible(&mut self, name: &Name) -> bool {
        let Some(reads) = self.delayed.get_mut(name) else { return !self.lost.contains(name) };
        *reads = reads.saturating_sub(1);
        if *reads == 0 {
            self.delayed.remove(name);
        }
        false
    }
}

impl Faults {
    /// Nothing fails.
    pub const NONE: Self = Self { write_failed: 0, answer_lost: 0, delayed: 0, lost: 0, read_failed: 0, cut: 0, altered: 0 };

    fn share(&self, fault: Fault) -> u16 {
        match fault {
            Fault::WriteFailed => self.write_failed,
            Fault::AnswerLost => self.answer_lost,
            Fault::Delayed(_) => self.delayed,
            Fault::Lost => self.lost,
            Fault::ReadFailed => self.read_failed,
            Fault::Cut => self.cut,
            Fault::Altered => self.altered,
        }
    }
}

impl Driver for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn create<'a>(&'a self, name: &'a Name, content: Content) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.write(name, self.inner.create(name, content)))
    }

    fn replace<'a>(&'a self, name: &'a Name, content: Bytes) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(self.write(name, self.inner.replace(name, content)))
    }

    fn exchange<'a>(&'a self, name: &'a Name, seen: Option<Bytes>, content: Bytes) -> Pending<'a, Result<bool, StorageError>> {
        Box::pin(async move {
            let mut done = false;
            let exchange = async {
                done = self.inner.exchange(name, seen, content).await?;
                Ok(())
            };
            self.write(name, Box::pin(exchange)).await?;
            Ok(done)
        })
    }

    fn read<'a>(&'a self, name: &'a Name, limit: u64) -> Pending<'a, Result<Reading, StorageError>> {
        Box::pin(async move {
            let (visible, fault) = {
                let mut state = self.state();
                (state.visible(name), state.next(&[Fault::ReadFailed, Fault::Cut, Fault::Altered]))
            };
            match fault {
                Some(Fault::ReadFailed) => Err(failed()),
                _ if !visible => Err(StorageError::Missing),
                None => self.inner.read(name, limit).await,
                Some(fault) => {
                    let read = self.inner.read(name, limit).await?;
                    let mut bytes: BytesMut = read.bytes.try_collect().await?;
                    match fault {
                        Fault::Cut => bytes.truncate(bytes.len() / 2),
                        _ => bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1),
                    }
                    reading(bytes.freeze(), limit)
                }
            }
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Pending<'a, Result<(), StorageError>> {
        Box::pin(async move {
            let fault = self.state().next(&[Fault::WriteFailed, Fault::AnswerLost]);
            if fault == Some(Fault::WriteFailed) {
                return Err(failed());
            }
            self.inner.remove(name).await?;
            if fault.is_some() { Err(failed()) } else { Ok(()) }
        })
    }

    fn list<'a>(&'a self, prefix: &'a Name) -> Pending<'a, Result<Vec<Name>, StorageError>> {
        self.inner.list(prefix)
    }
}

fn failed() -> StorageError {
    StorageError::Unavailable("a test wants it".into())
}
