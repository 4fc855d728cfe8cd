//! How a conflict with another writer, and a merge with its branch, are printed. [P-4] [P-5]

use serde::Serialize;
use tidings_client::{Conflict, Merge, MergedReader};

use super::status::Head;
use crate::clock;

/// What keeps this node from signing.
#[derive(Serialize)]
pub(super) struct Conflicting {
    /// Where it was found.
    broker: String,
    /// Random name of the other writer, in hex.
    writer: String,
    head: Head,
    since: String,
}

/// A branch that was merged.
#[derive(Serialize)]
pub(super) struct Merged {
    time: String,
    source: String,
    /// Number of the newest head that both branches had.
    fork: u64,
    base: Head,
    tail: Head,
    published: u64,
    rescued: u64,
    deleted: u64,
    /// Records that live and may have been deleted on the tail.
    doubtful: u64,
    /// The first of them.
    doubtful_paths: Vec<String>,
    /// Readers whose access had ended on the tail.
    removed: Vec<String>,
    /// Readers that only the tail had; they have no access.
    unknown_readers: Vec<String>,
}

impl From<&Conflict> for Conflicting {
    fn from(conflict: &Conflict) -> Self {
        Self {
            broker: conflict.broker.clone(),
            writer: data_encoding::HEXLOWER.encode(&conflict.writer.0),
            head: conflict.rank.into(),
            since: clock::text(conflict.since),
        }
    }
}

impl Conflicting {
    /// In words.
    pub(super) fn words(&self) -> String {
        let Self { broker, head, since, .. } = self;
        format!(
            "CONFLICT since {since}: {broker} stands at head {}.{} of another writer with this key; nothing is signed. End the other one, then \
             run `tidings init --take-over` where it is to go on",
            head.term, head.number
        )
    }
}

impl From<&Merge> for Merged {
    fn from(merge: &Merge) -> Self {
        let names = |readers: &[MergedReader]| readers.iter().map(|reader| format!("{} {}", reader.name, reader.did)).collect();
        Self {
            time: clock::text(merge.time),
            source: merge.source.clone(),
            fork: merge.fork.value(),
            base: merge.base.into(),
            tail: merge.tail.into(),
            published: merge.published,
            rescued: merge.rescued,
            deleted: merge.deleted,
            doubtful: merge.doubtful,
            doubtful_paths: merge.doubtful_paths.iter().map(ToString::to_string).collect(),
            removed: names(&merge.removed),
            unknown_readers: names(&merge.unknown_readers),
        }
    }
}

impl Merged {
    /// In words.
    pub(super) fn words(&self) -> String {
        let Self { time, source, base, tail, published, rescued, deleted, .. } = self;
        let mut text = match tail.number <= self.fork {
            true => format!("rebuilt at {time} from what {source} held at head {}.{}", base.term, base.number),
            false => format!("merged at {time} with what {source} held"),
        };
        if tail.number > self.fork || published + rescued + deleted > 0 {
            text += &format!(": {published} published again, {rescued} kept for a decision, {deleted} deleted");
        }
        if self.doubtful > 0 {
            let (count, paths) = (self.doubtful, self.doubtful_paths.join(", "));
            text += &format!("; {count} live that may have been deleted on the other one, remove what was: {paths}");
        }
        if !self.removed.is_empty() {
            text += &format!("; access ended for {}", self.removed.join(", "));
        }
        if !self.unknown_readers.is_empty() {
            text += &format!("; grant anew, if they are to read: {}", self.unknown_readers.join(", "));
        }
        text
    }
}
