//! What is sealed in an entry: one change of one record.

use std::fmt;

use bytes::Bytes;
use subtle::ConstantTimeEq;
use tidings_proto::caps::{ENTRY_BYTES_MAX, HEADER_BYTES_MAX, HEADERS_MAX, INLINE_BYTES_MAX, REFERENCE_TEXT_BYTES_MAX};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::path::RecordPath;
use crate::version::Version;

/// Fields behind the version, known and unknown together.
const FIELDS_MAX: usize = 64;
const OBJECT: u16 = 1;
const INLINE: u16 = 2;
const HEADERS: u16 = 3;
const RESCUED: u16 = 4;
/// Length of an encoded reference without its texts, and room for both of them.
const REFERENCE_BYTES_MAX: usize = 3 * 32 + 8 + 2 * (4 + REFERENCE_TEXT_BYTES_MAX);

/// What a mutation does to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The record had no value.
    Create,
    /// The record had one.
    Update,
    /// The record has none from now on: a tombstone.
    Delete,
}

/// Random key of one sealed object. Zeroized on drop.
#[derive(Clone)]
pub struct ObjectKey([u8; 32]);

impl ObjectKey {
    /// Takes over 32 secret bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for ObjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ObjectKey {}

impl Drop for ObjectKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ZeroizeOnDrop for ObjectKey {}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ObjectKey([secret])")
    }
}

/// Where the value is, if it is not inline.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectReference {
    /// Hash of the sealed object.
    pub id: [u8; 32],
    /// Its name in storage; at most [`REFERENCE_TEXT_BYTES_MAX`] bytes.
    pub name: String,
    /// Opens the object.
    pub key: ObjectKey,
    /// BLAKE3 of the value.
    pub plaintext_hash: [u8; 32],
    /// Length of the value, bytes.
    pub size: u64,
    /// Media type; may be empty; at most [`REFERENCE_TEXT_BYTES_MAX`] bytes.
    pub content_type: String,
}

/// What a rescued value was before. [P-5]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rescued {
    /// Its record.
    pub path: RecordPath,
    /// Its version there.
    pub version: Version,
}

/// One change of one record, in the clear.
///
/// Encoded: path, operation, version, then tagged fields in ascending tag. A field this build does not know is kept and written
/// back, so that a record survives a reader or owner one version behind.
#[derive(Clone, PartialEq, Eq)]
pub struct Mutation {
    /// Which record.
    pub path: RecordPath,
    /// What happens to it.
    pub operation: Operation,
    /// Its version; later wins.
    pub version: Version,
    /// The value, in storage. None in a delete.
    pub object: Option<ObjectReference>,
    /// The value itself, at most [`INLINE_BYTES_MAX`] bytes. None in a delete. Beside an object it must be the same value.
    pub inline: Option<Bytes>,
    /// Names and values, strictly ascending by name; at most [`HEADERS_MAX`], together [`HEADER_BYTES_MAX`] bytes.
    pub headers: Vec<(String, Bytes)>,
    /// All other fields, those of later versions too: tag and bytes, strictly ascending by tag.
    pub unknown: Vec<(u16, Bytes)>,
}

impl Mutation {
    /// BLAKE3 of the value; `None` without a value.
    pub fn value_hash(&self) -> Option<[u8; 32]> {
        match (&self.object, &self.inline) {
            (Some(object), _) => Some(object.plaintext_hash),
            (None, Some(inline)) => Some(*blake3::hash(inline).as_bytes()),
            (None, None) => None,
        }
    }

    /// What this was before it was rescued; `None` for everything else. [P-5]
    pub fn rescued(&self) -> Option<Rescued> {
        let (_, field) = self.unknown.iter().find(|(tag, _)| *tag == RESCUED)?;
        Rescued::decode_field(field).ok()
    }

    /// Says what this was before it was rescued, in place of what it said.
    pub(crate) fn set_rescued(&mut self, rescued: &Rescued) {
        self.unknown.retain(|(tag, _)| *tag != RESCUED);
        self.unknown.insert(0, (RESCUED, rescued.encode_field().into()));
    }

    /// Length of the value, bytes; 0 without a value.
    pub fn size(&self) -> u64 {
        match (&self.object, &self.inline) {
            (Some(object), _) => object.size,
            (None, Some(inline)) => inline.len() as u64,
            (None, None) => 0,
        }
    }

    /// Whether this can be sealed, and whether what was opened is what an owner may seal.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        self.check_value()?;
        self.check_headers()?;
        if self.unknown.iter().any(|(tag, _)| *tag <= HEADERS) || !self.unknown.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Invalid("unknown fields have later tags in ascending order"));
        }
        let known = usize::from(self.object.is_some()) + usize::from(self.inline.is_some()) + usize::from(!self.headers.is_empty());
        if known + self.unknown.len() > FIELDS_MAX {
            return Err(DecodeError::Invalid("a mutation has too many fields"));
        }
        self.check_rescued()
    }

    /// A field elsewhere would let a value claim to have been another record's.
    fn check_rescued(&self) -> Result<(), DecodeError> {
        let Some((_, field)) = self.unknown.iter().find(|(tag, _)| *tag == RESCUED) else { return Ok(()) };
        if !self.path.is_rescued() || self.operation == Operation::Delete {
            return Err(DecodeError::Invalid("only a value in the place for it was rescued"));
        }
        Rescued::decode_field(field).map(|_| ())
    }

    fn check_value(&self) -> Result<(), DecodeError> {
        if self.operation == Operation::Delete && (self.object.is_some() || self.inline.is_some()) {
            return Err(DecodeError::Invalid("a delete carries no value"));
        }
        if let Some(object) = &self.object
            && (object.name.len() > REFERENCE_TEXT_BYTES_MAX || object.content_type.len() > REFERENCE_TEXT_BYTES_MAX)
        {
            return Err(DecodeError::Invalid("a text of an object reference exceeds its cap"));
        }
        let Some(inline) = &self.inline else { return Ok(()) };
        if inline.len() > INLINE_BYTES_MAX {
            return Err(DecodeError::Invalid("an inline value exceeds its cap"));
        }
        // Two values would let an owner show one to readers that fetch and another to those that do not.
        match &self.object {
            Some(object) if object.size != inline.len() as u64 || object.plaintext_hash != *blake3::hash(inline).as_bytes() => {
                Err(DecodeError::Invalid("inline value and object differ"))
            }
            _ => Ok(()),
        }
    }

    /// At least the length of what [`Object::write`] writes of a mutation that passes [`Self::check`].
    pub(crate) fn encoded_bytes_max(&self) -> usize {
        // Length of the path, operation, version, number of fields; tag and length of each field.
        const FIXED: usize = 4 + 1 + 24 + 4;
        const FIELD: usize = 2 + 4;
        let object = self.object.as_ref().map_or(0, |_| FIELD + REFERENCE_BYTES_MAX);
        let inline = self.inline.as_ref().map_or(0, |inline| FIELD + inline.len());
        let headers: usize = self.headers.iter().map(|(name, value)| 2 * 4 + name.len() + value.len()).sum();
        let unknown: usize = self.unknown.iter().map(|(_, value)| FIELD + value.len()).sum();
        FIXED + self.path.as_str().len() + object + inline + FIELD + 4 + headers + unknown
    }

    fn check_headers(&self) -> Result<(), DecodeError> {
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        if self.headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Err(DecodeError::Invalid("headers exceed their cap"));
        }
        if self.headers.iter().any(|(name, _)| name.is_empty()) || !self.headers.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(DecodeError::Invalid("headers have names in ascending order"));
        }
        Ok(())
    }

    fn fields(&self) -> Vec<(u16, Zeroizing<Vec<u8>>)> {
        let mut fields = Vec::new();
        if let Some(object) = &self.object {
            let mut out = Encoder::with_capacity(REFERENCE_BYTES_MAX);
            object.write_in(&mut out);
            fields.push((OBJECT, Zeroizing::new(out.finish())));
        }
        if let Some(inline) = &self.inline {
            fields.push((INLINE, Zeroizing::new(inline.to_vec())));
        }
        if !self.headers.is_empty() {
            let mut out = Encoder::new();
            write_headers(&self.headers, &mut out);
            fields.push((HEADERS, Zeroizing::new(out.finish())));
        }
        fields.extend(self.unknown.iter().map(|(tag, value)| (*tag, Zeroizing::new(value.to_vec()))));
        fields
    }

    fn read_field(&mut self, tag: u16, value: &[u8]) -> Result<(), DecodeError> {
        let mut input = Decoder::new(value);
        match tag {
            OBJECT => self.object = Some(ObjectReference::read_in(&mut input)?),
            INLINE => self.inline = Some(Bytes::copy_from_slice(input.raw(value.len(), "inline value")?)),
            HEADERS => self.headers = read_headers(&mut input)?,
            _ => self.unknown.push((tag, Bytes::copy_from_slice(input.raw(value.len(), "field")?))),
        }
        input.finish()
    }
}

impl Rescued {
    fn encode_field(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        self.path.write_in(&mut out);
        self.version.write_in(&mut out);
        out.finish()
    }

    fn decode_field(field: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(field);
        let rescued = Self { path: RecordPath::read_in(&mut input)?, version: Version::read_in(&mut input)? };
        input.finish().map(|()| rescued)
    }
}

impl Object for Mutation {
    const NAME: &'static str = "mutation";

    fn write(&self, out: &mut Encoder) {
        self.path.write_in(out);
        out.u8(match self.operation {
            Operation::Create => 1,
            Operation::Update => 2,
            Operation::Delete => 3,
        });
        self.version.write_in(out);
        let fields = self.fields();
        out.count(fields.len());
        for (tag, value) in &fields {
            out.raw(&tag.to_be_bytes());
            out.bytes(value);
        }
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let path = RecordPath::read_in(input)?;
        let operation = match input.u8("operation")? {
            1 => Operation::Create,
            2 => Operation::Update,
            3 => Operation::Delete,
            _ => return Err(DecodeError::Invalid("unknown operation")),
        };
        let version = Version::read_in(input)?;
        let mut mutation = Self { path, operation, version, object: None, inline: None, headers: Vec::new(), unknown: Vec::new() };
        let mut before = 0;
        for _ in 0..input.count(FIELDS_MAX, "fields")? {
            let tag = u16::from_be_bytes(input.array("field tag")?);
            if tag <= before {
                return Err(DecodeError::Invalid("fields are not in ascending order"));
            }
            mutation.read_field(tag, input.bytes(ENTRY_BYTES_MAX, "field")?)?;
            before = tag;
        }
        mutation.check()?;
        Ok(mutation)
    }
}

impl ObjectReference {
    fn write_in(&self, out: &mut Encoder) {
        out.raw(&self.id);
        out.bytes(self.name.as_bytes());
        out.raw(&self.key.0);
        out.raw(&self.plaintext_hash);
        out.u64(self.size);
        out.bytes(self.content_type.as_bytes());
    }

    fn read_in(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: input.array("object id")?,
            name: input.text(REFERENCE_TEXT_BYTES_MAX, "object name")?.to_owned(),
            key: ObjectKey(input.array("object key")?),
            plaintext_hash: input.array("plaintext hash")?,
            size: input.u64("size")?,
            content_type: input.text(REFERENCE_TEXT_BYTES_MAX, "content type")?.to_owned(),
        })
    }
}

impl fmt::Debug for ObjectReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectReference({} bytes, [secret])", self.size)
    }
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mutation({:?} {:?}, {} bytes, [secret])", self.operation, self.path, self.size())
    }
}

fn write_headers(headers: &[(String, Bytes)], out: &mut Encoder) {
    out.count(headers.len());
    for (name, value) in headers {
        out.bytes(name.as_bytes());
        out.bytes(value);
    }
}

/// At least one: without headers there is no field.
fn read_headers(input: &mut Decoder<'_>) -> Result<Vec<(String, Bytes)>, DecodeError> {
    let count = input.count(HEADERS_MAX, "headers")?;
    if count == 0 {
        return Err(DecodeError::Invalid("a list of headers is empty"));
    }
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = input.text(HEADER_BYTES_MAX, "header name")?.to_owned();
        headers.push((name, Bytes::copy_from_slice(input.bytes(HEADER_BYTES_MAX, "header value")?)));
    }
    Ok(headers)
}

#[cfg(test)]
pub(crate) mod tests;
