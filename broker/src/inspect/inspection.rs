//! Reads a broker's folder.

use std::collections::BTreeMap;
use std::path::Path;

use tidings_core::access::{AccessRow, Rights};
use tidings_core::{Acknowledgement, DecodeError, Did, Entry, Object, QueueDescriptor, QueueState, SignedHead};
use tidings_proto::{ContentHash, HeadRank, Offset, Pseudonym, QueueId};

use super::{InspectError, SeenClass, SeenEntry, SeenFormerReader, SeenOwner, SeenQueue, SeenReader};
use crate::server::AdmissionList;
use crate::store::{QueueRow, RocksStore, ScanLimit, Store, StoreError};

/// One page of entries.
const PAGE: ScanLimit = ScanLimit { entries: 1_024, bytes: 1024 * 1024 };
/// What sealing adds to the padded mutation, bytes.
const TAG_BYTES: usize = 16;

/// A broker's folder as it was when it was opened. Methods block.
#[derive(Debug)]
pub struct Inspection {
    store: RocksStore,
    admission: AdmissionList,
}

/// Opens the folder of a broker, which may be running: takes no lock and changes nothing.
///
/// # Errors
/// [`InspectError::Folder`]: there are no queues, they are of another format, or damaged as a whole.
pub fn inspect(data: &Path) -> Result<Inspection, InspectError> {
    Ok(Inspection { store: RocksStore::open_read_only(&data.join("store"))?, admission: AdmissionList::in_folder(data) })
}

impl Inspection {
    /// Owners on the admission list, ascending. A broker that takes everybody's publishes does not ask it.
    ///
    /// # Errors
    /// [`InspectError::Admission`].
    pub fn admitted(&self) -> Result<Vec<SeenOwner>, InspectError> {
        let owners = self.admission.owners().map_err(InspectError::Admission)?;
        Ok(owners.into_iter().map(|did| SeenOwner { did }).collect())
    }

    /// Ids of the queues, ascending, read as they are asked for.
    pub fn queues(&self) -> impl Iterator<Item = Result<QueueId, InspectError>> + '_ {
        self.store.queues().map(|queue| Ok(queue?))
    }

    /// One queue; `None` if it is not here.
    ///
    /// # Errors
    /// [`InspectError::Queue`], as all below.
    pub fn queue(&self, queue: &QueueId) -> Result<Option<SeenQueue>, InspectError> {
        let row = self.store.queue(queue)?;
        Ok(row.map(|row| sound(queue, seen_queue(*queue, row))).transpose()?)
    }

    /// Live entries after an offset, ascending: a page of at most 1,024; none after the last.
    ///
    /// # Errors
    /// [`InspectError::Queue`].
    pub fn entries(&self, queue: &QueueId, after: Offset) -> Result<Vec<SeenEntry>, InspectError> {
        let page = self.store.scan(queue, after, PAGE)?.map_or_else(Vec::new, |scan| scan.entries);
        Ok(sound(queue, page.iter().map(|(_, bytes)| seen_entry(bytes)).collect())?)
    }

    /// Padded sizes of the live entries, ascending. Reads all of them, a page at a time.
    ///
    /// # Errors
    /// [`InspectError::Queue`].
    pub fn classes(&self, queue: &QueueId) -> Result<Vec<SeenClass>, InspectError> {
        let (mut counts, mut after) = (BTreeMap::<usize, u64>::new(), Offset::ZERO);
        loop {
            let page = self.entries(queue, after)?;
            let Some(last) = page.last() else { break };
            after = last.offset;
            page.iter().for_each(|entry| *counts.entry(entry.padded_bytes).or_default() += 1);
        }
        Ok(counts.into_iter().map(|(padded_bytes, entries)| SeenClass { padded_bytes, entries }).collect())
    }

    /// Readers with access, ascending by pseudonym; a queue has at most 1,024.
    ///
    /// # Errors
    /// [`InspectError::Queue`].
    pub fn readers(&self, queue: &QueueId) -> Result<Vec<SeenReader>, InspectError> {
        let acknowledged = self.acknowledged(queue)?;
        let mut readers = Vec::new();
        for (pseudonym, bytes) in self.store.access_list(queue)? {
            let row = sound(queue, AccessRow::decode(&bytes))?;
            readers.push(SeenReader {
                pseudonym,
                owner: row.rights == Rights::Owner,
                acknowledged: acknowledged.get(&pseudonym).copied(),
                grant_bytes: self.attachment_bytes(queue, &row.grant)?,
                owner_copy_bytes: self.attachment_bytes(queue, &row.owner_copy)?,
            });
        }
        Ok(readers)
    }

    /// Readers whose access was ended, ascending by pseudonym: of each queue the newest that are remembered.
    ///
    /// # Errors
    /// [`InspectError::Queue`].
    pub fn former_readers(&self, queue: &QueueId) -> Result<Vec<SeenFormerReader>, InspectError> {
        let removed = self.store.former_readers(queue)?;
        Ok(removed.into_iter().map(|(pseudonym, removed_by)| SeenFormerReader { pseudonym, removed_by }).collect())
    }

    fn acknowledged(&self, queue: &QueueId) -> Result<BTreeMap<Pseudonym, HeadRank>, InspectError> {
        let signed = self.store.acknowledgements(queue)?.into_iter();
        // It was verified before it was stored; one that is none is shown as none.
        let rank = |bytes: &[u8]| Acknowledgement::verify(bytes).ok().map(|acknowledgement| acknowledgement.cursor.rank);
        Ok(signed.filter_map(|(reader, bytes)| Some((reader, rank(&bytes)?))).collect())
    }

    fn attachment_bytes(&self, queue: &QueueId, hash: &ContentHash) -> Result<usize, StoreError> {
        Ok(self.store.attachment(queue, hash)?.map_or(0, |bytes| bytes.len()))
    }
}

fn seen_queue(queue: QueueId, row: QueueRow) -> Result<SeenQueue, DecodeError> {
    let (signed, descriptor) = (SignedHead::parse(row.head)?, QueueDescriptor::decode(&row.descriptor)?);
    let head = signed.head();
    Ok(SeenQueue {
        queue,
        owner: Did(descriptor.signing_key),
        rank: signed.rank(),
        writer: head.writer.0,
        signed_at: head.time,
        stored_at: row.since,
        offset: head.offset,
        live: head.live_count,
        live_bytes: row.live_bytes,
        floor: head.floor,
        epoch: head.epoch,
        epochs: head.epochs.len(),
        readers: head.access_count,
        closed: head.state == QueueState::Closed,
    })
}

fn seen_entry(bytes: &[u8]) -> Result<SeenEntry, DecodeError> {
    let entry = Entry::decode(bytes)?;
    Ok(SeenEntry {
        offset: entry.offset,
        birth: entry.birth,
        term: entry.term.value(),
        epoch: entry.epoch,
        padded_bytes: entry.ciphertext.len().saturating_sub(TAG_BYTES),
    })
}

fn sound<T>(queue: &QueueId, decoded: Result<T, DecodeError>) -> Result<T, StoreError> {
    decoded.map_err(|error| StoreError::Damaged { queue: Some(*queue), detail: error.to_string() })
}
