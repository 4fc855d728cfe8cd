//! What a subscriber tells the application.

use std::path::PathBuf;

use tidings_core::reader::{Change, Verdict};
use tidings_core::{Cursor, RecordPath};
use tidings_proto::{Offset, Term, Timestamp};

use crate::state::Rewound;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Verified changes, at most one for each record. Acknowledge them once they are durable.
    Changes(Vec<Change>),
    /// The newest announced head is verified, and all its changes were handed out.
    CaughtUp(CaughtUp),
    /// The verdict changed.
    Verdict(VerdictReport),
    /// The owner went on from an earlier head than the one held here, and what it signed since is verified. Comes before the changes
    /// that lead from the one to the other, and again in each session until [`Subscriber::acknowledge_rewound`]. [P-14]
    ///
    /// [`Subscriber::acknowledge_rewound`]: super::Subscriber::acknowledge_rewound
    Rewound(Rewound),
    /// A delta is on its way.
    Progress {
        /// Offset up to which it has come.
        staged: Offset,
        /// Newest offset announced.
        of: Offset,
        /// Live entries that the broker announced: the most that a catch-up carries.
        entries_max: u64,
    },
}

/// A verified head, not older than the one announced when the subscriber connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaughtUp {
    /// The head.
    pub cursor: Cursor,
    /// Entries the delta carried.
    pub entries: u64,
    /// Their encoded bytes.
    pub bytes: u64,
    /// When the owner signed the head, by the owner's clock.
    pub as_of: Timestamp,
}

/// A verdict and what it rests on. [P-16]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictReport {
    /// The verdict.
    pub verdict: Verdict,
    /// When the owner signed the last verified head, by the owner's clock; 0 if none is.
    pub as_of: Timestamp,
    /// Why, in words. Names no path.
    pub detail: String,
    /// File with the evidence, if somebody is accused.
    pub evidence: Option<PathBuf>,
}

/// What is known about a follow at this moment of this session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The verdict. Before the first attempt has ended it is `offline` with the detail "not connected yet", unless an
    /// accusation stands.
    pub verdict: VerdictReport,
    /// The last catch-up of this session.
    pub caught_up: Option<CaughtUp>,
    /// A subscription is open; it need not have brought anything yet.
    pub connected: bool,
    /// Verdicts of this session that stood in the way of catching up: all routes were tried, or somebody was accused. Whoever
    /// waits for a catch-up gives up when this rises.
    pub blocks: u64,
    /// The last accusation of this session, and how many there were. It stays when another route led to a verified view at
    /// once: a lie is named although it changed nothing.
    pub accused: Option<(u64, VerdictReport)>,
}

/// Names one handed-out change: a later change of the same record has another id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ChangeId {
    /// The record.
    pub path: RecordPath,
    /// Term of the entry that decides.
    pub term: Term,
    /// Its offset.
    pub offset: Offset,
}

impl From<&Change> for ChangeId {
    fn from(change: &Change) -> Self {
        Self { path: change.path.clone(), term: change.term, offset: change.offset }
    }
}
