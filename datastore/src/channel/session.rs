//! One subscription that is served out of storage objects, in the frames of a broker. [P-9, P-17, P-21]
//!
//! All that is sent was compared with what the owner signed, as far as it can be without keys: the reader accuses whoever
//! contradicts itself, and a storage that does is only named as damaged.

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::StorageHead;
use tidings_proto::caps::{CHUNK_BYTES_MAX, CHUNK_ENTRIES_MAX};
use tidings_proto::frames::{Announce, Bitmap, Chunk, Subscribe};
use tidings_proto::{HeadRank, Offset, Refusal, RefusalCode, Reply};
use tokio::sync::mpsc;

use super::ancestry::{Ancestry, descent};
use super::error::IndexError;
use super::index::Index;

/// Live offsets in one part of a bitmap: however they lie, so many fit a frame.
const BITMAP_OFFSETS_MAX: usize = 32 * 1024;

/// One subscription; what it needs to go on from one head object to the next.
pub(super) struct Session {
    index: Index,
    subscribe: Subscribe,
    replies: mpsc::Sender<Reply>,
    /// What was announced last.
    shown: Option<StorageHead>,
    /// Entries up to here were sent.
    position: Offset,
    ancestry: Option<Ancestry>,
    /// Root of the access list that has this reader's row.
    admitted: Option<[u8; 32]>,
    pulse: Bytes,
}

/// Why a subscription ends.
#[derive(Debug)]
pub(super) enum End {
    /// The reader is told this.
    Refused(Refusal),
    /// The reader is gone.
    Gone,
}

impl From<IndexError> for End {
    fn from(error: IndexError) -> Self {
        Self::Refused(error.refusal())
    }
}

impl Session {
    pub(super) fn new(index: Index, subscribe: Subscribe, replies: mpsc::Sender<Reply>) -> Self {
        let position = subscribe.position;
        Self { index, subscribe, replies, shown: None, position, ancestry: None, admitted: None, pulse: Bytes::new() }
    }

    /// Sends what `view` has beyond what was shown: grant, head, entries, pulse. An older head is nothing new.
    pub(super) async fn show(&mut self, view: StorageHead) -> Result<(), End> {
        let rank = view.head.rank();
        match self.shown.as_ref().map(|shown| shown.head.rank()) {
            Some(shown) if rank < shown => return Ok(()),
            // The same head with other parts, or another pulse.
            Some(shown) if rank == shown => self.shown = Some(view),
            _ => {
                let announce = self.announce(&view).await?;
                self.admit(&view).await?;
                self.send(Reply::Announce(announce)).await?;
                self.stream(&view).await?;
                self.shown = Some(view);
            }
        }
        self.pulse().await
    }

    /// Answers `AskBitmap`: parts up to where this was streamed, then a chunk, all of the head announced last.
    pub(super) async fn bitmap(&mut self) -> Result<(), End> {
        let Some(view) = self.shown.clone() else { return Ok(()) };
        let live = self.index.live(&view).await?;
        let stamp = view.head.rank();
        for part in parts(&live, self.position) {
            self.send(Reply::Bitmap(Bitmap { stamp, ..part })).await?;
        }
        self.send(complete(stamp, Vec::new())).await
    }

    /// Tells the reader why the subscription ends.
    pub(super) async fn refuse(&self, refusal: Refusal) {
        // A reader that is gone needs no reason.
        let _ = self.replies.send(Reply::Refused(refusal)).await;
    }

    /// The reader's row in the owner's list at this head, and its newest grant if it has another one. [P-17]
    async fn admit(&mut self, view: &StorageHead) -> Result<(), End> {
        let head = view.head.head();
        if self.admitted == Some(head.access_root) {
            return Ok(());
        }
        let access = self.index.access(view).await?;
        let Some(row) = access.row(&self.subscribe.reader) else {
            let mut refusal = Refusal::new(RefusalCode::Denied, "the owner's access list has no row for this reader");
            refusal.rows = access.encoded_rows();
            return Err(End::Refused(refusal.at_head(view.head.bytes().clone())));
        };
        if self.subscribe.grant != row.grant.bytes().as_slice() {
            let grant = access.attachment(&row.grant).ok_or(IndexError::Contradiction("a grant is missing"))?;
            self.send(Reply::Grant(grant.clone())).await?;
            self.subscribe.grant = Bytes::copy_from_slice(row.grant.bytes());
        }
        self.admitted = Some(head.access_root);
        Ok(())
    }

    /// How the head of `view` descends from the one announced before it. One that does not is of another branch: what is read of
    /// that one begins with a subscription of its own, as at a broker. [P-10]
    async fn announce(&mut self, view: &StorageHead) -> Result<Announce, End> {
        let base = self.shown.as_ref().map_or(self.subscribe.cursor, |shown| shown.head.rank().number);
        let descent = descent(&self.index, view, base, &mut self.ancestry).await?;
        if self.shown.as_ref().is_some_and(|shown| descent.leaf != shown.head.hash().bytes()) {
            let refusal = Refusal::new(RefusalCode::Conflict, "the storage shows another branch of the queue");
            return Err(End::Refused(refusal.at_head(view.head.bytes().clone())));
        }
        Ok(Announce { head: view.head.bytes().clone(), base, leaf: descent.leaf.into(), proof: descent.proof })
    }

    /// The live entries above the position; segments are read one by one, and only those that have some.
    async fn stream(&mut self, view: &StorageHead) -> Result<(), End> {
        let (stamp, newest) = (view.head.rank(), view.head.head().offset);
        let mut chunk = Filling::default();
        if self.position < newest {
            let live = self.index.live(view).await?;
            for segment in view.segments.iter().filter(|segment| segment.last > self.position) {
                let above = segment.first.value().max(self.position.value() + 1);
                if live.range_cardinality(above..=segment.last.value()) == 0 {
                    continue;
                }
                for (offset, bytes) in self.index.entries(segment).await? {
                    if offset <= self.position || !live.contains(offset.value()) {
                        continue;
                    }
                    if let Some(entries) = chunk.add(bytes) {
                        self.send(Reply::Chunk(Chunk { stamp, entries, complete: false })).await?;
                    }
                }
            }
        }
        self.send(complete(stamp, chunk.entries)).await?;
        self.position = self.position.max(newest);
        Ok(())
    }

    /// The owner's newest pulse, once. [P-16]
    async fn pulse(&mut self) -> Result<(), End> {
        let newest = self.shown.as_ref().map(|shown| shown.pulse.clone()).unwrap_or_default();
        if newest.is_empty() || newest == self.pulse {
            return Ok(());
        }
        self.pulse = newest.clone();
        self.send(Reply::Pulse(newest)).await
    }

    async fn send(&self, reply: Reply) -> Result<(), End> {
        self.replies.send(reply).await.map_err(|_| End::Gone)
    }
}

/// Entries of one chunk.
#[derive(Default)]
struct Filling {
    entries: Vec<Bytes>,
    bytes: usize,
}

impl Filling {
    /// Takes an entry; gives the chunk that was full before it. [P-19]
    fn add(&mut self, entry: Bytes) -> Option<Vec<Bytes>> {
        let full = self.entries.len() >= CHUNK_ENTRIES_MAX || self.bytes + entry.len() > CHUNK_BYTES_MAX;
        let before = (full && !self.entries.is_empty()).then(|| std::mem::take(self).entries);
        self.bytes += entry.len();
        self.entries.push(entry);
        before
    }
}

fn complete(stamp: HeadRank, entries: Vec<Bytes>) -> Reply {
    Reply::Chunk(Chunk { stamp, entries, complete: true })
}

/// Parts that cover (0, `through`] without a gap, ascending; their stamp is the caller's to set.
fn parts(live: &RoaringTreemap, through: Offset) -> Vec<Bitmap> {
    let (mut parts, mut after) = (Vec::new(), Offset::ZERO);
    let mut rest = live.iter().take_while(|offset| *offset <= through.value()).peekable();
    loop {
        let offsets: RoaringTreemap = rest.by_ref().take(BITMAP_OFFSETS_MAX).collect();
        let last = rest.peek().is_none();
        let end = offsets.max().filter(|_| !last).map_or(through, Offset::new);
        let mut bytes = Vec::with_capacity(offsets.serialized_size());
        offsets.serialize_into(&mut bytes).expect("writing to memory cannot fail");
        parts.push(Bitmap { stamp: HeadRank::default(), after, through: end, live: bytes.into(), last });
        if last {
            return parts;
        }
        after = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_proto::caps::BITMAP_BYTES_MAX;

    fn covered(live: &RoaringTreemap, through: u64) -> Vec<Bitmap> {
        let parts = parts(live, Offset::new(through));
        let mut after = Offset::ZERO;
        for (at, part) in parts.iter().enumerate() {
            assert_eq!((part.after, part.last), (after, at + 1 == parts.len()));
            assert!(part.live.len() <= BITMAP_BYTES_MAX);
            after = part.through;
        }
        assert_eq!(after, Offset::new(through));
        parts
    }

    fn union(parts: &[Bitmap]) -> RoaringTreemap {
        parts
            .iter()
            .map(|part| RoaringTreemap::deserialize_from(part.live.as_ref()).expect("a bitmap"))
            .fold(RoaringTreemap::new(), |a, b| a | b)
    }

    /// [P-9] [P-19] However the offsets lie, each part fits a frame and together they are all up to the position.
    #[test]
    fn parts_of_a_bitmap_cover_everything_and_fit_a_frame() {
        let spread: RoaringTreemap = (1..=70_000u64).map(|at| at << 33).collect();
        let dense: RoaringTreemap = (1..=100_000u64).collect();
        assert_eq!(union(&covered(&spread, 70_000 << 33)), spread);
        assert_eq!(union(&covered(&dense, 65_536)).len(), 65_536);
        assert_eq!(covered(&RoaringTreemap::new(), 9).len(), 1);
        assert_eq!(covered(&dense, 0).len(), 1);
    }
}
