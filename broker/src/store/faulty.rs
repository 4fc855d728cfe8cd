//! A store that fails as disks and networks do, from a seed: the same seed and calls give the same failures.
//!
//! It keeps two states: what reads see, and what survives [`FaultyStore::crash`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::entropy::Entropy;
use tidings_core::history::NodeIndex;
use tidings_proto::{Birth, ContentHash, Offset, Pseudonym, QueueId};

use super::{Acked, Append, Cause, LiveRow, MemoryStore, QueueRow, Scan, ScanLimit, Snapshot, Staged, Store, StoreError};

/// How one write fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `Unavailable`: nothing happened.
    Refused,
    /// `Indeterminate`, without effect.
    RequestLost,
    /// `Indeterminate`, with a durable effect.
    AnswerLost,
    /// `Indeterminate`: reads see the effect, a crash undoes it, and until then every write is answered `Poisoned`.
    SyncFailed,
    /// `Ok`, and reads see the effect, but a crash before the next honest sync undoes it: a disk that lies.
    SyncSkipped,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Refused, Self::RequestLost, Self::AnswerLost, Self::SyncFailed, Self::SyncSkipped];
}

/// How often what fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Writes in a thousand that meet [`Fault::Refused`].
    pub refused: u16,
    /// Writes in a thousand that meet [`Fault::RequestLost`].
    pub request_lost: u16,
    /// Writes in a thousand that meet [`Fault::AnswerLost`].
    pub answer_lost: u16,
    /// Writes in a thousand that meet [`Fault::SyncFailed`].
    pub sync_failed: u16,
    /// Writes in a thousand that meet [`Fault::SyncSkipped`].
    pub sync_skipped: u16,
    /// Reads in a thousand that are answered `Unavailable`.
    pub read_refused: u16,
    /// Longest time an operation takes, milliseconds; see [`FaultyStore::take_delay`].
    pub delay_ms_max: u32,
}

impl Faults {
    /// Nothing fails.
    pub const NONE: Self =
        Self { refused: 0, request_lost: 0, answer_lost: 0, sync_failed: 0, sync_skipped: 0, read_refused: 0, delay_ms_max: 0 };

    fn share(&self, fault: Fault) -> u16 {
        match fault {
            Fault::Refused => self.refused,
            Fault::RequestLost => self.request_lost,
            Fault::AnswerLost => self.answer_lost,
            Fault::SyncFailed => self.sync_failed,
            Fault::SyncSkipped => self.sync_skipped,
        }
    }

    /// The fault that a number below a thousand stands for.
    fn pick(&self, mut number: u16) -> Option<Fault> {
        Fault::ALL.into_iter().find(|fault| {
            let hit = number < self.share(*fault);
            number = number.saturating_sub(self.share(*fault));
            hit
        })
    }
}

/// A store in memory that fails.
pub struct FaultyStore {
    state: Mutex<State>,
}

impl FaultyStore {
    /// An empty one.
    pub fn new(seed: [u8; 32], faults: Faults) -> Self {
        let state = State {
            visible: MemoryStore::new(),
            durable: MemoryStore::new(),
            unsynced: Vec::new(),
            poisoned: false,
            damaged: BTreeSet::new(),
            faults,
            next: VecDeque::new(),
            delay: Duration::ZERO,
            entropy: Entropy::new(seed),
        };
        Self { state: Mutex::new(state) }
    }

    /// From now on these faults happen.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The next write that no earlier call has a fault for meets this one.
    pub fn fail_next(&self, fault: Fault) {
        self.state().next.push_back(fault);
    }

    /// From now on nothing of this queue can be read or changed: `Damaged`.
    pub fn damage(&self, queue: QueueId) {
        self.state().damaged.insert(queue);
    }

    /// The machine loses power and starts again: what was not synced is gone, and a poisoned store takes writes again.
    pub fn crash(&self) {
        let mut state = self.state();
        state.unsynced.clear();
        state.poisoned = false;
        state.visible = state.durable.clone();
    }

    /// A copy of what is durable, as a backup takes it.
    pub fn backup(&self) -> MemoryStore {
        self.state().durable.clone()
    }

    /// The machine starts again on a disk that holds `backup`: everything later is gone.
    pub fn put_back(&self, backup: &MemoryStore) {
        self.state().durable = backup.clone();
        self.crash();
    }

    /// Time that the operations since the last call would have taken. They do not sleep: whoever keeps the clock adds it.
    pub fn take_delay(&self) -> Duration {
        std::mem::take(&mut self.state().delay)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, queue: Option<&QueueId>, read: impl FnOnce(&MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state();
        state.pass_time();
        if state.draw() < state.faults.read_refused {
            return Err(refused());
        }
        queue.map_or(Ok(()), |queue| state.check(queue))?;
        read(&state.visible)
    }
}

impl Store for FaultyStore {
    fn queue(&self, queue: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        self.read(Some(queue), |store| store.queue(queue))
    }

    fn append(&self, group: &[Append]) -> Result<(), StoreError> {
        self.state().write(Write::Append(group.to_vec()))
    }

    fn stage(&self, staged: &Staged) -> Result<(), StoreError> {
        self.state().write(Write::Stage(staged.clone()))
    }

    fn unstage(&self, queue: &QueueId) -> Result<(), StoreError> {
        self.state().write(Write::Unstage(*queue))
    }

    fn live_of(&self, queue: &QueueId, births: &[Birth]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.read(Some(queue), |store| store.live_of(queue, births))
    }

    fn live_at(&self, queue: &QueueId, offsets: &[Offset]) -> Result<Vec<Option<LiveRow>>, StoreError> {
        self.read(Some(queue), |store| store.live_at(queue, offsets))
    }

    fn scan(&self, queue: &QueueId, after: Offset, limit: ScanLimit) -> Result<Option<Scan>, StoreError> {
        self.read(Some(queue), |store| store.scan(queue, after, limit))
    }

    fn bitmap(&self, queue: &QueueId, through: Offset, limit: ScanLimit) -> Result<Option<(RoaringTreemap, Scan)>, StoreError> {
        self.read(Some(queue), |store| store.bitmap(queue, through, limit))
    }

    fn history(&self, queue: &QueueId, nodes: &[NodeIndex]) -> Result<Vec<Option<[u8; 32]>>, StoreError> {
        self.read(Some(queue), |store| store.history(queue, nodes))
    }

    fn access(&self, queue: &QueueId, reader: &Pseudonym) -> Result<Option<Bytes>, StoreError> {
        self.read(Some(queue), |store| store.access(queue, reader))
    }

    fn access_list(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.read(Some(queue), |store| store.access_list(queue))
    }

    fn was_removed(&self, queue: &QueueId, reader: &Pseudonym) -> Result<bool, StoreError> {
        self.read(Some(queue), |store| store.was_removed(queue, reader))
    }

    fn attachment(&self, queue: &QueueId, hash: &ContentHash) -> Result<Option<Bytes>, StoreError> {
        self.read(Some(queue), |store| store.attachment(queue, hash))
    }

    fn acknowledge(&self, group: &[Acked]) -> Result<(), StoreError> {
        self.state().write(Write::Acknowledge(group.to_vec()))
    }

    /// What it shows does not fail any more: the queue was read when it was made.
    fn snapshot<'a>(&'a self, queue: &QueueId) -> Result<Option<Box<dyn Snapshot + 'a>>, StoreError> {
        self.read(Some(queue), |store| Ok(store.owned_snapshot(queue)))
    }

    fn acknowledgements(&self, queue: &QueueId) -> Result<Vec<(Pseudonym, Bytes)>, StoreError> {
        self.read(Some(queue), |store| store.acknowledgements(queue))
    }
}

struct State {
    /// What reads see: `durable` and then `unsynced`.
    visible: MemoryStore,
    durable: MemoryStore,
    unsynced: Vec<Write>,
    poisoned: bool,
    damaged: BTreeSet<QueueId>,
    faults: Faults,
    next: VecDeque<Fault>,
    delay: Duration,
    entropy: Entropy,
}

impl State {
    fn write(&mut self, write: Write) -> Result<(), StoreError> {
        self.pass_time();
        if self.poisoned {
            return Err(StoreError::Poisoned);
        }
        write.queues().iter().try_for_each(|queue| self.check(queue))?;
        let fault = self.fault();
        match fault {
            Some(Fault::Refused) => return Err(refused()),
            Some(Fault::RequestLost) => return Err(lost("request lost")),
            _ => write.apply(&self.visible)?,
        }
        let synced = write.is_synced();
        self.unsynced.push(write);
        match fault {
            Some(Fault::AnswerLost) if !synced => Err(lost("answer lost")),
            None if !synced => Ok(()),
            Some(Fault::SyncSkipped) => Ok(()),
            Some(Fault::SyncFailed) => {
                self.poisoned = true;
                Err(lost("sync failed"))
            }
            _ => {
                self.sync();
                if fault.is_some() { Err(lost("answer lost")) } else { Ok(()) }
            }
        }
    }

    fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            write.apply(&self.durable).expect("what applied to the visible state applies to the durable one");
        }
    }

    fn check(&self, queue: &QueueId) -> Result<(), StoreError> {
        if self.damaged.contains(queue) {
            return Err(StoreError::Damaged { queue: Some(*queue), detail: "injected".to_owned() });
        }
        Ok(())
    }

    fn fault(&mut self) -> Option<Fault> {
        let number = self.draw();
        self.next.pop_front().or_else(|| self.faults.pick(number))
    }

    fn pass_time(&mut self) {
        let number = u32::from_be_bytes(self.entropy.bytes());
        let millis = u64::from(number) % (u64::from(self.faults.delay_ms_max) + 1);
        self.delay += Duration::from_millis(millis);
    }

    /// A number below a thousand.
    fn draw(&mut self) -> u16 {
        u16::from_be_bytes(self.entropy.bytes()) % 1000
    }
}

#[derive(Debug)]
enum Write {
    Append(Vec<Append>),
    Acknowledge(Vec<Acked>),
    Stage(Staged),
    Unstage(QueueId),
}

impl Write {
    fn apply(&self, store: &MemoryStore) -> Result<(), StoreError> {
        match self {
            Self::Append(group) => store.append(group),
            Self::Acknowledge(group) => store.acknowledge(group),
            Self::Stage(staged) => store.stage(staged),
            Self::Unstage(queue) => store.unstage(queue),
        }
    }

    /// Whether it is durable once it is answered.
    fn is_synced(&self) -> bool {
        matches!(self, Self::Append(_) | Self::Acknowledge(_))
    }

    fn queues(&self) -> Vec<QueueId> {
        match self {
            Self::Append(group) => group.iter().map(|append| append.queue).collect(),
            Self::Acknowledge(group) => group.iter().map(|acked| acked.queue).collect(),
            Self::Stage(staged) => vec![staged.queue],
            Self::Unstage(queue) => vec![*queue],
        }
    }
}

fn refused() -> StoreError {
    StoreError::Unavailable(Cause::new("injected"))
}

fn lost(what: &str) -> StoreError {
    StoreError::Indeterminate(Cause::new(format!("injected: {what}")))
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyStore").field("faults", &self.state().faults).finish_non_exhaustive()
    }
}
