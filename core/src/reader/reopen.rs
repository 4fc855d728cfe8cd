//! A newer build may read what an older one had to set aside. [P-20]

use tidings_proto::Offset;

use super::change::{Change, ChangeKind};
use super::settle::opened;
use super::{HeldKind, Reader, ReaderStore, StagedRow};
use crate::seal::Openers;

impl Reader {
    /// Tries every quarantined row again and keeps what opens now as if it had come now. Gives the number of rows that opened.
    ///
    /// For the start of a process; the same transaction rules as for a frame.
    pub fn reopen<S: ReaderStore>(&self, store: &mut S) -> Result<u64, S::Error> {
        let (openers, mut count) = (Openers::new(&self.secrets, &self.queue), 0);
        for row in store.ending_through(Offset::new(u64::MAX))?.into_iter().filter(|row| row.kind == HeldKind::Quarantined) {
            let sealed = StagedRow { birth: row.birth, offset: row.offset, digest: row.digest, entry: row.bytes.clone() };
            let read = opened(&openers, sealed, Some(&row));
            let Some(path) = read.path.clone().filter(|_| read.kind != HeldKind::Quarantined) else { continue };
            let kind = match (row.path.is_some(), read.kind) {
                (true, HeldKind::Tombstone) => Some(ChangeKind::Delete),
                (false, HeldKind::Tombstone) => None,
                (true, _) => Some(ChangeKind::Update),
                (false, _) => Some(ChangeKind::Create),
            };
            if let Some(kind) = kind.filter(|_| !path.is_reserved()) {
                store.change(Change { path, kind, term: read.term, offset: read.offset, mutation: read.bytes.clone() })?;
            }
            store.put_held(read, Some(&row))?;
            count += 1;
        }
        Ok(count)
    }
}
