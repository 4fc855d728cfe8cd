//! The one codec for everything that is signed, hashed or sealed.
//!
//! A version byte, fixed-width big-endian integers, `u32`-length-prefixed bytes, lists (a `u32` count) in ascending order
//! where the object says so. The decoder accepts exactly what the encoder writes and nothing more: one object has one
//! encoding. Nothing is allocated before its length was checked against the input that is there.

use tidings_proto::{
    Birth, ContentHash, EntryDigest, Epoch, HeadHash, HeadNumber, HeadRank, Offset, Pseudonym, QueueId, Term, Timestamp, VerifyingKey,
};

/// Version of every object of this generation.
pub const VERSION: u8 = 1;

/// Why bytes are not the object they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("the input ends inside {0}")]
    Truncated(&'static str),
    /// Bytes follow the last field.
    #[error("{0} bytes follow the object")]
    Trailing(usize),
    /// A version this build does not know: the object may be right, and a newer build could read it. [P-20]
    #[error("{object} has version {found}; this build reads version {VERSION}")]
    TooNew {
        /// Which object.
        object: &'static str,
        /// The version found.
        found: u8,
    },
    /// A field holds what no encoder writes.
    #[error("{0}")]
    Invalid(&'static str),
}

/// An object with one encoding.
pub trait Object: Sized {
    /// Name in labels and messages: `tidings/1/<name>`.
    const NAME: &'static str;

    /// Writes the fields after the version byte.
    fn write(&self, out: &mut Encoder);

    /// Reads the fields after the version byte.
    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError>;

    /// Version byte and fields.
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.u8(VERSION);
        self.write(&mut out);
        out.finish()
    }

    /// Reads a whole object and nothing more.
    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        let object = Self::decode_in(&mut input)?;
        input.finish()?;
        Ok(object)
    }

    /// Reads a version byte and this object from the front of `input`.
    fn decode_in(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        match input.u8("version")? {
            VERSION => Self::read(input),
            found => Err(DecodeError::TooNew { object: Self::NAME, found }),
        }
    }
}

/// Writes fields.
#[derive(Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing written yet. Up to `bytes` are written without moving, which leaves no copies of a secret behind.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { out: Vec::with_capacity(bytes) }
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    /// Bytes whose length the object fixes: no length prefix.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Length as `u32`, then the bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Number of items of a list that follow.
    pub fn count(&mut self, items: usize) {
        // Every list and byte string has a cap far below 2^32 that its type enforces.
        self.u32(u32::try_from(items).expect("lengths are capped below 2^32"));
    }
}

/// Reads fields.
#[derive(Debug)]
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads from the front of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }

    /// Exactly `length` bytes, without a prefix.
    pub fn raw(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated(field))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Exactly `N` bytes, without a prefix.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N, field)?);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Length-prefixed bytes of at most `max`.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.count(max, field)?;
        self.raw(length, field)
    }

    /// Length-prefixed UTF-8 of at most `max` bytes.
    pub fn text(&mut self, max: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes(max, field)?).map_err(|_| DecodeError::Invalid("text is not UTF-8"))
    }

    /// A count of at most `max`.
    pub fn count(&mut self, max: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.u32(field)? as usize;
        if count > max { Err(DecodeError::Invalid("a length or count exceeds its cap")) } else { Ok(count) }
    }
}

macro_rules! number_fields {
    ($($method:ident: $name:ident),*) => {
        impl Encoder { $(#[doc = concat!("A `", stringify!($name), "`, eight bytes.")] pub fn $method(&mut self, value: $name) { self.u64(value.value()); })* }
        impl Decoder<'_> { $(#[doc = concat!("A `", stringify!($name), "`, eight bytes.")] pub fn $method(&mut self) -> Result<$name, DecodeError> { self.u64(stringify!($method)).map($name::new) })* }
    };
}

macro_rules! name_fields {
    ($($method:ident: $name:ident),*) => {
        impl Encoder { $(#[doc = concat!("A `", stringify!($name), "`, 32 bytes.")] pub fn $method(&mut self, value: &$name) { self.raw(value.bytes()); })* }
        impl Decoder<'_> { $(#[doc = concat!("A `", stringify!($name), "`, 32 bytes.")] pub fn $method(&mut self) -> Result<$name, DecodeError> { self.array(stringify!($method)).map($name::new) })* }
    };
}

number_fields!(offset: Offset, birth: Birth, number: HeadNumber, term: Term, epoch: Epoch, timestamp: Timestamp);
name_fields!(
    queue_id: QueueId,
    head_hash: HeadHash,
    entry_digest: EntryDigest,
    pseudonym: Pseudonym,
    content_hash: ContentHash,
    verifying_key: VerifyingKey
);

impl Encoder {
    /// Term, then number: 16 bytes.
    pub fn rank(&mut self, rank: HeadRank) {
        self.term(rank.term);
        self.number(rank.number);
    }
}

impl Decoder<'_> {
    /// Term, then number: 16 bytes.
    pub fn rank(&mut self) -> Result<HeadRank, DecodeError> {
        Ok(HeadRank { term: self.term()?, number: self.number()? })
    }
}
