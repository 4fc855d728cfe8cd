//! What becomes of each value of a tail and of the outbox. Pure. [P-5]

use std::collections::BTreeMap;

use tidings_core::{Fate, Mutation, Operation, RecordPath, Version, fate, rescue};

use crate::state::StateError;

/// What lives at the base, by path.
pub(super) type Live<'a> = dyn Fn(&RecordPath) -> Result<Option<Mutation>, StateError> + 'a;

/// What a merge publishes, as far as it is decided.
pub(super) struct Plan<'a> {
    live: &'a Live<'a>,
    floor_version: Version,
    /// What goes into the outbox. At most one for each record.
    pub(super) publish: BTreeMap<RecordPath, Mutation>,
    pub(super) rescued: u64,
    pub(super) deleted: u64,
}

impl<'a> Plan<'a> {
    pub(super) fn new(live: &'a Live<'a>, floor_version: Version) -> Self {
        Self { live, floor_version, publish: BTreeMap::new(), rescued: 0, deleted: 0 }
    }

    /// A row of the tail, or after all of those one of the outbox. What is decided already counts as if it lived.
    pub(super) fn take(&mut self, row: &Mutation) -> Result<(), StateError> {
        let live = self.now(&row.path)?;
        match fate(row, live.as_ref(), self.floor_version) {
            Fate::There | Fate::Nothing => Ok(()),
            Fate::Publish => self.put(row.clone()),
            Fate::Rescue => {
                let rescued = rescue(row);
                // Nothing is put there that lives there already, be it a tombstone.
                if self.now(&rescued.path)?.is_some() {
                    return Ok(());
                }
                self.rescued += 1;
                self.put(rescued)
            }
        }
    }

    /// What lives unchanged at the base and was deleted on the tail, where its tombstone is purged.
    pub(super) fn delete(&mut self, path: &RecordPath, version: Version) -> Result<(), StateError> {
        let gone = Mutation {
            path: path.clone(),
            operation: Operation::Delete,
            version,
            object: None,
            inline: None,
            headers: Vec::new(),
            unknown: Vec::new(),
        };
        self.deleted += 1;
        self.put(gone)
    }

    fn now(&self, path: &RecordPath) -> Result<Option<Mutation>, StateError> {
        match self.publish.get(path) {
            Some(decided) => Ok(Some(decided.clone())),
            None => (self.live)(path),
        }
    }

    /// A delete of what was never signed leaves nothing to publish.
    fn put(&mut self, row: Mutation) -> Result<(), StateError> {
        let exists = (self.live)(&row.path)?.is_some_and(|live| live.operation != Operation::Delete);
        if row.operation == Operation::Delete && !exists {
            self.publish.remove(&row.path);
        } else {
            self.publish.insert(row.path.clone(), row);
        }
        Ok(())
    }
}
