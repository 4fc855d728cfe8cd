//! Two branches of the own queue become one: a base that is gone on from, and a tail whose values are judged one by one. [P-5]
//!
//! One durable transaction, before anything is signed: a crash before it changed nothing, and after it the outbox says what is left to
//! do.

mod found; // where the branches part
mod plan;
mod readers;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use tidings_core::recovery::{OpenedRecord, Recovered, RecoveryError};
use tidings_core::writer::{NewTerm, TermKeys, Writer, WriterError, WriterName};
use tidings_core::{Mutation, RecordPath, Side, Version};
use tidings_proto::{Pseudonym, Term, Timestamp};

use super::compare::Comparison;
use super::owner::{Owner, put_term};
use crate::clock;
use crate::state::{DOUBTFUL_MAX, MergeRow, OwnStep, OwnView, Rebuilt, StateError};
use found::{Found, Lacked, lacked};
use plan::Plan;

/// Why nothing was merged. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Writer(#[from] WriterError),
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
}

impl Owner {
    /// Merges what was recovered from `source`, durably. The next head opens a new term; until everything of the merge is signed,
    /// nobody who holds the tail is brought on. False if what was recovered is not to be merged.
    pub(super) fn merge(&mut self, recovered: &Recovered, source: &str, now: Timestamp) -> Result<bool, MergeError> {
        // Whoever stood at one head may give back another: one that is merged already, or one of a writer that nobody confirmed. [P-4]
        if !matches!(self.compare(recovered.head().bytes())?, Comparison::Other(_)) {
            return Ok(false);
        }
        let found = self.find(recovered)?;
        let (own, theirs, fork) = (self.rank(), recovered.head().rank(), found.fork);
        self.seen = self.seen.max(theirs.term).max(own.term);
        let own_is_base = fork < own.number && own > theirs;
        tracing::warn!(fork = fork.value(), own = %own, theirs = %theirs, own_is_base, "merging another branch of the own queue");
        if own_is_base { self.merge_theirs(&found, source, now) } else { self.rebuild_on_theirs(&found, source, now) }?;
        Ok(true)
    }

    /// The own branch goes on; theirs is the tail.
    fn merge_theirs(&mut self, found: &Found<'_>, source: &str, now: Timestamp) -> Result<(), MergeError> {
        let state = self.state.clone();
        let live = |path: &RecordPath| state.read(|transaction| Ok(OwnView(transaction).record(path)?.map(|(_, mutation)| mutation)));
        let floor_version = self.writer.head().map_or(Version::ZERO, |head| head.head().floor_version);
        let tail: HashMap<&RecordPath, &OpenedRecord> = found.opened.records.iter().map(|row| (&row.record.path, row)).collect();
        let tails_floor = found.recovered.head().head().floor_version;
        let (outbox, deleted, doubtful) = self.state.read(|transaction| {
            let (mut deleted, mut doubtful) = (Vec::new(), Vec::new());
            OwnView(transaction).live_records(|record, _| {
                match lacked(found.own(&record), &record, tails_floor) {
                    _ if tail.contains_key(&record.path) => {}
                    Lacked::Lives => {}
                    Lacked::Deleted => deleted.push(record.path),
                    Lacked::Doubtful => doubtful.push(record.path),
                }
                Ok(())
            })?;
            Ok((OwnView(transaction).outbox_rows()?, deleted, doubtful))
        })?;
        let mut clock = self.clock.max(latest(found, &outbox));
        let mut plan = Plan::new(&live, floor_version);
        let waiting: HashSet<&RecordPath> = outbox.iter().map(|row| &row.path).collect();
        self.delete_all(&mut plan, deleted.iter().filter(|path| !waiting.contains(path)), &mut clock, now)?;
        plan.doubtful = doubtful;
        for row in found.opened.records.iter().filter(|row| found.theirs(&row.record) != Side::Common) {
            plan.take(&row.mutation)?;
        }
        // What waits was written on this base: only what the tail changes of the same record concerns it.
        let touched: Vec<&Mutation> = outbox.iter().filter(|row| plan.publish.contains_key(&row.path)).collect();
        for row in touched {
            plan.take(row)?;
        }
        let mut writer = self.writer.clone();
        let name = if self.is_moved() { WriterName::New } else { WriterName::Kept };
        let how = NewTerm { writer: name, keys: TermKeys::New { seen: found.opened.writer.current_epoch() } };
        writer.open_term(self.seen, how, &mut clock::entropy()?)?;
        writer.raise_floor_version(plan.dropped.max(tails_floor));
        let removed = self.removed_on_their_tail(found)?;
        let note =
            self.note(found, source, now, &plan, readers::named(&self.writer, &removed), readers::only(&found.opened.writer, &self.writer));
        self.state.write(|transaction| {
            let step = OwnStep(transaction);
            put_beside(&step, plan.publish.values())?;
            step.put_merged(found.heads()?)?;
            finish(&step, &writer, clock, &removed, &note)
        })?;
        Ok(self.reread(writer, clock)?)
    }

    /// Their branch goes on; what was signed here since the fork is the tail.
    fn rebuild_on_theirs(&mut self, found: &Found<'_>, source: &str, now: Timestamp) -> Result<(), MergeError> {
        let base: HashMap<&RecordPath, &Mutation> = found.opened.records.iter().map(|row| (&row.record.path, &row.mutation)).collect();
        let live = |path: &RecordPath| Ok(base.get(path).map(|mutation| Mutation::clone(mutation)));
        let own_floor = self.writer.head().map_or(Version::ZERO, |head| head.head().floor_version);
        let floor_version = found.recovered.head().head().floor_version;
        let (outbox, paths, tail, left) = self.state.read(|transaction| {
            let view = OwnView(transaction);
            let (mut paths, mut tail) = (HashSet::new(), Vec::new());
            view.live_records(|record, value| {
                if found.own(&record) != Side::Common {
                    tail.push((record.offset, value()?));
                }
                paths.insert(record.path);
                Ok(())
            })?;
            tail.sort_by_key(|(offset, _)| *offset);
            Ok((view.outbox_rows()?, paths, tail, view.heads_above(found.fork)?))
        })?;
        let mut clock = self.clock.max(latest(found, &outbox));
        let waiting: HashSet<&RecordPath> = outbox.iter().map(|row| &row.path).collect();
        let mut plan = Plan::new(&live, floor_version);
        let lacks = |row: &&OpenedRecord| !paths.contains(&row.record.path) && !waiting.contains(&row.record.path);
        let (mut gone, mut doubtful) = (Vec::new(), Vec::new());
        for OpenedRecord { record, .. } in found.opened.records.iter().filter(lacks) {
            match lacked(found.theirs(record), record, own_floor) {
                Lacked::Lives => {}
                Lacked::Deleted => gone.push(&record.path),
                Lacked::Doubtful => doubtful.push(record.path.clone()),
            }
        }
        self.delete_all(&mut plan, gone.into_iter(), &mut clock, now)?;
        plan.doubtful = doubtful;
        tail.iter().try_for_each(|(_, row)| plan.take(row))?;
        outbox.iter().try_for_each(|row| plan.take(row))?;
        let mut writer = found.opened.writer.clone();
        writer.open_term(self.seen, NewTerm::on_found_head(self.writer.current_epoch()), &mut clock::entropy()?)?;
        writer.raise_floor_version(plan.dropped.max(own_floor));
        let removed = self.removed_on_the_own_tail(found)?;
        let unknown = readers::only(&self.writer, &found.opened.writer);
        let note = self.note(found, source, now, &plan, readers::named(&found.opened.writer, &removed), unknown);
        let rebuilt = rebuilt(found, &writer)?;
        self.state.write(|transaction| {
            let step = OwnStep(transaction);
            step.rebuild(&rebuilt)?;
            step.put_rebuilt(found.recovered.head().rank().number)?;
            put_plan(&step, &mut plan.publish)?;
            step.put_merged(left)?;
            // Whatever else it signed on this branch is a part of what is gone on from.
            step.know_writer(&found.recovered.head().head().writer, Term::new(u64::MAX))?;
            finish(&step, &writer, clock, &removed, &note)
        })?;
        Ok(self.reread(writer, clock)?)
    }

    fn delete_all<'p>(
        &self,
        plan: &mut Plan<'_>,
        gone: impl Iterator<Item = &'p RecordPath>,
        clock: &mut u64,
        now: Timestamp,
    ) -> Result<(), StateError> {
        for path in gone {
            let version = Version::after(Version { clock: *clock, ..Version::ZERO }, now, self.key.version_node());
            *clock = version.clock;
            plan.delete(path, version)?;
        }
        Ok(())
    }

    fn note(
        &self,
        found: &Found<'_>,
        source: &str,
        now: Timestamp,
        plan: &Plan<'_>,
        removed: Vec<crate::state::MergedReader>,
        unknown: Vec<crate::state::MergedReader>,
    ) -> MergeRow {
        let (own, theirs) = (self.rank(), found.recovered.head().rank());
        let (base, tail) = if found.fork < own.number && own > theirs { (own, theirs) } else { (theirs, own) };
        let published = (plan.publish.len() as u64).saturating_sub(plan.rescued + plan.deleted);
        MergeRow {
            time: now,
            source: source.to_owned(),
            fork: found.fork,
            base,
            tail,
            published,
            rescued: plan.rescued,
            deleted: plan.deleted,
            doubtful: plan.doubtful.len() as u64,
            doubtful_paths: plan.doubtful.iter().take(DOUBTFUL_MAX).cloned().collect(),
            removed,
            unknown,
        }
    }
}

/// The clock of the latest version anywhere: whatever is written from now on is later.
fn latest(found: &Found<'_>, outbox: &[Mutation]) -> u64 {
    let records = found.opened.records.iter().map(|row| row.record.version.clock);
    let floor = found.recovered.head().head().floor_version.clock;
    records.chain(outbox.iter().map(|row| row.version.clock)).chain([floor]).max().unwrap_or_default()
}

fn rebuilt<'a>(found: &'a Found<'_>, writer: &'a Writer) -> Result<Rebuilt<'a>, StateError> {
    let mut history = found.heads()?;
    history.pop();
    let missing = || StateError::Damaged("an attachment of a recovered queue is missing".into());
    let names = found.recovered.rows().iter().flat_map(|row| [row.grant, row.owner_copy]);
    let attachments: Vec<Bytes> =
        names.map(|hash| found.recovered.attachment(&hash).cloned().ok_or_else(missing)).collect::<Result<_, _>>()?;
    let records = found.opened.records.iter().map(|row| (&row.record, &row.mutation, row.entry.as_ref())).collect();
    let (head, base) = (found.recovered.head().cursor(), found.recovered.head().head().base);
    Ok(Rebuilt { writer, head, base, fork: found.fork, history, records, attachments })
}

/// The outbox anew: first what the tail brings, then what waited, in its order.
fn put_plan(step: &OwnStep<'_>, publish: &mut BTreeMap<RecordPath, Mutation>) -> Result<(), StateError> {
    let mut outbox = step.outbox()?;
    let waited: Vec<RecordPath> = outbox.take_all()?.into_iter().map(|row| row.path).collect();
    let waited: Vec<Mutation> = waited.iter().filter_map(|path| publish.remove(path)).collect();
    publish.values().chain(&waited).try_for_each(|row| outbox.put(row, None))
}

/// What the tail brings beside what waits, each in the place of what waits for the same record.
fn put_beside<'m>(step: &OwnStep<'_>, publish: impl Iterator<Item = &'m Mutation>) -> Result<(), StateError> {
    let mut outbox = step.outbox()?;
    for row in publish {
        let sequence = outbox.row(&row.path)?.map(|kept| kept.sequence);
        outbox.put(row, sequence)?;
    }
    Ok(())
}

fn finish(step: &OwnStep<'_>, writer: &Writer, clock: u64, removed: &[Pseudonym], note: &MergeRow) -> Result<(), StateError> {
    put_term(step, writer)?;
    step.put_clock(clock)?;
    step.put_removals(removed)?;
    step.put_merge(note)
}
