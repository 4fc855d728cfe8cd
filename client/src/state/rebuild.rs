//! The own tables made anew on what a broker or a storage held. [P-5]

use std::collections::HashSet;

use bytes::Bytes;
use redb::ReadableTable;
use tidings_core::writer::{OwnRecord, Writer};
use tidings_core::{Cursor, Entry, Mutation, Object, Receipt, SignedAt};
use tidings_proto::{HeadHash, HeadNumber, Pseudonym, VerifyingKey};

use super::{OwnStep, StateError, tables};

/// What the own tables hold after a rebuild.
pub(crate) struct Rebuilt<'a> {
    /// Stands at `head`.
    pub(crate) writer: &'a Writer,
    pub(crate) head: Cursor,
    /// The base of its term.
    pub(crate) base: Cursor,
    /// Heads up to this one are as they were.
    pub(crate) fork: HeadNumber,
    /// Hashes of the heads above the fork and below the head, ascending.
    pub(crate) history: Vec<HeadHash>,
    /// Everything that lives.
    pub(crate) records: Vec<(&'a OwnRecord, &'a Mutation, &'a [u8])>,
    /// Everything that the access rows name.
    pub(crate) attachments: Vec<Bytes>,
}

impl OwnStep<'_> {
    /// Replaces writer, live set, history above the fork and attachments. Publishes without a receipt go, and receipts for heads that
    /// are in the history no more; the outbox stays.
    pub(crate) fn rebuild(&self, rebuilt: &Rebuilt<'_>) -> Result<(), StateError> {
        self.forget_own()?;
        self.put_history(rebuilt)?;
        self.put_live(&rebuilt.records)?;
        self.put_attachments(&rebuilt.attachments, &[])?;
        self.end_renewal()?;
        self.forget_told()?;
        self.put_writer(rebuilt.writer, None)?;
        self.forget_receipts(rebuilt.head)?;
        self.forget_readers(rebuilt.writer)
    }

    fn forget_own(&self) -> Result<(), StateError> {
        self.0.delete_table(tables::RECORDS)?;
        self.0.delete_table(tables::TOMBSTONES)?;
        self.0.delete_table(tables::ENTRIES)?;
        self.0.delete_table(tables::REPUBLISH)?;
        self.0.delete_table(tables::ATTACHMENTS)?;
        self.0.delete_table(tables::UNRECEIPTED)?;
        // A reader never meets a missing table.
        super::tables::reopen_own(self.0)
    }

    fn put_live(&self, records: &[(&OwnRecord, &Mutation, &[u8])]) -> Result<(), StateError> {
        let mut live = self.live()?;
        records.iter().try_for_each(|(record, mutation, sealed)| live.put(record, None, mutation, sealed))
    }

    fn put_history(&self, rebuilt: &Rebuilt<'_>) -> Result<(), StateError> {
        let mut heads = self.0.open_table(tables::HEADS)?;
        let first = rebuilt.fork.value() + 1;
        heads.retain_in(first.., |_, _| false)?;
        for (number, hash) in (first..).zip(&rebuilt.history) {
            heads.insert(number, hash.bytes().as_slice())?;
        }
        // Of the others only the hashes are known.
        if rebuilt.base.rank.number > rebuilt.fork {
            heads.insert(rebuilt.base.rank.number.value(), rebuilt.base.encode().as_slice())?;
        }
        if rebuilt.head.rank.number > rebuilt.fork {
            heads.insert(rebuilt.head.rank.number.value(), rebuilt.head.encode().as_slice())?;
        }
        Ok(())
    }

    fn forget_receipts(&self, newest: Cursor) -> Result<(), StateError> {
        let heads = self.0.open_table(tables::HEADS)?;
        let mut gone = Vec::new();
        let mut receipts = self.0.open_table(tables::RECEIPTS)?;
        for row in receipts.range::<&[u8; 32]>(..)? {
            let (key, bytes) = row?;
            let key = VerifyingKey::new(*key.value());
            let receipt = Receipt::verify(bytes.value(), &key).ok().filter(|receipt| receipt.rank.number <= newest.rank.number);
            let Some(receipt) = receipt else {
                gone.push(key);
                continue;
            };
            let head = heads.get(receipt.rank.number.value())?.map(|row| super::branches::head_hash(row.value())).transpose()?;
            if head != Some(receipt.head) {
                gone.push(key);
            }
        }
        for key in gone {
            receipts.remove(key.bytes())?;
        }
        Ok(())
    }

    /// What is kept of those who are no readers at the head.
    fn forget_readers(&self, writer: &Writer) -> Result<(), StateError> {
        let readers: HashSet<Pseudonym> = writer.readers().iter().map(|reader| reader.row.pseudonym).collect();
        let gone = |key: &[u8; 32]| !readers.contains(&Pseudonym::new(*key));
        self.0.open_table(tables::INVITATIONS)?.retain(|key, _| !gone(key))?;
        self.0.open_table(tables::ACKNOWLEDGEMENTS)?.retain(|key, _| !gone(key))?;
        Ok(())
    }
}

impl super::OwnView<'_> {
    /// What waits unsigned, in its order.
    pub(crate) fn outbox_rows(&self) -> Result<Vec<Mutation>, StateError> {
        let (order, outbox) = (self.0.open_table(tables::ORDER)?, self.0.open_table(tables::OUTBOX)?);
        let mut rows = Vec::new();
        for row in order.range::<u64>(..)? {
            let row = outbox.get(row?.1.value())?.ok_or_else(|| StateError::Damaged("an outbox row is missing".into()))?;
            rows.push(Mutation::decode(row.value().1)?);
        }
        Ok(rows)
    }

    /// Hashes of the own heads above `number`, ascending.
    pub(crate) fn heads_above(&self, number: HeadNumber) -> Result<Vec<HeadHash>, StateError> {
        let heads = self.0.open_table(tables::HEADS)?;
        heads.range(number.value() + 1..)?.map(|row| super::branches::head_hash(row?.1.value())).collect()
    }

    /// Where the live entries were signed.
    pub(crate) fn signed_at(&self) -> Result<Vec<SignedAt>, StateError> {
        let (entries, mut found) = (self.0.open_table(tables::ENTRIES)?, Vec::new());
        self.live_records(|OwnRecord { offset, digest, .. }, _| {
            let sealed = entries.get(offset.value())?;
            let entry = sealed.map(|row| Ok::<_, StateError>(Entry::decode(super::rows::entry_sealed(row.value())?)?)).transpose()?;
            found.push(SignedAt { term: entry.map(|entry| entry.term), offset, digest });
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `each` with every live record and a way to its value.
    pub(crate) fn live_records(
        &self,
        mut each: impl FnMut(OwnRecord, &mut dyn FnMut() -> Result<Mutation, StateError>) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        for row in self.0.open_table(tables::RECORDS)?.range::<&str>(..)? {
            let (path, row) = row?;
            let (record, value) = super::rows::decode_own(super::rows::path(path.value())?, row.value())?;
            each(record, &mut || Ok(Mutation::decode(value)?))?;
        }
        Ok(())
    }
}
