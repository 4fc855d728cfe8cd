//! Changes on their way to a person and back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidings_core::RecordPath;
use tidings_core::reader::ChangeKind;
use tidings_proto::{Offset, Term};
use tokio::sync::watch;

use super::net::Shown;

/// Whether a change is printed before its value is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Only changes whose value is here, or is named missing, altered or without storage.
    Fetched,
    /// All changes.
    NotNeeded,
}

/// A net change that no printer has confirmed. Nobody else gets it, nor a later change of its record, until it is confirmed or
/// dropped; dropped, it comes again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Unprinted {
    /// The record.
    pub path: RecordPath,
    /// What was printed last against what is now.
    pub kind: ChangeKind,
    /// Term of the entry that decides.
    pub term: Term,
    /// Its offset.
    pub offset: Offset,
    /// BLAKE3 of the value; `None` without a value.
    pub hash: Option<[u8; 32]>,
    /// Length of the value, bytes.
    pub size: u64,
    /// Nothing is missing: the value came with the change or is in the cache, or there is none.
    pub fetched: bool,
    pub(super) shown: Option<Shown>,
    pub(super) mark: Mark,
}

/// Which records printers have. In memory: a printer does not outlive the process.
pub(super) struct Printers {
    out: Mutex<Out>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Out {
    by_path: HashMap<RecordPath, u64>,
    handed: u64,
}

/// One handing-out. Dropped, it gives the record back.
#[derive(Debug)]
pub(super) struct Mark {
    printers: Arc<Printers>,
    path: RecordPath,
    number: u64,
}

impl Printers {
    fn with<T>(&self, change: impl FnOnce(&mut Out) -> T) -> T {
        change(&mut self.out.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Marks a record; `None` if a printer has it.
    pub(super) fn hand_out(self: &Arc<Self>, path: &RecordPath) -> Option<Mark> {
        let number = self.with(|out| {
            if out.by_path.contains_key(path) {
                return None;
            }
            out.handed += 1;
            out.by_path.insert(path.clone(), out.handed);
            Some(out.handed)
        })?;
        Some(Mark { printers: self.clone(), path: path.clone(), number })
    }

    /// Whether the mark still stands.
    pub(super) fn has(&self, mark: &Mark) -> bool {
        self.with(|out| out.by_path.get(&mark.path) == Some(&mark.number))
    }

    /// The record is printed. A later change of it may be handed out.
    pub(super) fn confirm(&self, mark: &Mark) {
        let stood = self.with(|out| {
            let stands = out.by_path.get(&mark.path) == Some(&mark.number);
            if stands {
                out.by_path.remove(&mark.path);
            }
            stands
        });
        if stood {
            self.tell();
        }
    }

    /// Wakes whoever prints.
    pub(super) fn tell(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Default for Printers {
    fn default() -> Self {
        Self { out: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl std::fmt::Debug for Printers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Printers")
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.printers.confirm(self);
    }
}
