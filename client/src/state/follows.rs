//! What is kept about each follow beside its held set.

use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use tidings_core::reader::{HeldKind, HeldRow, Reader, Verdict};
use tidings_core::{Cursor, Decoder, Encoder, Object, RecordPath};
use tidings_proto::caps::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, TEXT_BYTES_MAX};
use tidings_proto::{Birth, QueueId, VerifyingKey};

use super::reader_store::winner;
use super::{FollowTables, StateError, rows, tables};

/// A follow, its addresses and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct About {
    pub(crate) owner: VerifyingKey,
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) verdict: Verdict,
    pub(crate) detail: String,
    /// Path of the evidence file; empty if there is none.
    pub(crate) evidence: String,
    /// The application has made everything up to here durable.
    pub(crate) acknowledged: Option<Cursor>,
}

/// The longest path of an evidence file, bytes.
const EVIDENCE_PATH_BYTES_MAX: usize = 8 * PATH_BYTES_MAX;

impl About {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.verifying_key(&self.owner);
        out.bytes(self.name.as_bytes());
        out.count(self.addresses.len());
        self.addresses.iter().for_each(|address| out.bytes(address.as_bytes()));
        out.bytes(self.verdict.word().as_bytes());
        out.bytes(self.detail.as_bytes());
        out.bytes(self.evidence.as_bytes());
        out.bytes(&self.acknowledged.map(|cursor| cursor.encode()).unwrap_or_default());
        out.finish()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let owner = input.verifying_key()?;
        let name = input.text(NAME_BYTES_MAX, "name")?.to_owned();
        let count = input.count(ADDRESSES_MAX, "addresses")?;
        let addresses = (0..count).map(|_| Ok(input.text(ADDRESS_BYTES_MAX, "address")?.to_owned())).collect::<Result<_, StateError>>()?;
        let word = input.text(TEXT_BYTES_MAX, "verdict")?;
        let verdict = Verdict::from_word(word).ok_or_else(|| StateError::Damaged("an unknown verdict".into()))?;
        let detail = input.text(2 * TEXT_BYTES_MAX, "detail")?.to_owned();
        let evidence = input.text(EVIDENCE_PATH_BYTES_MAX, "evidence")?.to_owned();
        let acknowledged = match input.bytes(TEXT_BYTES_MAX, "acknowledged")? {
            [] => None,
            bytes => Some(Cursor::decode(bytes)?),
        };
        input.finish()?;
        Ok(Self { owner, name, addresses, verdict, detail, evidence, acknowledged })
    }
}

/// One snapshot of the followed tables.
pub(crate) struct FollowView<'t>(pub(crate) &'t ReadTransaction);

impl FollowView<'_> {
    pub(crate) fn queues(&self) -> Result<Vec<QueueId>, StateError> {
        let table = self.0.open_table(tables::ABOUT)?;
        table.range::<&[u8; 32]>(..)?.map(|row| Ok(QueueId::new(*row?.0.value()))).collect()
    }

    pub(crate) fn about(&self, queue: &QueueId) -> Result<Option<About>, StateError> {
        let table = self.0.open_table(tables::ABOUT)?;
        table.get(queue.bytes())?.map(|row| About::decode(row.value())).transpose()
    }

    pub(crate) fn reader(&self, queue: &QueueId) -> Result<Option<Reader>, StateError> {
        let table = self.0.open_table(tables::READER)?;
        table.get(queue.bytes())?.map(|row| Ok(Reader::decode(row.value())?)).transpose()
    }

    pub(crate) fn pending_count(&self, queue: &QueueId) -> Result<u64, StateError> {
        let table = self.0.open_table(tables::CHANGES)?;
        let mut count = 0;
        for row in table.range((queue.bytes(), "")..)? {
            if row?.0.value().0 != queue.bytes() {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    /// Whether a held row waits for a build that can read it.
    pub(crate) fn has_quarantined(&self, queue: &QueueId) -> Result<bool, StateError> {
        let (ending, held) = (self.0.open_table(tables::ENDING)?, self.0.open_table(tables::HELD)?);
        let queue = queue.bytes();
        for key in ending.range((queue, 0, 0)..=(queue, u64::MAX, u64::MAX))? {
            let birth = key?.0.value().2;
            let row = held.get((queue, birth))?.ok_or_else(|| StateError::Damaged("an index names a row that is not there".into()))?;
            if rows::decode_held(Birth::new(birth), row.value())?.kind == HeldKind::Quarantined {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The live row of `path`: a value, not a tombstone.
    ///
    /// While the held set is read again from zero, that is the row of the set aside, which was verified once.
    pub(crate) fn value(&self, queue: &QueueId, path: &RecordPath) -> Result<Option<HeldRow>, StateError> {
        let (held, held_paths) = (self.0.open_table(tables::HELD)?, self.0.open_table(tables::HELD_PATHS)?);
        let row = match winner(&held, &held_paths, queue.bytes(), path)? {
            Some(row) => Some(row),
            None => winner(&self.0.open_table(tables::ASIDE)?, &self.0.open_table(tables::ASIDE_PATHS)?, queue.bytes(), path)?,
        };
        Ok(row.filter(|row| row.kind == HeldKind::Value))
    }

    /// Paths of held rows at `prefix` and below it.
    pub(crate) fn paths(&self, queue: &QueueId, prefix: &str) -> Result<Vec<RecordPath>, StateError> {
        let mut found = std::collections::BTreeSet::new();
        for table in [tables::HELD_PATHS, tables::ASIDE_PATHS] {
            for row in self.0.open_table(table)?.range((queue.bytes(), prefix, 0)..)? {
                let key = row?.0;
                let (of, path, _) = key.value();
                if of != queue.bytes() || !path.starts_with(prefix) {
                    break;
                }
                if super::is_below(path, prefix) {
                    found.insert(rows::path(path)?);
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

/// What is kept about follows, in one step.
pub(crate) struct FollowStep<'t>(pub(crate) &'t WriteTransaction);

impl FollowStep<'_> {
    pub(crate) fn about(&self, queue: &QueueId) -> Result<Option<About>, StateError> {
        let table = self.0.open_table(tables::ABOUT)?;
        table.get(queue.bytes())?.map(|row| About::decode(row.value())).transpose()
    }

    pub(crate) fn put_about(&self, queue: &QueueId, about: &About) -> Result<(), StateError> {
        self.0.open_table(tables::ABOUT)?.insert(queue.bytes(), about.encode().as_slice())?;
        Ok(())
    }

    pub(crate) fn reader(&self, queue: &QueueId) -> Result<Option<Reader>, StateError> {
        let table = self.0.open_table(tables::READER)?;
        table.get(queue.bytes())?.map(|row| Ok(Reader::decode(row.value())?)).transpose()
    }

    /// Moves the acknowledged cursor to `reached`; never back. Gives it if it moved. [P-15]
    pub(crate) fn acknowledge(&self, queue: &QueueId, reached: Option<Cursor>) -> Result<Option<Cursor>, StateError> {
        let Some(reached) = reached.filter(|reached| !reached.is_start()) else { return Ok(None) };
        let Some(mut about) = self.about(queue)? else { return Ok(None) };
        if about.acknowledged.is_some_and(|before| before.rank >= reached.rank) {
            return Ok(None);
        }
        about.acknowledged = Some(reached);
        self.put_about(queue, &about)?;
        Ok(Some(reached))
    }

    pub(crate) fn put_reader(&self, reader: &Reader) -> Result<(), StateError> {
        self.0.open_table(tables::READER)?.insert(reader.queue().bytes(), reader.encode().as_slice())?;
        Ok(())
    }

    /// Forgets a follow; false if there was none.
    pub(crate) fn remove(&self, queue: &QueueId) -> Result<bool, StateError> {
        let found = self.0.open_table(tables::ABOUT)?.remove(queue.bytes())?.is_some();
        self.0.open_table(tables::READER)?.remove(queue.bytes())?;
        self.remove_rewound(queue)?;
        FollowTables::open(self.0, queue)?.clear()?;
        Ok(found)
    }
}
