//! What is seen, as plain values.

use tidings_core::Did;
use tidings_proto::{Birth, Epoch, HeadRank, Offset, Pseudonym, QueueId, Timestamp};

/// A struct whose fields can be listed.
macro_rules! seen {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl $name {
            /// Names of the fields, in their order.
            pub const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}

seen! {
    /// An owner that the operator lets publish here.
    SeenOwner {
        /// Its name.
        did: Did,
    }
}

seen! {
    /// A queue at its newest head.
    SeenQueue {
        /// Its id.
        queue: QueueId,
        /// Who writes it.
        owner: Did,
        /// Term and number of the head.
        rank: HeadRank,
        /// Random name of the writer's incarnation.
        writer: [u8; 16],
        /// When the head was signed, by the owner's clock.
        signed_at: Timestamp,
        /// When it was stored, by the broker's clock.
        stored_at: Timestamp,
        /// Newest offset: how many mutations were ever published.
        offset: Offset,
        /// Live entries, tombstones included.
        live: u64,
        /// Sum of the encoded live entries, bytes.
        live_bytes: u64,
        /// No live tombstone is at or below this offset.
        floor: Offset,
        /// Current epoch.
        epoch: Epoch,
        /// Epochs with live entries.
        epochs: usize,
        /// Readers with access, the owner among them.
        readers: u32,
        /// Whether the owner closed it.
        closed: bool,
    }
}

seen! {
    /// A live entry. What it says, of which record, and whether it creates, changes or deletes one, cannot be seen.
    SeenEntry {
        /// Its place.
        offset: Offset,
        /// Pseudonym of its record: offset of the record's first entry.
        birth: Birth,
        /// Term it was signed in.
        term: u64,
        /// Epoch whose secret opens it.
        epoch: Epoch,
        /// Size of what is sealed in it, padded, bytes.
        padded_bytes: usize,
    }
}

seen! {
    /// How many live entries have one padded size.
    SeenClass {
        /// The size, bytes.
        padded_bytes: usize,
        /// Live entries of it.
        entries: u64,
    }
}

seen! {
    /// A reader that has access. Who it is cannot be seen.
    SeenReader {
        /// Its key in this queue and in no other.
        pseudonym: Pseudonym,
        /// Whether it is the owner's own row.
        owner: bool,
        /// Term and number of the newest head that it acknowledged here.
        acknowledged: Option<HeadRank>,
        /// Size of its grant, bytes; 0 if it is not here.
        grant_bytes: usize,
        /// Size of the owner's copy about it, bytes; 0 if it is not here.
        owner_copy_bytes: usize,
    }
}

seen! {
    /// A reader that had access.
    SeenFormerReader {
        /// The key it had.
        pseudonym: Pseudonym,
        /// Term and number of the head that removed it.
        removed_by: HeadRank,
    }
}
