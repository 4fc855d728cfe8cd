//! Frames: what travels on the streams of a connection, as plain structs.
//!
//! A frame on the wire is a big-endian `u32` length and that many bytes of protobuf (`tidings.proto`).
//!
//! | stream | client sends | broker answers |
//! | --- | --- | --- |
//! | control, the first of a connection | `Hello`, then `Prove` as often as needed | `Welcome`; `Proven` or `Refused` for each |
//! | publish, one for each queue | `Open`, then `Publish`, `AskReaders`, `Transfer`, pipelined; `Pulse` | `Standing`; then `Receipt`, `Readers` or `Refused`, in order; a `Pulse` has no answer, a transfer one |
//! | subscription, one for each queue and reader | `Subscribe`, then `AskBitmap`, `Acknowledge` | `Grant`?, `Announce`, then `Chunk`s, `Announce`s, `Bitmap`s, `Acknowledged`s, `Pulse`s |

use bytes::Bytes;

use crate::ids::{HeadNumber, HeadRank, Offset, Pseudonym, QueueId, VerifyingKey};
use crate::refusal::Refusal;

/// Client to broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// First frame of a connection.
    Hello(Hello),
    /// Proves a key by a signature over the TLS exporter. [P-18]
    Prove(Prove),
    /// First frame of a publish stream; the owner's key must be proven.
    Open(Open),
    /// One head with its entries. [P-7]
    Publish(Publish),
    /// Asks for access rows and acknowledgements; owner only.
    AskReaders,
    /// First frame of a subscription; the pseudonym must be proven.
    Subscribe(Subscribe),
    /// Asks for the bitmap of live offsets up to where this subscription has been streamed. [P-9]
    AskBitmap,
    /// A signed acknowledgement.
    Acknowledge(Bytes),
    /// A signed pulse, on a publish stream. It is passed on to readers and not answered. [P-16]
    Pulse(Bytes),
    /// One part of a state transfer, on a publish stream. Only the last part is answered. [P-10]
    Transfer(Transfer),
    /// Asks for everything that the broker holds of the queue, on a publish stream: the way back of an owner whose state was lost,
    /// or who finds heads of its own key that it does not know. Answered by [`Reply::Part`]s. [P-5]
    Recover,
}

/// Broker to client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answers `Hello`.
    Welcome(Welcome),
    /// Answers `Prove`: this key is proven.
    Proven(VerifyingKey),
    /// Answers `Open`: the signed head the queue stands at, verbatim; empty if the queue is new here.
    Standing(Bytes),
    /// Answers `Publish`: a signed receipt; the publish is on disk.
    Receipt(Bytes),
    /// Answers `AskReaders`.
    Readers(Readers),
    /// The reader's newest grant.
    Grant(Bytes),
    /// A head, shown to descend from the one announced before it (or from the subscription's cursor).
    Announce(Announce),
    /// Live entries of a delta.
    Chunk(Chunk),
    /// Answers `AskBitmap`, in one or more parts.
    Bitmap(Bitmap),
    /// Answers `Acknowledge`: kept durably up to this rank.
    Acknowledged(HeadRank),
    /// The request was not carried out.
    Refused(Refusal),
    /// The owner's newest pulse. [P-16]
    Pulse(Bytes),
    /// Answers `Recover`, in one or more parts of one snapshot: a state transfer from zero, from the broker to the owner. [P-5]
    Part(Transfer),
}

/// Greeting of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Program and version, for the operator's log.
    pub software: String,
}

/// Greeting of a broker: what it is and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// Program and version.
    pub software: String,
    /// Key of its receipts.
    pub receipt_key: VerifyingKey,
    /// Its limits.
    pub limits: Limits,
}

/// Limits that a client can know before it meets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Entries in one publish.
    pub publish_entries_max: u32,
    /// Sum of the encoded entries of one publish, bytes.
    pub publish_bytes_max: u32,
    /// One encoded entry, bytes.
    pub entry_bytes_max: u32,
    /// Publishes of one stream that wait for their receipts.
    pub publishes_in_flight_max: u32,
    /// Readers of one queue.
    pub readers_max: u32,
    /// Live bytes of one queue; 0 is no limit.
    pub live_bytes_max: u64,
}

/// Proof of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prove {
    /// The Ed25519 key: an owner's signing key or a pseudonym.
    pub key: VerifyingKey,
    /// Ed25519 signature with the label `tidings/1/proof` over exporter and key.
    pub signature: [u8; 64],
}

/// Opens a publish stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Encoded queue descriptor; its hash is the queue id.
    pub descriptor: Bytes,
}

/// One publish: a signed head and all that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Signed head, verbatim.
    pub head: Bytes,
    /// Encoded entries in ascending offset.
    pub entries: Vec<Bytes>,
    /// Offsets purged by a raised floor, ascending: those live after replacing by birth. [P-6]
    pub purged: Vec<Offset>,
    /// Encoded access rows added or replaced, ascending by pseudonym.
    pub access_put: Vec<Bytes>,
    /// Pseudonyms whose rows are removed, ascending.
    pub access_removed: Vec<Pseudonym>,
    /// Grants and owner's copies that the rows name by hash.
    pub attachments: Vec<Bytes>,
}

/// One part of a state transfer: what takes a broker from the head it stands at to the owner's newest, in one step. [P-10]
///
/// Parts come in order on one publish stream, nothing but pulses between them. The broker applies all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Hashes of the heads after the one that stands, ascending, without the new head's own; at most
    /// [`TRANSFER_HISTORY_MAX`](crate::caps::TRANSFER_HISTORY_MAX) in a part.
    pub history: Vec<[u8; 32]>,
    /// `live` covers offsets above `after` ...
    pub after: Offset,
    /// ... up to and including this one, at most the offset of the head that stands.
    pub through: Offset,
    /// Offsets up to `through` that are still live at the new head; 64-bit roaring bitmap in its portable format; empty for none.
    pub live: Bytes,
    /// Encoded entries above the offset of the head that stands that are live at the new head, ascending over all parts.
    pub entries: Vec<Bytes>,
    /// Grants and owner's copies that the rows name.
    pub attachments: Vec<Bytes>,
    /// The signed new head, verbatim: this is the last part. Empty in all others.
    pub head: Bytes,
    /// The whole access list at the new head, encoded, ascending by pseudonym; only in the last part.
    pub rows: Vec<Bytes>,
}

/// Access rows and acknowledgements of a queue, for its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readers {
    /// Encoded access rows, ascending by pseudonym.
    pub rows: Vec<Bytes>,
    /// Newest signed acknowledgement of each reader that sent one.
    pub acknowledgements: Vec<Bytes>,
}

/// Opens a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Queue to read.
    pub queue: QueueId,
    /// Proven key of the reader.
    pub reader: Pseudonym,
    /// Number of the last verified head; 0 at first contact.
    pub cursor: HeadNumber,
    /// Stream live entries after this offset: the cursor's, or further if something is staged.
    pub position: Offset,
    /// Hash of the newest grant the reader holds; empty if none.
    pub grant: Bytes,
}

/// A signed head with the proof that it descends from `base`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Signed head, verbatim.
    pub head: Bytes,
    /// Head number that the proof is about: the cursor's for the first announcement, then that of the head announced before.
    pub base: HeadNumber,
    /// Leaf at that number in this head's history (a head hash; the queue id at 0). Empty if `base` is not below the head.
    pub leaf: Bytes,
    /// RFC 6962 inclusion proof of `leaf` under the head's history root; empty if `base` is the head's direct predecessor.
    pub proof: Vec<[u8; 32]>,
}

/// A run of live entries, read at an announced head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Rank of the announced head at which this was read.
    pub stamp: HeadRank,
    /// Encoded entries in ascending offset.
    pub entries: Vec<Bytes>,
    /// The read reached the newest offset: with these entries the set is the one that the stamp's head signs.
    pub complete: bool,
}

/// Live offsets up to and including `through`, read at an announced head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// Rank of the announced head at which this was read.
    pub stamp: HeadRank,
    /// This part covers offsets above `after` ...
    pub after: Offset,
    /// ... up to and including this one.
    pub through: Offset,
    /// 64-bit roaring bitmap in its portable format.
    pub live: Bytes,
    /// No more parts follow; the next chunk is from the same snapshot.
    pub last: bool,
}
