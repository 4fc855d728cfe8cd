//! A file that fails: what a change has done, and what comes after.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::InMemoryBackend;

use super::*;

const TABLE: &str = "test/rows";

/// A file in memory that fails when it is told to.
#[derive(Debug, Default)]
struct Failing {
    file: InMemoryBackend,
    orders: Arc<Orders>,
}

#[derive(Debug, Default)]
struct Orders {
    is_full: AtomicBool,
    sync_fails: AtomicBool,
    writes: AtomicBool,
}

fn error_if(order: &AtomicBool, error: std::io::ErrorKind) -> std::io::Result<()> {
    if order.load(Ordering::SeqCst) { Err(error.into()) } else { Ok(()) }
}

impl StorageBackend for Failing {
    fn len(&self) -> std::io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        error_if(&self.orders.is_full, std::io::ErrorKind::StorageFull)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> std::io::Result<()> {
        error_if(&self.orders.sync_fails, std::io::ErrorKind::Other)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.orders.writes.store(true, Ordering::SeqCst);
        error_if(&self.orders.is_full, std::io::ErrorKind::StorageFull)?;
        self.file.write(offset, data)
    }
}

/// A state with one row, and what makes its file fail.
fn state() -> (State, Arc<Orders>) {
    let file = Failing::default();
    let orders = file.orders.clone();
    let state = State::over(Path::new("memory"), file).expect("a state");
    tables::create(&state.database).expect("tables");
    state.put_rows(&[row(1)]).expect("written");
    (state, orders)
}

fn row(number: u8) -> Row {
    Row::put(TABLE, vec![number], vec![number; 100])
}

#[test]
fn a_change_that_meets_a_full_disk_did_not_happen_and_nothing_is_changed_after_it() {
    let (state, orders) = state();
    orders.is_full.store(true, Ordering::SeqCst);
    assert!(matches!(state.put_rows(&[row(2)]), Err(StateError::Full(_))));
    assert_eq!(state.failure(), Some(StateFailure::Full));
    orders.is_full.store(false, Ordering::SeqCst);
    assert!(matches!(state.put_rows(&[row(3)]), Err(StateError::Full(_))));
}

/// [P-3] A later sync would say nothing about what an earlier one lost, so not a byte is written any more.
#[test]
fn after_a_failed_sync_nothing_more_is_written() {
    let (state, orders) = state();
    orders.sync_fails.store(true, Ordering::SeqCst);
    assert!(matches!(state.put_rows(&[row(2)]), Err(StateError::Unsynced(_))));
    assert_eq!(state.failure(), Some(StateFailure::Sync));
    orders.sync_fails.store(false, Ordering::SeqCst);
    orders.writes.store(false, Ordering::SeqCst);
    assert!(matches!(state.put_rows(&[row(3)]), Err(StateError::Failed)));
    drop(state);
    assert!(!orders.writes.load(Ordering::SeqCst));
}
