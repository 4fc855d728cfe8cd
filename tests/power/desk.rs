//! Where the threads of a test meet: who gives lines to the owner, who hears its results, and who waits for them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ledger::{Ask, Ledger};

/// Lines of `apply` that are on their way at once.
const ON_THE_WAY: usize = 12;
/// How often somebody who waits looks whether it is over.
const GLANCE: Duration = Duration::from_millis(50);

/// The ledger, and the lines that are on their way.
pub(crate) struct Desk {
    ledger: Mutex<Ledger>,
    /// Lines of this life of `apply` that have no answer yet, by their number.
    waiting: Mutex<BTreeMap<u64, Ask>>,
    changed: Condvar,
    feeds: AtomicBool,
}

impl Desk {
    /// Nothing was asked for; the seed decides what will be.
    pub(crate) fn new(seed: u64) -> Self {
        let ledger = Mutex::new(Ledger::new(seed));
        Self { ledger, waiting: Mutex::default(), changed: Condvar::new(), feeds: AtomicBool::new(false) }
    }

    /// What was said.
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Ask>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new `apply` begins.
    pub(crate) fn begin(&self) {
        self.waiting().clear();
        self.feeds.store(true, Ordering::Relaxed);
    }

    /// Nothing more is asked for.
    pub(crate) fn stop(&self) {
        self.feeds.store(false, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// A result line.
    pub(crate) fn answered(&self, said: &Value) {
        let ask = said["line"].as_u64().and_then(|line| self.waiting().remove(&line));
        ask.into_iter().for_each(|ask| self.ledger().answered(&ask, said));
        self.changed.notify_all();
    }

    /// Gives `apply` lines as fast as it answers them, until it ends or nothing more is asked for.
    pub(crate) fn feed(&self, mut input: ChildStdin) {
        for number in 1.. {
            let mut waiting = self.waiting();
            while waiting.len() >= ON_THE_WAY && self.feeds.load(Ordering::Relaxed) {
                waiting = self.changed.wait_timeout(waiting, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
            }
            let ask = self.ledger().ask();
            let line = format!("{}\n", ask.line);
            waiting.insert(number, ask);
            drop(waiting);
            if !self.feeds.load(Ordering::Relaxed) || input.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Waits until so many lines were receipted, all in all.
    pub(crate) fn wait_for_receipts(&self, receipts: u64, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut waiting = self.waiting();
        while self.ledger().receipts < receipts {
            assert!(Instant::now() < deadline, "nothing is receipted: {:?}", self.ledger().violations);
            waiting = self.changed.wait_timeout(waiting, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
