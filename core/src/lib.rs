//! The sealed log of Tidings as pure functions and state machines.
//!
//! No socket, no disk, no clock and no randomness of its own: time and [`Entropy`] are arguments. What is signed, hashed or
//! sealed is an [`Object`] and is written by [`codec`], each for its own purpose by [`label`].

pub mod access; // who may read: rows of the access list
pub mod acknowledgement; // what a reader says it has
pub mod card; // a node's public keys
pub mod codec;
pub mod cursor; // where a reader stands
pub mod did;
pub mod entropy;
pub mod entry; // a sealed mutation at its place
pub mod epoch; // content keys
mod exchange; // sealing to an X-Wing key
pub mod grant; // what a reader needs to open entries
pub mod head; // what the owner signs
pub mod history; // proofs that heads descend from each other
pub mod invitation;
pub mod key; // a node's secret key
pub mod key_file;
pub mod label;
pub mod line; // objects as one line of text
pub mod merge; // what becomes of a branch that is given up
pub mod mutation; // what happened to a record
#[cfg(test)]
mod object_laws;
pub mod path; // what a record is called
pub mod pseudonym; // what a broker knows a reader by
pub mod pulse; // what an owner says between heads
pub mod queue; // descriptor and id
pub mod reader; // verifies what a broker says
pub mod receipt; // what a broker says it has
pub mod recovery; // from what a broker holds to an owner's state
pub mod seal; // mutation to entry and back
pub mod sealed_object; // values in storage
pub mod set_hash; // commitment to a set
pub mod signed; // body and signature
pub mod storage_index; // a queue in storage
pub mod version; // which change of a record is later
pub mod writer; // signs what the owner does

pub use access::{AccessRow, OwnerCopy, OwnerCopyError, Rights};
pub use acknowledgement::Acknowledgement;
pub use card::{Card, Fingerprint};
pub use codec::{DecodeError, Decoder, Encoder, Object};
pub use cursor::Cursor;
pub use did::{Did, DidError};
pub use entropy::Entropy;
pub use entry::Entry;
pub use epoch::EpochSecret;
pub use grant::{Grant, GrantError, attachment_hash};
pub use head::{EpochCommitment, Head, QueueState, SignedHead, WriterId};
pub use history::{Frontier, NodeIndex, ProofPlan, verify_inclusion};
pub use invitation::{Invitation, InvitationError};
pub use key::{NodeKey, verify_proof};
pub use key_file::KeyFileError;
pub use label::Label;
pub use line::LineError;
pub use merge::{Branch, Fate, Parting, Side, SignedAt, fate, rescue};
pub use mutation::{Mutation, ObjectKey, ObjectReference, Operation, Rescued};
pub use path::{PathError, RecordPath};
pub use pseudonym::PseudonymKey;
pub use pulse::Pulse;
pub use queue::QueueDescriptor;
pub use reader::{Reader, ReaderStore, Step, Verdict};
pub use receipt::{Receipt, ReceiptKey};
pub use recovery::{Opened, OpenedRecord, Recovered, Recovery, RecoveryError};
pub use seal::{OpenError, Place, SealError};
pub use sealed_object::{ObjectError, ObjectHasher, ObjectOpener, ObjectSealer, ValueHasher};
pub use set_hash::{SetHash, SetKind};
pub use signed::SignedError;
pub use storage_index::{
    AccessPart, HistoryRun, LivePart, Part, PartError, PartReference, RunReference, Segment, SegmentReference, StorageHead,
};
pub use version::Version;
pub use writer::{NewTerm, TermKeys, Writer, WriterError, WriterName};
