//! What a publish touches in the store: asked for, found, and seen through the publishes of the same group before it.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use tidings_proto::{Birth, Offset, Pseudonym, QueueId};

use super::publish::Checked;
use crate::store::{Append, LiveRow, Store, StoreError};

/// What has to be known of the store before a publish can be judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Births that its entries replace.
    pub births: Vec<Birth>,
    /// Offsets that it purges.
    pub offsets: Vec<Offset>,
    /// Whether the whole access list is needed: a publish that changes no access needs none of it.
    pub access: bool,
}

/// What was found of it. Whatever is absent is not in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Live rows by birth.
    pub births: HashMap<Birth, LiveRow>,
    /// Live rows by offset.
    pub offsets: HashMap<Offset, LiveRow>,
    /// The access list; empty unless it was asked for.
    pub access: BTreeMap<Pseudonym, Bytes>,
}

/// What earlier publishes of one queue in one group change before the store has it.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    births: HashMap<Birth, Option<LiveRow>>,
    offsets: HashMap<Offset, Option<LiveRow>>,
    access: BTreeMap<Pseudonym, Option<Bytes>>,
    /// The branch that the store has goes: none of its rows is there any more.
    replaced: bool,
}

impl Lookups {
    /// What `checked` needs.
    pub(super) fn of(checked: &Checked) -> Self {
        let replaced = checked.entries.iter().map(|(row, _)| row).filter(|row| row.birth.value() != row.offset.value());
        Self { births: replaced.map(|row| row.birth).collect(), offsets: checked.purged.clone(), access: checked.touches_access() }
    }
}

impl Overlay {
    /// Reads `lookups` from the store and corrects the answer by what this overlay knows.
    ///
    /// # Errors
    /// Those of the store's reads.
    pub fn find(&self, store: &dyn Store, queue: &QueueId, lookups: &Lookups) -> Result<Found, StoreError> {
        let mut found = match self.replaced {
            true => Found::read(store, queue, &Lookups { access: lookups.access, ..Lookups::default() })?,
            false => Found::read(store, queue, lookups)?,
        };
        correct(&mut found.births, &lookups.births, &self.births);
        correct(&mut found.offsets, &lookups.offsets, &self.offsets);
        if lookups.access {
            for (reader, row) in &self.access {
                match row {
                    Some(row) => found.access.insert(*reader, row.clone()),
                    None => found.access.remove(reader),
                };
            }
        }
        Ok(found)
    }

    /// Takes up what `append` changes.
    pub fn record(&mut self, append: &Append) {
        if append.replaces {
            (self.births, self.offsets, self.replaced) = (HashMap::new(), HashMap::new(), true);
        }
        for row in &append.retired {
            self.births.insert(row.birth, None);
            self.offsets.insert(row.offset, None);
        }
        for row in append.entries.iter().map(|(row, _)| row).chain(&append.staged) {
            self.births.insert(row.birth, Some(*row));
            self.offsets.insert(row.offset, Some(*row));
        }
        self.access.extend(append.access_removed.iter().map(|reader| (*reader, None)));
        self.access.extend(append.access_put.iter().map(|(reader, row)| (*reader, Some(row.clone()))));
    }
}

impl Found {
    fn read(store: &dyn Store, queue: &QueueId, lookups: &Lookups) -> Result<Self, StoreError> {
        let mut found = Self::default();
        if !lookups.births.is_empty() {
            let rows = store.live_of(queue, &lookups.births)?;
            found.births = rows.into_iter().flatten().map(|row| (row.birth, row)).collect();
        }
        if !lookups.offsets.is_empty() {
            let rows = store.live_at(queue, &lookups.offsets)?;
            found.offsets = rows.into_iter().flatten().map(|row| (row.offset, row)).collect();
        }
        if lookups.access {
            found.access = store.access_list(queue)?.into_iter().collect();
        }
        Ok(found)
    }
}

fn correct<K: Copy + Eq + std::hash::Hash>(found: &mut HashMap<K, LiveRow>, asked: &[K], known: &HashMap<K, Option<LiveRow>>) {
    for key in asked {
        match known.get(key) {
            Some(Some(row)) => found.insert(*key, *row),
            Some(None) => found.remove(key),
            None => continue,
        };
    }
}

#[cfg(test)]
mod tests {
    use tidings_proto::Timestamp;

    use super::*;
    use crate::engine::test_owner::{Edit, Request, TestOwner, puts};
    use crate::engine::{Admission, Applied, QueueState};
    use crate::store::MemoryStore;

    /// What an earlier publish of the group retired is gone for the later ones, although the store still has it.
    #[test]
    fn an_overlay_hides_what_was_retired_and_shows_what_was_put() {
        let (mut owner, store) = (TestOwner::new(1), MemoryStore::new());
        let (mut state, mut overlay) = (QueueState::load(owner.queue(), None).expect("new"), Overlay::default());
        let delete = Request { edits: vec![Edit::Delete(1)], ..Request::default() };
        let purge = Request { floor: Some(3), ..puts(&[2]) };
        for (number, request) in [puts(&[1, 2]), delete, purge].into_iter().enumerate() {
            let checked = owner.checked(request);
            let found = overlay.find(&store, &owner.queue(), &state.lookups(&checked)).expect("memory");
            let admission = Admission { now: Timestamp::ZERO, live_bytes_max: 0 };
            let Ok(Applied::Append(append)) = state.apply(checked, &found, admission) else { panic!("a valid publish") };
            overlay.record(&append);
            if number < 2 {
                store.append(std::slice::from_ref(&append)).expect("it continues");
            }
        }
        let both = Lookups { births: vec![Birth::new(1), Birth::new(2)], offsets: (1..6).map(Offset::new).collect(), access: false };
        let found = overlay.find(&store, &owner.queue(), &both).expect("memory");
        assert_eq!(found.births.into_values().map(|row| row.offset.value()).collect::<Vec<_>>(), [4]);
        assert_eq!(found.offsets.into_keys().map(Offset::value).collect::<Vec<_>>(), [4]);
    }
}
