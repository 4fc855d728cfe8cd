//! The access list with all that it names.

use bytes::Bytes;
use tidings_proto::{ContentHash, Pseudonym, caps};

use super::part::Part;
use crate::access::AccessRow;
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::grant::attachment_hash;
use crate::head::Head;
use crate::label::Label;
use crate::set_hash::{SetHash, SetKind};

/// All access rows ascending by pseudonym, and exactly the attachments that they name, ascending by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPart {
    rows: Vec<(AccessRow, Bytes)>,
    attachments: Vec<(ContentHash, Bytes)>,
}

impl AccessPart {
    /// Takes encoded rows and attachments in any order.
    ///
    /// # Errors
    /// A row does not decode or comes twice, or the attachments are not those that the rows name.
    pub fn new(rows: Vec<Bytes>, attachments: Vec<Bytes>) -> Result<Self, DecodeError> {
        let mut rows = rows.into_iter().map(|row| Ok((AccessRow::decode(&row)?, row))).collect::<Result<Vec<_>, DecodeError>>()?;
        rows.sort_by_key(|(row, _)| row.pseudonym);
        let mut attachments: Vec<_> = attachments.into_iter().map(|bytes| (attachment_hash(&bytes), bytes)).collect();
        attachments.sort_by_key(|(hash, _)| *hash);
        let part = Self { rows, attachments };
        part.check().map(|()| part)
    }

    /// Whether this is the list that the head commits to. Nothing of it is used before. [P-17]
    pub fn is_of(&self, head: &Head) -> bool {
        let mut set = SetHash::new(SetKind::Access);
        self.rows.iter().for_each(|(_, bytes)| set.add(bytes));
        u32::try_from(self.rows.len()) == Ok(head.access_count) && set.root() == head.access_root
    }

    /// The rows, ascending by pseudonym.
    pub fn rows(&self) -> impl Iterator<Item = &AccessRow> {
        self.rows.iter().map(|(row, _)| row)
    }

    /// The rows as they are encoded, ascending by pseudonym.
    pub fn encoded_rows(&self) -> Vec<Bytes> {
        self.rows.iter().map(|(_, bytes)| bytes.clone()).collect()
    }

    /// The row of one reader.
    pub fn row(&self, pseudonym: &Pseudonym) -> Option<&AccessRow> {
        let at = self.rows.binary_search_by_key(pseudonym, |(row, _)| row.pseudonym).ok()?;
        self.rows.get(at).map(|(row, _)| row)
    }

    /// The attachment of this hash; there is one for each grant and owner's copy that a row names.
    pub fn attachment(&self, hash: &ContentHash) -> Option<&Bytes> {
        let at = self.attachments.binary_search_by_key(hash, |(hash, _)| *hash).ok()?;
        self.attachments.get(at).map(|(_, bytes)| bytes)
    }

    fn check(&self) -> Result<(), DecodeError> {
        if !self.rows.is_sorted_by(|(a, _), (b, _)| a.pseudonym < b.pseudonym) {
            return Err(DecodeError::Invalid("access rows ascend by pseudonym"));
        }
        let mut named: Vec<_> = self.rows.iter().flat_map(|(row, _)| [row.grant, row.owner_copy]).collect();
        named.sort();
        named.dedup();
        if !named.iter().eq(self.attachments.iter().map(|(hash, _)| hash)) {
            return Err(DecodeError::Invalid("the attachments are not those that the access rows name"));
        }
        Ok(())
    }
}

impl Object for AccessPart {
    const NAME: &'static str = "storage-access";

    fn write(&self, out: &mut Encoder) {
        out.count(self.rows.len());
        self.rows.iter().for_each(|(_, bytes)| out.bytes(bytes));
        out.count(self.attachments.len());
        self.attachments.iter().for_each(|(_, bytes)| out.bytes(bytes));
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let count = input.count(caps::READERS_MAX, "rows")?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let bytes = input.bytes(caps::ACCESS_ROW_BYTES_MAX, "row")?;
            rows.push((AccessRow::decode(bytes)?, Bytes::copy_from_slice(bytes)));
        }
        let count = input.count(2 * caps::READERS_MAX, "attachments")?;
        let mut attachments = Vec::new();
        for _ in 0..count {
            let bytes = Bytes::copy_from_slice(input.bytes(caps::ATTACHMENT_BYTES_MAX, "attachment")?);
            attachments.push((attachment_hash(&bytes), bytes));
        }
        let part = Self { rows, attachments };
        part.check().map(|()| part)
    }
}

impl Part for AccessPart {
    const LABEL: Label = Label::STORAGE_ACCESS;
    const FOLDER: &'static str = "access";
    const BYTES_MAX: usize = caps::STORAGE_ACCESS_BYTES_MAX;
}
