//! Newtypes for every number and every 32-byte name of the protocol, so that none is taken for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Zero: before the first.
            pub const ZERO: Self = Self(0);

            /// Wraps a number as it stands in an encoding.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number itself.
            pub const fn value(self) -> u64 {
                self.0
            }

            /// The next one, or `None` at the end of the range.
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

macro_rules! name32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// All zero: none.
            pub const ZERO: Self = Self([0; 32]);

            /// Wraps 32 bytes as they stand in an encoding.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The bytes themselves.
            pub const fn bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                bytes.try_into().map(Self)
            }
        }

        /// The first four bytes in hex: enough to recognise one in a log, too little to be one.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

number! {
    /// Position of an entry in its queue. Dense, chosen by the owner, the first is 1; 0 is before the first. [P-2]
    Offset
}
number! {
    /// Pseudonym of a record in its queue: the offset of its first entry, kept until its tombstone is purged.
    Birth
}
number! {
    /// Number of a head. The first is 1; goes on across terms.
    HeadNumber
}
number! {
    /// Incarnation of the writer. The first is 1; a new one names its base. [P-4]
    Term
}
number! {
    /// Generation of the content key. The first is 1.
    Epoch
}
number! {
    /// Milliseconds since 1970-01-01 00:00 UTC by the clock of whoever wrote it.
    Timestamp
}

name32! {
    /// Self-certifying name of a queue: the hash of its descriptor. Zero is none.
    QueueId
}
name32! {
    /// Labelled hash of a head's signed bytes without the signature. The hash of "no head yet" is the queue id.
    HeadHash
}
name32! {
    /// Labelled hash over a whole entry and its queue.
    EntryDigest
}
name32! {
    /// Ed25519 key by which a broker knows a reader of one queue.
    Pseudonym
}
name32! {
    /// Labelled BLAKE3 hash that names an attachment (grant or owner's copy).
    ContentHash
}
name32! {
    /// Ed25519 verifying key of an owner or of a broker's receipts.
    VerifyingKey
}

/// Place of a head among all heads of its queue. Ordered by term, then number; never by number alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadRank {
    /// Term the head was signed in.
    pub term: Term,
    /// Number of the head.
    pub number: HeadNumber,
}

impl fmt::Display for HeadRank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.number)
    }
}
