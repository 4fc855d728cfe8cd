//! One snapshot of the own queue becomes the parts that are new and then the head object. [P-21]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use tidings_client::{OwnSnapshot, StateError};
use tidings_core::storage_index::Part;
use tidings_core::{
    AccessPart, DecodeError, HistoryRun, LivePart, Object, PartReference, RunReference, Segment, SegmentReference, StorageHead,
};
use tidings_proto::caps::{STORAGE_HEAD_BYTES_MAX, STORAGE_RUN_HASHES_MAX, STORAGE_SEGMENT_BYTES_MAX};
use tidings_proto::{HeadNumber, Offset, QueueId, Timestamp};

use super::before::Before;
use super::error::ChannelError;
use super::names::{head_name, part_name};
use super::plan::{Range, plan};
use super::rows::Rows;
use crate::storage::{Content, Driver, Name};

/// Entries of one segment, bytes. Half of what one may have: their lengths come on top.
const SEGMENT_BYTES: usize = STORAGE_SEGMENT_BYTES_MAX / 2;
/// From here on a segment is not merged with what follows it.
const SEGMENT_FULL: u64 = SEGMENT_BYTES as u64 / 2;
/// From here on a run is not merged with what follows it.
const RUN_FULL: u64 = STORAGE_RUN_HASHES_MAX as u64 / 2;

/// What a head object shows and what it cost.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) head: StorageHead,
    /// Bytes of all objects that were written.
    pub(super) bytes: u64,
}

/// Writes a snapshot to `storage` in the place of what is there `before`; on an error what was shown before stays shown, and a
/// repetition goes on. `attempted` is set to what may be shown from then on.
///
/// Parts first, the head object last: a reader never meets a head whose parts were not written.
pub(super) async fn write(
    rows: &Rows,
    storage: &Arc<dyn Driver>,
    snapshot: Arc<OwnSnapshot>,
    before: Before,
    attempted: &mut Option<Bytes>,
    now: Timestamp,
) -> Result<Written, ChannelError> {
    let mut writer = PartWriter {
        rows: rows.clone(),
        storage: storage.clone(),
        queue: snapshot.descriptor().id(),
        known: before.own.as_ref().map(names).unwrap_or_default(),
        snapshot,
        bytes: 0,
    };
    let head = writer.head(before.own.as_ref()).await?;
    let encoded = Bytes::from(head.encode());
    // What a reader would refuse must not replace what it can read.
    if encoded.len() > STORAGE_HEAD_BYTES_MAX || StorageHead::decode(&encoded)? != head {
        return Err(DecodeError::Invalid("the head object exceeds its cap").into());
    }
    let bytes = writer.bytes + encoded.len() as u64;
    if let Some(left) = &before.left {
        // Nothing names them any more once this head is shown: a crash between that and the last row must not lose track of them.
        rows.expect(&names(left).into_iter().collect::<Vec<_>>())?;
    }
    *attempted = Some(encoded.clone());
    if !storage.exchange(&head_name(&writer.queue), before.bytes, encoded).await? {
        return Err(ChannelError::Overtaken);
    }
    let shown = names(&head);
    let earlier = [rows.written()?, before.own, before.left];
    let gone: BTreeSet<_> = earlier.iter().flatten().flat_map(names).filter(|name| !shown.contains(name)).collect();
    rows.shown(&head, &shown, &gone, now)?;
    Ok(Written { head, bytes })
}

/// Names of all parts that a head object shows.
pub(super) fn names(head: &StorageHead) -> BTreeSet<Name> {
    let queue = head.head.head().queue;
    let segments = head.segments.iter().map(|segment| part_name::<Segment>(&queue, &segment.part.hash));
    let runs = head.history.iter().map(|run| part_name::<HistoryRun>(&queue, &run.part.hash));
    let rest = [part_name::<LivePart>(&queue, &head.live.hash), part_name::<AccessPart>(&queue, &head.access.hash)];
    segments.chain(runs).chain(rest).collect()
}

/// Writes the parts of one snapshot.
struct PartWriter {
    rows: Rows,
    storage: Arc<dyn Driver>,
    queue: QueueId,
    /// Parts that are in the storage.
    known: BTreeSet<Name>,
    snapshot: Arc<OwnSnapshot>,
    bytes: u64,
}

impl PartWriter {
    async fn head(&mut self, known: Option<&StorageHead>) -> Result<StorageHead, ChannelError> {
        let head = self.snapshot.head().clone();
        let live = self.read(|snapshot| snapshot.live(snapshot.head().head().offset)).await?;
        let segments = self.segments(known.map_or(&[], |known| &known.segments), &live).await?;
        let live = self.put(&LivePart(live)).await?;
        let history = self.history(known.map_or(&[], |known| &known.history)).await?;
        let same = known.filter(|known| known.head.head().access_root == head.head().access_root);
        let access = match same {
            Some(known) => known.access,
            None => {
                let (rows, attachments) = self.read(OwnSnapshot::access).await?;
                self.put(&AccessPart::new(rows, attachments)?).await?
            }
        };
        Ok(StorageHead { head, pulse: Bytes::new(), live, segments, history, access })
    }

    async fn segments(
        &mut self,
        known: &[SegmentReference],
        live: &roaring::RoaringTreemap,
    ) -> Result<Vec<SegmentReference>, ChannelError> {
        let newest = self.snapshot.head().head().offset.value();
        let stand = known.iter().enumerate().map(|(at, segment)| {
            let (first, last) = (segment.first.value(), segment.last.value());
            let bytes = u64::from(segment.part.bytes);
            // By their number: of dead entries no length is known.
            let alive = bytes * live.range_cardinality(first..=last) / u64::from(segment.count.max(1));
            Range { first, last, live: alive, dead: bytes.saturating_sub(alive), object: Some(at) }
        });
        let first = known.last().map_or(0, |segment| segment.last.value()) + 1;
        let added = Range { first, last: newest, live: self.weight(first - 1).await?, dead: 0, object: None };
        let mut segments = Vec::new();
        for range in plan(stand.chain((first <= newest).then_some(added)), SEGMENT_FULL) {
            match range.object.and_then(|at| known.get(at)) {
                Some(segment) => {
                    segments.push(SegmentReference { first: Offset::new(range.first), last: Offset::new(range.last), ..*segment });
                }
                None => self.write_segments(range, &mut segments).await?,
            }
        }
        Ok(segments)
    }

    /// Bytes of the live entries above `after`; not more than a full segment's worth is counted.
    async fn weight(&self, after: u64) -> Result<u64, ChannelError> {
        let entries = self.read(move |snapshot| snapshot.entries(Offset::new(after), snapshot.head().head().offset, SEGMENT_BYTES)).await?;
        Ok(entries.iter().map(|(_, bytes)| bytes.len() as u64).sum())
    }

    async fn write_segments(&mut self, range: Range, segments: &mut Vec<SegmentReference>) -> Result<(), ChannelError> {
        let (mut first, last) = (range.first, Offset::new(range.last));
        while first <= range.last {
            let after = Offset::new(first - 1);
            let entries = self.read(move |snapshot| snapshot.entries(after, last, SEGMENT_BYTES)).await?;
            let Some((newest, _)) = entries.last() else { break };
            let (through, count) = (*newest, u32::try_from(entries.len()).unwrap_or(u32::MAX));
            let part = self.put(&Segment { entries }).await?;
            segments.push(SegmentReference { first: Offset::new(first), last: through, count, part });
            first = through.value() + 1;
        }
        if let Some(end) = segments.last_mut() {
            // Nothing above its newest entry lives in this range.
            end.last = last;
        }
        Ok(())
    }

    async fn history(&mut self, known: &[RunReference]) -> Result<Vec<RunReference>, ChannelError> {
        let newest = self.snapshot.head().head().number.value() - 1;
        let stand = known.iter().enumerate().map(|(at, run)| {
            let (first, last) = (run.first.value(), run.last.value());
            Range { first, last, live: last - first + 1, dead: 0, object: Some(at) }
        });
        let first = known.last().map_or(0, |run| run.last.value()) + 1;
        let added = (first <= newest).then(|| Range { first, last: newest, live: newest - first + 1, dead: 0, object: None });
        let mut runs = Vec::new();
        for range in plan(stand.chain(added), RUN_FULL) {
            match range.object.and_then(|at| known.get(at)) {
                Some(run) => runs.push(*run),
                None => self.write_runs(range, &mut runs).await?,
            }
        }
        Ok(runs)
    }

    async fn write_runs(&mut self, range: Range, runs: &mut Vec<RunReference>) -> Result<(), ChannelError> {
        let mut first = range.first;
        while first <= range.last {
            let limit = usize::try_from(range.last - first + 1).unwrap_or(usize::MAX).min(STORAGE_RUN_HASHES_MAX);
            let hashes = self.read(move |snapshot| snapshot.history(HeadNumber::new(first - 1), limit)).await?;
            if hashes.len() != limit {
                return Err(StateError::Damaged("hashes of earlier heads are gone".into()).into());
            }
            let part = self.put(&HistoryRun(hashes.iter().map(|hash| *hash.bytes()).collect())).await?;
            let last = first + limit as u64 - 1;
            runs.push(RunReference { first: HeadNumber::new(first), last: HeadNumber::new(last), part });
            first = last + 1;
        }
        Ok(())
    }

    /// Creates a part, unless it is there. A row names it before it can be in the storage, so no crash loses track of it.
    async fn put<P: Part>(&mut self, part: &P) -> Result<PartReference, ChannelError> {
        let bytes = Bytes::from(part.encode());
        if bytes.len() > P::BYTES_MAX {
            return Err(DecodeError::Invalid("a part exceeds its cap").into());
        }
        let reference = PartReference::of::<P>(&bytes);
        let name = part_name::<P>(&self.queue, &reference.hash);
        if !self.known.contains(&name) {
            self.bytes += bytes.len() as u64;
            self.rows.expect(std::slice::from_ref(&name))?;
            self.storage.create(&name, Content::Bytes(bytes)).await?;
        }
        Ok(reference)
    }

    /// Reads from the snapshot on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&OwnSnapshot) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, ChannelError> {
        let snapshot = self.snapshot.clone();
        let read = tokio::task::spawn_blocking(move || read(&snapshot)).await;
        Ok(read.map_err(|error| StateError::Io(std::io::Error::other(error)))??)
    }
}
