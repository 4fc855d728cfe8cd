//! Two branches become one, as P-5 says; each part of the rule can be left out.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::head::{At, Head, Path, Row, fork, within};
use super::owner::{Owner, State};
use super::random::Random;

/// The parts of the rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// Rescued values are published as records; else the owner alone keeps them.
    pub(crate) rescued_are_records: bool,
    /// What the tail deleted and purged is deleted.
    pub(crate) purged_deletes_count: bool,
    /// A broker that holds the tail waits for the whole merge.
    pub(crate) refill_waits: bool,
    /// The floor version rises over both branches and over deletes that were dropped.
    pub(crate) floor_version_rises: bool,
}

impl Default for Rule {
    fn default() -> Self {
        Self { rescued_are_records: true, purged_deletes_count: true, refill_waits: true, floor_version_rises: true }
    }
}

/// What a merge publishes, while it is made.
struct Plan<'a> {
    base: &'a Head,
    publish: BTreeMap<Path, Row>,
    rescue: Vec<Row>,
    /// Latest delete that was dropped.
    dropped: u64,
}

impl Plan<'_> {
    fn now(&self, path: Path) -> Option<&Row> {
        self.publish.get(&path).or_else(|| self.base.entry(path).map(|entry| &entry.row))
    }

    fn take(&mut self, row: Row) {
        let live = self.now(row.path).cloned();
        if live.as_ref() == Some(&row) {
            return;
        }
        if let Path::Rescued(..) = row.path {
            if live.is_none_or(|live| row.version > live.version) {
                self.publish.insert(row.path, row);
            }
            return;
        }
        let later = live.as_ref().map_or(self.base.floor_version, |live| live.version) < row.version;
        match (row.delete, live) {
            (true, Some(live)) if later && !live.delete => self.put(row),
            (true, Some(_)) => {}
            (true, None) => self.dropped = self.dropped.max(row.version),
            (false, _) if later => self.put(row),
            (false, _) => self.rescue.push(row),
        }
    }

    fn put(&mut self, row: Row) {
        self.publish.insert(row.path, row);
    }

    /// What of the common history lives unchanged here and not on the tail.
    fn delete_purged(&mut self, tail: &Head, fork_offset: u64) {
        let gone = self.base.live.values().filter(|entry| entry.offset <= fork_offset && !entry.row.delete);
        let gone: Vec<Row> = gone.filter(|entry| !tail.live.contains_key(&entry.birth)).map(|entry| entry.row.clone()).collect();
        for row in gone {
            let version = tail.floor_version.max(row.version + 1);
            self.publish.entry(row.path).or_insert(Row { path: row.path, version, delete: true, body: 0 });
        }
    }
}

impl Owner {
    /// Merges a head that is not in the own history. Gives whether there was a tail.
    pub(crate) fn merge(&mut self, theirs: Rc<Head>, rule: Rule, random: &mut Random) -> bool {
        let (mine, other): (At, At) = (self.state.head.clone(), Some(theirs.clone()));
        let common = fork(&mine, &other).map_or(0, |head| head.offset);
        let rebuilt = within(&mine, &other);
        let own_is_base = !rebuilt && mine.as_ref().is_some_and(|mine| mine.rank > theirs.rank);
        let (base, tail) = if own_is_base { (mine.clone(), other) } else { (other, mine.clone()) };
        let Some(base_head) = base.clone() else { return false };
        let mut rows: Vec<Row> = std::mem::take(&mut self.state.outbox).into_values().collect();
        rows.extend(tail.iter().flat_map(|tail| tail.live.values()).filter(|entry| entry.offset > common).map(|entry| entry.row.clone()));
        rows.sort_by_key(|row| row.version);
        let mut plan = Plan { base: &base_head, publish: BTreeMap::new(), rescue: Vec::new(), dropped: 0 };
        rows.into_iter().for_each(|row| plan.take(row));
        if let Some(tail) = tail.iter().find(|_| rule.purged_deletes_count && !rebuilt) {
            plan.delete_purged(tail, common);
        }
        let Plan { mut publish, rescue, dropped, .. } = plan;
        for row in rescue {
            let Path::Plain(place) = row.path else { continue };
            let path = Path::Rescued(place, row.version);
            if !rule.rescued_are_records {
                self.state.kept.push(row);
            } else if base_head.entry(path).is_none() {
                publish.entry(path).or_insert(Row { path, ..row });
            }
        }
        if rule.floor_version_rises {
            let tails = tail.as_ref().map_or(0, |tail| tail.floor_version);
            self.state.floor_version = self.state.floor_version.max(base_head.floor_version).max(tails).max(dropped);
        }
        self.go_on(base_head, publish, theirs.rank.0, random);
        !rebuilt
    }

    fn go_on(&mut self, base: Rc<Head>, publish: BTreeMap<Path, Row>, seen: u64, random: &mut Random) {
        let versions = publish.values().chain(base.live.values().map(|entry| &entry.row)).map(|row| row.version);
        let newest = versions.chain([base.floor_version, self.state.floor_version]).max().unwrap_or(0);
        let own = self.state.head.as_ref().map_or(0, |head| head.rank.0);
        let state = std::mem::take(&mut self.state);
        let clock = state.clock.max(newest + 1);
        let merging = publish.keys().copied().collect();
        self.state = State { head: Some(base), merging, outbox: publish, clock, writer: random.next(), ..state };
        self.state.known.insert(self.state.writer);
        self.open_term(own.max(seen), random);
    }
}
