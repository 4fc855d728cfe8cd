//! What takes a broker from where it stands to the newest head, part by part: made one at a time, as the stream has room. [P-10]

use std::collections::VecDeque;

use bytes::Bytes;
use roaring::RoaringTreemap;
use tidings_core::Cursor;
use tidings_proto::caps::{TRANSFER_HISTORY_MAX, TRANSFER_LIVE_BYTES_MAX};
use tidings_proto::frames::Transfer;
use tidings_proto::{HeadNumber, Offset};

use super::snapshot::OwnSnapshot;
use crate::state::StateError;

/// Entries or attachments of one part, bytes. A few parts wait on the stream and a few at the broker.
const PART_BYTES_MAX: usize = 512 * 1024;
/// Offsets of one part of the bitmap, before it is halved until it fits.
const PART_OFFSETS_MAX: usize = 64 * 1024;

/// The parts of one transfer that were not made yet. Holds the snapshot they are read from, and the live offsets below where the
/// broker stands.
#[derive(Debug)]
pub(super) struct Parts {
    snapshot: OwnSnapshot,
    /// Where the broker stands.
    standing: Cursor,
    next: Next,
}

/// What the next part brings.
#[derive(Debug)]
enum Next {
    /// Hashes of the heads above this number.
    History(HeadNumber),
    /// Live offsets above `after`.
    Live {
        after: Offset,
        live: VecDeque<u64>,
    },
    /// Entries above this offset.
    Entries(Offset),
    Attachments {
        rows: Vec<Bytes>,
        attachments: VecDeque<Bytes>,
    },
    Nothing,
}

impl Parts {
    /// Those that lead from `standing`, a head in the snapshot's history or the start, to the snapshot's head.
    pub(super) fn new(snapshot: OwnSnapshot, standing: Cursor) -> Self {
        Self { next: Next::History(standing.rank.number), snapshot, standing }
    }

    /// The head that they lead to.
    pub(super) fn cursor(&self) -> Cursor {
        self.snapshot.head().cursor()
    }

    /// Number of the head that they lead to.
    pub(super) fn number(&self) -> HeadNumber {
        self.snapshot.head().rank().number
    }

    /// Whether none was made yet.
    pub(super) fn are_untouched(&self) -> bool {
        matches!(self.next, Next::History(number) if number == self.standing.rank.number)
    }

    /// Makes the next part; `None` after the last one, which carries the head.
    pub(super) fn next(&mut self) -> Result<Option<Transfer>, StateError> {
        let mut part = Transfer::default();
        self.next = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::History(after) => self.history(after, &mut part)?,
            Next::Live { after, live } => self.live(after, live, &mut part),
            Next::Entries(after) => self.entries(after, &mut part)?,
            Next::Attachments { rows, attachments } => self.attachments(rows, attachments, &mut part),
            Next::Nothing => return Ok(None),
        };
        Ok(Some(part))
    }

    fn history(&self, after: HeadNumber, part: &mut Transfer) -> Result<Next, StateError> {
        let hashes = self.snapshot.history(after, TRANSFER_HISTORY_MAX)?;
        part.history = hashes.iter().map(|hash| *hash.bytes()).collect();
        let reached = HeadNumber::new(after.value() + hashes.len() as u64);
        if !hashes.is_empty() && reached.next() < Some(self.number()) {
            return Ok(Next::History(reached));
        }
        let live = self.snapshot.live(self.standing.offset)?.iter().collect();
        Ok(if self.standing.offset == Offset::ZERO { Next::Entries(Offset::ZERO) } else { Next::Live { after: Offset::ZERO, live } })
    }

    fn live(&self, after: Offset, mut live: VecDeque<u64>, part: &mut Transfer) -> Next {
        let mut count = live.len().min(PART_OFFSETS_MAX);
        let set = loop {
            let set: RoaringTreemap = live.iter().take(count).copied().collect();
            if set.serialized_size() <= TRANSFER_LIVE_BYTES_MAX {
                break set;
            }
            count /= 2;
        };
        live.drain(..count);
        part.after = after;
        part.through = if live.is_empty() { self.standing.offset } else { Offset::new(set.max().unwrap_or_default()) };
        let mut bytes = Vec::with_capacity(set.serialized_size());
        set.serialize_into(&mut bytes).expect("writing to memory cannot fail");
        part.live = bytes.into();
        match part.through == self.standing.offset {
            true => Next::Entries(self.standing.offset),
            false => Next::Live { after: part.through, live },
        }
    }

    fn entries(&self, after: Offset, part: &mut Transfer) -> Result<Next, StateError> {
        let newest = self.snapshot.head().head().offset;
        let entries = if after < newest { self.snapshot.entries(after, newest, PART_BYTES_MAX)? } else { Vec::new() };
        if let Some((last, _)) = entries.last() {
            let last = *last;
            part.entries = entries.into_iter().map(|(_, bytes)| bytes).collect();
            return Ok(Next::Entries(last));
        }
        let (rows, attachments) = self.snapshot.access()?;
        let attachments = attachments.into();
        Ok(self.attachments(rows, attachments, part))
    }

    /// The last part brings the last attachments, the rows and the head.
    fn attachments(&self, rows: Vec<Bytes>, mut attachments: VecDeque<Bytes>, part: &mut Transfer) -> Next {
        let mut bytes = 0;
        while let Some(attachment) = attachments.pop_front_if(|next| bytes + next.len() <= PART_BYTES_MAX) {
            bytes += attachment.len();
            part.attachments.push(attachment);
        }
        if !attachments.is_empty() {
            return Next::Attachments { rows, attachments };
        }
        part.rows = rows;
        part.head = self.snapshot.head().bytes().clone();
        Next::Nothing
    }
}
