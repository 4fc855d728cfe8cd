//! Chunks: entries are staged, still sealed. [P-11]

use bytes::Bytes;
use tidings_proto::Birth;
use tidings_proto::frames::Chunk;

use super::{Fault, Reader, ReaderStore, StagedRow, Step};
use crate::codec::{DecodeError, Object};
use crate::entry::Entry;
use crate::head::SignedHead;

/// Why an entry is not staged.
enum Unfit {
    Fault(Fault),
    TooNew,
}

impl Reader {
    /// Takes a run of live entries; settles when it reaches the newest offset.
    pub fn on_chunk<S: ReaderStore>(&mut self, chunk: &Chunk, store: &mut S) -> Result<Step, S::Error> {
        let Some(head) = self.attempt.as_ref().and_then(|attempt| attempt.head()).cloned() else {
            return self.contradiction(Fault::OutOfTurn("a chunk"), store);
        };
        if chunk.stamp != head.rank() {
            return self.contradiction(Fault::Entries("the stamp is not the head announced last"), store);
        }
        // Without this a broker could keep a reader busy for ever with chunks that carry nothing.
        if chunk.entries.is_empty() && !chunk.complete {
            return self.contradiction(Fault::Entries("a chunk carries nothing"), store);
        }
        for bytes in &chunk.entries {
            match self.stage(bytes, &head, store)? {
                Ok(()) => {}
                Err(Unfit::Fault(fault)) => return self.contradiction(fault, store),
                Err(Unfit::TooNew) => return Ok(self.too_new("entry")),
            }
        }
        if !chunk.complete {
            return Ok(Step::Continue);
        }
        self.staging.position = self.staging.position.max(head.head().offset);
        self.settle(store)
    }

    fn stage<S: ReaderStore>(&mut self, bytes: &Bytes, head: &SignedHead, store: &mut S) -> Result<Result<(), Unfit>, S::Error> {
        let entry = match Entry::decode(bytes) {
            Ok(entry) => entry,
            Err(DecodeError::TooNew { .. }) => return Ok(Err(Unfit::TooNew)),
            Err(_) => return Ok(Err(Unfit::Fault(Fault::Malformed("an entry")))),
        };
        if let Err(fault) = self.admit(&entry, head) {
            return Ok(Err(Unfit::Fault(fault)));
        }
        let digest = Entry::digest_of(bytes, &self.queue);
        store.stage(StagedRow { birth: entry.birth, offset: entry.offset, digest, entry: bytes.clone() })?;
        self.staging.position = entry.offset;
        if let Some(attempt) = &mut self.attempt {
            attempt.entries += 1;
            attempt.bytes += bytes.len() as u64;
        }
        Ok(Ok(()))
    }

    /// Ascending, above the cursor, not above the announced head, no more than the first head signs.
    fn admit(&mut self, entry: &Entry, head: &SignedHead) -> Result<(), Fault> {
        if entry.offset <= self.staging.position {
            return Err(Fault::Entries("offsets do not ascend"));
        }
        if entry.offset > head.head().offset || entry.term > head.head().term {
            return Err(Fault::Entries("an entry is above the announced head"));
        }
        if entry.birth == Birth::ZERO || entry.birth.value() > entry.offset.value() {
            return Err(Fault::Entries("a birth is above its offset"));
        }
        match self.attempt.as_mut().is_some_and(|attempt| attempt.spend(entry.offset)) {
            true => Ok(()),
            false => Err(Fault::Entries("there are more than the first head signs")),
        }
    }
}
