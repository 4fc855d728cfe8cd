//! What a durable publish gives: a receipt for its owner and a delta for everybody who is live.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{Cursor, Receipt, SignedHead};
use tidings_proto::frames::{Announce, Chunk, Reply};
use tidings_proto::{QueueId, caps};

/// Answer to a publish that is on disk.
#[derive(Clone, Debug)]
pub struct Receipted {
    /// What the broker signs.
    pub receipt: Receipt,
    /// What live subscriptions are told.
    pub committed: Arc<Committed>,
}

/// One head that became durable, for all live subscriptions of its queue.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The queue.
    pub queue: QueueId,
    /// The head.
    pub head: SignedHead,
    /// The head it followed.
    pub previous: Cursor,
    /// Its entries, ascending. `None`: the publish was a repeat, so that this only tells that the head stands; who does not have
    /// it yet reads.
    pub entries: Option<Vec<Bytes>>,
    /// Rows of the access list changed: every subscription has to read its own again. [P-17]
    pub access_changed: bool,
    /// It replaced the branch that stood: nothing of that one may leave any more, and who was told of it starts over. [P-10]
    pub replaced: bool,
}

impl Committed {
    /// The frames that take a subscription from `previous` to `head`; the same for everybody, so encoded once.
    ///
    /// `None` if the step needs more than these frames: after a repeat or a change of access.
    pub fn frames(&self) -> Option<Vec<Reply>> {
        let entries = self.entries.as_ref().filter(|_| !self.access_changed)?;
        let announce = Announce {
            head: self.head.bytes().clone(),
            base: self.previous.rank.number,
            leaf: Bytes::copy_from_slice(self.previous.head.bytes()),
            proof: Vec::new(),
        };
        let mut frames = vec![Reply::Announce(announce)];
        let mut runs = runs(entries).peekable();
        while let Some(run) = runs.next() {
            let complete = runs.peek().is_none();
            frames.push(Reply::Chunk(Chunk { stamp: self.head.rank(), entries: run.to_vec(), complete }));
        }
        Some(frames)
    }
}

/// Entries in runs that fit a chunk each; one empty run if there are none.
fn runs(entries: &[Bytes]) -> impl Iterator<Item = &[Bytes]> {
    let mut rest = Some(entries);
    std::iter::from_fn(move || {
        let entries = rest?;
        let (run, behind) = entries.split_at(fitting(entries));
        rest = (!behind.is_empty()).then_some(behind);
        Some(run)
    })
}

/// How many entries from the front fit a chunk: at least one.
fn fitting(entries: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fits = entries.iter().take(caps::CHUNK_ENTRIES_MAX).take_while(|entry| {
        bytes += entry.len();
        bytes <= caps::CHUNK_BYTES_MAX
    });
    fits.count().max(1).min(entries.len())
}
