//! Removing objects that nobody needs any more. [P-22]

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_client::{Named, StateError};
use tidings_proto::Timestamp;

use super::adopt::newest_merge;
use super::ledger::{LedgerEntry, OBJECTS, Standing, object_id};
use super::release::object_of;
use super::stage::blocking;
use super::{Datastore, DatastoreError, FailPoint};
use crate::object::object_name;

/// Rows read and written at once.
const PAGE: usize = 256;

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that a record names.
    pub named: u64,
    /// Objects that wait: for a signature, a receipt or the end of the grace.
    pub waiting: u64,
    /// Objects that were removed.
    pub removed: u64,
    /// Objects that the storage could not remove now; the next collection tries again.
    pub failed: u64,
}

/// Where rescued values are: they name objects of the records that they were values of. [P-5]
const RESCUED: &str = "/.tidings/rescued";

/// Some rows with how their objects stand now.
struct Page {
    rows: Vec<([u8; 32], LedgerEntry, Standing)>,
    /// The newest merge then.
    merge: Option<Timestamp>,
}

impl Datastore {
    /// Removes objects that no live entry and no waiting write names, once the head that retired them is receipted and the grace
    /// has passed since this was seen; at once those that no signed entry ever named. Nothing is removed in the first grace after
    /// another branch of the queue was merged. Only objects that this owner wrote and has a row about are looked at, never a list of
    /// what is in storage. [P-22]
    ///
    /// Safe to cancel and to repeat.
    ///
    /// # Errors
    /// The state fails. A storage that fails is counted.
    pub async fn collect(&self) -> Result<Collected, DatastoreError> {
        self.settle().await?;
        self.adopt().await?;
        let (mut collected, mut after) = (Collected::default(), None);
        loop {
            let page = self.judged(after, now()).await?;
            let Some((last, ..)) = page.rows.last() else { return Ok(collected) };
            after = Some(*last);
            self.reach(FailPoint::CollectMarked);
            for (id, entry, standing) in page.rows {
                self.act(&id, &entry, standing, page.merge, &mut collected).await?;
            }
        }
    }

    /// The next rows with how their objects stand now. What was seen is durable when this returns: a receipt seen is the begin of
    /// the grace.
    async fn judged(&self, after: Option<[u8; 32]>, now: Timestamp) -> Result<Page, DatastoreError> {
        let shared = self.shared.clone();
        blocking(move || {
            let rows = shared.state.rows(OBJECTS, &[], after.as_ref().map(<[u8; 32]>::as_slice), PAGE)?;
            let mut page = Page { rows: Vec::with_capacity(rows.len()), merge: newest_merge(&shared.publisher)? };
            // Before the records: a value that is taken back in between is seen in one of both places.
            let rescued: HashSet<_> = shared.publisher.objects(RESCUED)?.into_iter().map(|(_, id)| id).collect();
            let mut changed = Vec::new();
            for (key, value) in rows {
                let (id, entry) = (object_id(&key)?, LedgerEntry::decode(&value)?);
                let named = shared.publisher.named(&entry.path)?;
                let standing = if rescued.contains(&id) { Standing::Named } else { judge(&id, &entry, &named, now) };
                if standing != entry.standing {
                    changed.push(LedgerEntry::row(&entry.path, &id, standing));
                }
                page.rows.push((id, entry, standing));
            }
            shared.state.put_rows(&changed)?;
            Ok(page)
        })
        .await
    }

    /// Whether the last merge was at least a grace ago, and is still the one that was the last when the objects were judged: what
    /// a branch names that comes in was not seen then.
    async fn may_remove(&self, judged: Option<Timestamp>) -> Result<bool, DatastoreError> {
        let shared = self.shared.clone();
        let merge = blocking(move || Ok(newest_merge(&shared.publisher)?)).await?;
        Ok(merge == judged && merge.is_none_or(|merge| passed(merge, self.shared.config.grace, now())))
    }

    async fn act(
        &self,
        id: &[u8; 32],
        entry: &LedgerEntry,
        standing: Standing,
        merge: Option<Timestamp>,
        collected: &mut Collected,
    ) -> Result<(), DatastoreError> {
        let gone = match standing {
            Standing::Named => {
                collected.named += 1;
                return Ok(());
            }
            Standing::Unused => true,
            Standing::Outdated(since) => passed(since, self.shared.config.grace, now()),
            Standing::Replaced | Standing::Retired(_) => false,
        };
        if !gone || !self.may_remove(merge).await? {
            collected.waiting += 1;
            return Ok(());
        }
        if let Err(error) = self.shared.config.storage.remove(&object_name(id)).await {
            tracing::debug!(%error, bytes = entry.path.as_str().len(), "an object could not be removed");
            collected.failed += 1;
            return Ok(());
        }
        self.reach(FailPoint::CollectRemoved);
        collected.removed += 1;
        let (state, row) = (self.shared.state.clone(), LedgerEntry::remove(id));
        blocking(move || state.put_rows(&[row]).map_err(|error: StateError| error.into())).await
    }
}

/// How an object stands, from what names values of its record now.
fn judge(id: &[u8; 32], entry: &LedgerEntry, named: &Named, now: Timestamp) -> Standing {
    let signed = named.signed.as_ref().and_then(|(mutation, _)| object_of(mutation));
    let waiting = named.waiting.as_ref().and_then(object_of);
    if signed == Some(*id) || waiting == Some(*id) {
        // Something still names it, whatever the row says.
        let kept = entry.standing == Standing::Named || named.waiting.is_none();
        return if kept { Standing::Named } else { named_again(waiting == Some(*id)) };
    }
    match entry.standing {
        // The head that retired it is this one or an earlier one.
        Standing::Named | Standing::Replaced => receipted(named.head, named, now),
        Standing::Retired(head) => receipted(head, named, now),
        known => known,
    }
}

/// A replacing write that waits has not retired it yet.
fn named_again(waiting: bool) -> Standing {
    if waiting { Standing::Named } else { Standing::Replaced }
}

fn receipted(head: tidings_proto::HeadNumber, named: &Named, now: Timestamp) -> Standing {
    if named.receipted >= head { Standing::Outdated(now) } else { Standing::Retired(head) }
}

fn passed(since: Timestamp, grace: Duration, now: Timestamp) -> bool {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    now.value() >= since.value().saturating_add(grace)
}

/// Wall clock; before 1970 is 0. A clock that jumps ahead shortens the grace, one that falls back lengthens it.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
