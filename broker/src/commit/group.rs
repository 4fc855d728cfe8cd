//! One group: judge each publish, write all that was accepted at once, answer all.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tidings_core::Cursor;
use tidings_proto::{QueueId, Refusal, RefusalCode, Timestamp};

use super::cache::Cache;
use super::{CommitSettings, Work};
use crate::engine::{Admission, Adoption, Applied, Checked, Committed, Overlay, QueueState, Receipted, refusal_of};
use crate::store::{Append, Store, StoreError};

type Answer = Result<Receipted, Refusal>;

/// Turns groups of publishes into single synced writes.
///
/// For each store there is one of these, and nothing else appends to that store. It holds no handle to it: the caller passes
/// it, so that a simulation can put faults around it.
#[derive(Debug)]
pub struct CommitQueue {
    settings: CommitSettings,
    hot: Cache,
}

impl CommitQueue {
    /// Nothing hot yet.
    pub fn new(settings: CommitSettings) -> Self {
        Self { settings, hot: Cache::new(settings.hot_queues_max) }
    }

    /// Its bounds.
    pub fn settings(&self) -> &CommitSettings {
        &self.settings
    }

    /// Commits a group in order and answers each publish or transfer in its place. Whatever is answered `Ok` is durable. [P-7]
    ///
    /// Deterministic and blocking. A refusal of one publish does not touch those of other queues. `OutcomeUnknown` means:
    /// repeat the same bytes; every other refusal: nothing changed.
    pub fn commit_group<W: Into<Work>>(&mut self, store: &dyn Store, now: Timestamp, group: Vec<W>) -> Vec<Answer> {
        let admission = Admission { now, live_bytes_max: self.settings.live_bytes_max };
        let mut steps = Group::default();
        for item in group.into_iter().map(Into::into) {
            let queue = item.queue();
            steps.queues.push(queue);
            if let Err(refusal) = self.judge(store, &mut steps, item, admission) {
                if refusal.code == RefusalCode::Damaged {
                    store.contradicted(&queue, &refusal.detail);
                }
                steps.answers.push(Err(refusal));
            }
        }
        steps.write(store);
        for (queue, opened) in steps.open {
            self.hot.put(queue, opened.state);
        }
        steps.answers
    }

    /// Opens the queue if this group has not yet, and takes the step.
    fn judge(&mut self, store: &dyn Store, group: &mut Group, work: Work, admission: Admission) -> Result<(), Refusal> {
        let queue = work.queue();
        let mut opened = match group.open.remove(&queue) {
            Some(opened) => opened,
            None => Opened { state: self.state(store, queue)?, overlay: Overlay::default() },
        };
        let judged = match work {
            Work::Publish(checked) => opened.judge(store, *checked, admission),
            Work::Adopt(adoption) => opened.adopt(*adoption, admission.now),
        };
        group.open.insert(queue, opened);
        judged.map(|(append, receipted)| group.accept(append, receipted))
    }

    fn state(&mut self, store: &dyn Store, queue: QueueId) -> Result<QueueState, Refusal> {
        if let Some(state) = self.hot.take(&queue) {
            return Ok(state);
        }
        store.queue(&queue).and_then(|row| QueueState::load(queue, row)).map_err(|error| {
            if let StoreError::Damaged { detail, .. } = &error {
                store.contradicted(&queue, detail);
            }
            refusal_of(&error)
        })
    }

    #[cfg(test)]
    pub(super) fn hot_queues(&self) -> usize {
        self.hot.len()
    }
}

/// A queue that this group touches: later publishes see earlier ones before the store has them.
struct Opened {
    state: QueueState,
    overlay: Overlay,
}

impl Opened {
    fn judge(&mut self, store: &dyn Store, checked: Checked, admission: Admission) -> Result<(Append, Receipted), Refusal> {
        let queue = checked.queue();
        let found = self.overlay.find(store, &queue, &self.state.lookups(&checked)).map_err(|error| refusal_of(&error))?;
        let previous = self.state.cursor();
        let applied = self.state.apply(checked, &found, admission)?;
        let delta = |append: &Append| append.entries.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<Bytes>>();
        let (append, entries) = match applied {
            Applied::Append(append) => (append, Some(delta)),
            Applied::AlreadyStands(append) => (append, None),
        };
        let access_changed = entries.is_none() || !(append.access_put.is_empty() && append.access_removed.is_empty());
        let entries = entries.map(|delta| delta(&append));
        self.accept(*append, previous, access_changed, entries)
    }

    /// Takes a transfer if the queue stands where it was judged. Live subscriptions are told of the head alone, and read. [P-10]
    fn adopt(&mut self, adoption: Adoption, now: Timestamp) -> Result<(Append, Receipted), Refusal> {
        let previous = self.state.cursor();
        let (state, append) = adoption.at(&self.state, now)?;
        self.state = state;
        self.accept(append, previous, true, None)
    }

    fn accept(
        &mut self,
        append: Append,
        previous: Cursor,
        access_changed: bool,
        entries: Option<Vec<Bytes>>,
    ) -> Result<(Append, Receipted), Refusal> {
        let (head, receipt) = self.state.head().zip(self.state.receipt()).ok_or_else(nothing_stands)?;
        let replaced = append.replaces;
        let committed = Committed { queue: append.queue, head: head.clone(), previous, access_changed, replaced, entries };
        self.overlay.record(&append);
        Ok((append, Receipted { receipt, committed: Arc::new(committed) }))
    }
}

/// What became of a group so far.
#[derive(Default)]
struct Group {
    /// The queue of each publish.
    queues: Vec<QueueId>,
    /// The answer to each; of an accepted one before it is written, the answer it gets once it is.
    answers: Vec<Answer>,
    open: BTreeMap<QueueId, Opened>,
    appends: Vec<Append>,
}

impl Group {
    fn accept(&mut self, append: Append, receipted: Receipted) {
        self.appends.push(append);
        self.answers.push(Ok(receipted));
    }

    /// Writes what was accepted. A queue that alone stands in the way is left out, and the rest written without it.
    fn write(&mut self, store: &dyn Store) {
        while !self.appends.is_empty() {
            let Err(error) = store.append(&self.appends) else { return };
            // That nothing is written is told once, by who watches the store's condition, and not again for every refused publish.
            match error {
                StoreError::Full(_) | StoreError::Poisoned => {
                    tracing::debug!(%error, publishes = self.appends.len(), "publishes were not stored")
                }
                _ => tracing::error!(%error, publishes = self.appends.len(), "publishes were not stored"),
            }
            match culprit(&error).filter(|queue| self.appends.iter().any(|append| append.queue == *queue)) {
                Some(queue) => self.give_up(queue, refusal_at(store, queue, &error)),
                None => self.give_up_all(&error),
            }
        }
    }

    fn give_up_all(&mut self, error: &StoreError) {
        while let Some(queue) = self.appends.first().map(|append| append.queue) {
            self.give_up(queue, refusal_of(error));
        }
    }

    /// Takes back what was accepted for `queue`, with the refusals that were judged by it, and forgets its state.
    fn give_up(&mut self, queue: QueueId, refusal: Refusal) {
        let answers = self.queues.iter().zip(&mut self.answers).filter(|(of, _)| **of == queue).map(|(_, answer)| answer);
        for answer in answers.skip_while(|answer| answer.is_err()) {
            *answer = Err(refusal.clone());
        }
        self.appends.retain(|append| append.queue != queue);
        self.open.remove(&queue);
    }
}

/// The one queue that an error is about.
fn culprit(error: &StoreError) -> Option<QueueId> {
    match error {
        StoreError::Conflict { queue, .. } => Some(*queue),
        StoreError::Damaged { queue, .. } => *queue,
        _ => None,
    }
}

/// A conflict comes with the head that stands, if that can be read.
fn refusal_at(store: &dyn Store, queue: QueueId, error: &StoreError) -> Refusal {
    let refusal = refusal_of(error);
    match store.queue(&queue) {
        Ok(Some(row)) if refusal.code == RefusalCode::Conflict => refusal.at_head(row.head),
        _ => refusal,
    }
}

fn nothing_stands() -> Refusal {
    Refusal::new(RefusalCode::Damaged, "the queue stands at no head")
}
