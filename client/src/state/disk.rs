//! The file under the state. It remembers how it failed: what a failed change has done depends on it.

use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

/// How a state failed. After this it changes nothing and shows nothing until it is opened anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFailure {
    /// The disk was full: the change that met it did not happen.
    Full,
    /// A write failed for another reason: the change that met it did not happen.
    Write,
    /// A sync failed. The change that met it may be whole in the file or not at all, and what the kernel failed to write it may since
    /// have marked as written: a later sync would say nothing about it. So there is none.
    Sync,
}

impl StateFailure {
    const ALL: [Self; 3] = [Self::Full, Self::Write, Self::Sync];
}

/// The first failure of a file; clones see the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures(Arc<AtomicU8>);

impl Failures {
    pub(super) fn first(&self) -> Option<StateFailure> {
        let number = usize::from(self.0.load(Ordering::Acquire));
        StateFailure::ALL.get(number.checked_sub(1)?).copied()
    }

    fn note(&self, failure: StateFailure) {
        let number = StateFailure::ALL.iter().position(|known| *known == failure).map_or(0, |at| at + 1);
        let number = u8::try_from(number).unwrap_or_default();
        // Only the first one tells what became of the change.
        let _ = self.0.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
    }

    fn written(&self, written: io::Result<()>) -> io::Result<()> {
        written.inspect_err(|error| {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            self.note(if full { StateFailure::Full } else { StateFailure::Write });
        })
    }
}

/// A file that notes what fails in it.
#[derive(Debug)]
pub(super) struct Disk<F = FileBackend> {
    file: F,
    failures: Failures,
}

impl<F: StorageBackend> Disk<F> {
    pub(super) fn new(file: F, failures: Failures) -> Self {
        Self { file, failures }
    }
}

impl<F: StorageBackend> StorageBackend for Disk<F> {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.failures.written(self.file.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.failures.note(StateFailure::Sync))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.failures.written(self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}
