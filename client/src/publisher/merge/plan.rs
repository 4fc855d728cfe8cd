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
    /// What lives at the base and may have been deleted on the tail.
    pub(super) doubtful: Vec<RecordPath>,
    /// Latest version of a delete that was dropped: the floor version rises to it, or a third branch brings back what it deleted.
    pub(super) dropped: Version,
}

impl<'a> Plan<'a> {
    pub(super) fn new(live: &'a Live<'a>, floor_version: Version) -> Self {
        Self { live, floor_version, publish: BTreeMap::new(), rescued: 0, deleted: 0, doubtful: Vec::new(), dropped: Version::ZERO }
    }

    /// A row of the tail, or after all of those one of the outbox. What is decided already counts as if it lived.
    pub(super) fn take(&mut self, row: &Mutation) -> Result<(), StateError> {
        let live = self.now(&row.path)?;
        match fate(row, live.as_ref(), self.floor_version) {
            Fate::There => Ok(()),
            Fate::Nothing => {
                if live.is_none_or(|live| live.operation == Operation::Delete) {
                    self.dropped = self.dropped.max(row.version);
                }
                Ok(())
            }
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
            self.dropped = self.dropped.max(row.version);
        } else {
            self.publish.insert(row.path.clone(), row);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, clock: u64, value: Option<&'static str>) -> Mutation {
        Mutation {
            path: path.parse().expect("a path"),
            operation: if value.is_some() { Operation::Update } else { Operation::Delete },
            version: Version { clock, ..Version::ZERO },
            object: None,
            inline: value.map(Into::into),
            headers: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// What a merge of `rows` publishes where `live` lives and tombstones up to version `floor` were purged: paths and clocks; and the
    /// latest delete that it dropped.
    fn merged(live: &[Mutation], floor: u64, rows: &[Mutation]) -> (Vec<(String, u64)>, u64) {
        let live = |path: &RecordPath| Ok(live.iter().find(|row| row.path == *path).cloned());
        let mut plan = Plan::new(&live, Version { clock: floor, ..Version::ZERO });
        rows.iter().for_each(|row| plan.take(row).expect("it only looks"));
        let place = |row: &Mutation| if row.path.is_reserved() { "rescued".to_owned() } else { row.path.as_str().to_owned() };
        (plan.publish.values().map(|row| (place(row), row.version.clock)).collect(), plan.dropped.clock)
    }

    fn published(path: &str, clock: u64) -> Vec<(String, u64)> {
        vec![(path.to_owned(), clock)]
    }

    /// [P-5] Never over something newer, never dropped.
    #[test]
    fn a_value_is_published_if_it_is_later_and_rescued_if_it_is_not() {
        let live = [row("/a", 5, Some("base"))];
        assert_eq!(merged(&live, 0, &[row("/a", 6, Some("tail"))]), (published("/a", 6), 0));
        assert_eq!(merged(&live, 0, &[row("/a", 4, Some("tail"))]), (published("rescued", 4), 0));
        assert_eq!(merged(&live, 0, &[row("/a", 5, Some("base"))]), (Vec::new(), 0));
        assert_eq!(merged(&live, 0, &[row("/a", 5, Some("twin"))]), (published("rescued", 5), 0));
        assert_eq!(merged(&[], 7, &[row("/a", 8, Some("tail"))]), (published("/a", 8), 0));
        assert_eq!(merged(&[], 7, &[row("/a", 7, Some("tail"))]), (published("rescued", 7), 0));
    }

    /// What was deleted on one branch came back from a third one, whose value was later than all that the merge remembered. [P-5]
    #[test]
    fn a_delete_that_finds_nothing_to_delete_is_remembered() {
        assert_eq!(merged(&[], 3, &[row("/a", 9, None)]), (Vec::new(), 9));
        assert_eq!(merged(&[row("/a", 4, None)], 3, &[row("/a", 9, None)]), (Vec::new(), 9));
        assert_eq!(merged(&[], 3, &[row("/a", 8, Some("waits")), row("/a", 9, None)]), (Vec::new(), 9));
        assert_eq!(merged(&[row("/a", 10, Some("newer"))], 3, &[row("/a", 9, None)]), (Vec::new(), 0));
    }

    #[test]
    fn a_value_is_rescued_once() {
        let (tail, live) = (row("/a", 4, Some("tail")), row("/a", 5, Some("base")));
        let rescued = rescue(&tail);
        assert_eq!(merged(&[live.clone(), rescued.clone()], 0, std::slice::from_ref(&tail)), (Vec::new(), 0));
        let decided = Mutation { operation: Operation::Delete, inline: None, ..rescued };
        assert_eq!(merged(&[live, decided], 0, &[tail.clone(), tail]), (Vec::new(), 0));
    }
}
