//! Verdicts and the evidence behind an accusation.

use bytes::Bytes;
use tidings_proto::caps::{ENTRY_BYTES_MAX, HEAD_BYTES_MAX, TEXT_BYTES_MAX};
use tidings_proto::{Birth, EntryDigest, HeadRank, Offset, Timestamp};

use super::Fault;
use crate::codec::{DecodeError, Decoder, Encoder, Object};
use crate::queue::QueueDescriptor;

/// What a reader knows about its view, never merely "synced".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The newest head announced is verified, and young enough. [P-16]
    UpToDate,
    /// A delta is on its way.
    CatchingUp,
    /// What is verified may be old: the broker lags, or the owner has been silent for longer than the reader accepts.
    Stale,
    /// No broker can be reached.
    Offline,
    /// The owner's access list has no row for this reader.
    Denied,
    /// A broker keeps back, adds or alters what the owner signed.
    Withheld,
    /// The owner's key signed two histories.
    Forked,
    /// The owner went on from an earlier head, in a higher term.
    Rewound,
    /// Something is of a version that this build does not know.
    TooNew,
    /// The reader's own state was damaged and is read again.
    LocalDamage,
}

impl Verdict {
    const WORDS: [(Self, &'static str); 10] = [
        (Self::UpToDate, "up-to-date"),
        (Self::CatchingUp, "catching-up"),
        (Self::Stale, "stale"),
        (Self::Offline, "offline"),
        (Self::Denied, "denied"),
        (Self::Withheld, "withheld"),
        (Self::Forked, "forked"),
        (Self::Rewound, "rewound"),
        (Self::TooNew, "too-new"),
        (Self::LocalDamage, "local-damage"),
    ];

    /// The word in listings and events.
    pub fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(verdict, _)| *verdict == self).map_or("", |(_, word)| word)
    }

    /// The verdict of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, known)| *known == word).map(|(verdict, _)| *verdict)
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A verdict that accuses somebody or ends a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// What was wrong, in words. Names no path.
    pub detail: String,
    /// What the connection's answers contradicted twice, if the verdict rests on that.
    pub fault: Option<Fault>,
    /// Kept as a file if the verdict accuses; `None` otherwise.
    pub evidence: Option<Evidence>,
}

/// What one broker sent since the cursor, so that a person can show it.
///
/// Heads prove by themselves what the owner signed. What a broker streamed is the reader's word: brokers do not sign chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The verdict's word.
    pub verdict: Verdict,
    /// The broker, as it is addressed.
    pub broker: String,
    /// When the verified state was signed, by the owner's clock.
    pub as_of: Timestamp,
    /// What was wrong.
    pub detail: String,
    /// The queue.
    pub descriptor: QueueDescriptor,
    /// The last verified head; empty at first contact.
    pub verified: Bytes,
    /// Signed heads announced on the connection: the first and the last. Against a broker that shows less than a witness does:
    /// the newest that it announced, and the witness's.
    pub announced: Vec<Bytes>,
    /// Leaf that the broker proved to stand at the verified head's number, if the verdict rests on one, with its proof.
    pub leaf: Option<([u8; 32], Vec<[u8; 32]>)>,
    /// Staged entries: offset, birth, digest; at most the first [`EVIDENCE_ENTRIES_MAX`].
    pub staged: Vec<(Offset, Birth, EntryDigest)>,
    /// Rank that the reader had seen before.
    pub stamp: HeadRank,
}

/// Staged entries that evidence lists.
pub const EVIDENCE_ENTRIES_MAX: usize = ENTRY_BYTES_MAX;

impl Object for Evidence {
    const NAME: &'static str = "evidence";

    fn write(&self, out: &mut Encoder) {
        out.bytes(self.verdict.word().as_bytes());
        out.bytes(self.broker.as_bytes());
        out.timestamp(self.as_of);
        out.bytes(self.detail.as_bytes());
        out.bytes(&self.descriptor.encode());
        out.bytes(&self.verified);
        out.count(self.announced.len());
        self.announced.iter().for_each(|head| out.bytes(head));
        out.count(usize::from(self.leaf.is_some()));
        if let Some((leaf, proof)) = &self.leaf {
            out.raw(leaf);
            out.count(proof.len());
            proof.iter().for_each(|hash| out.raw(hash));
        }
        out.count(self.staged.len());
        for (offset, birth, digest) in &self.staged {
            out.offset(*offset);
            out.birth(*birth);
            out.entry_digest(digest);
        }
        out.rank(self.stamp);
    }

    fn read(input: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let word = input.text(TEXT_BYTES_MAX, "verdict")?;
        Ok(Self {
            verdict: Verdict::from_word(word).ok_or(DecodeError::Invalid("no such verdict"))?,
            broker: input.text(TEXT_BYTES_MAX, "broker")?.to_owned(),
            as_of: input.timestamp()?,
            detail: input.text(TEXT_BYTES_MAX, "detail")?.to_owned(),
            descriptor: QueueDescriptor::decode(input.bytes(HEAD_BYTES_MAX, "descriptor")?)?,
            verified: Bytes::copy_from_slice(input.bytes(HEAD_BYTES_MAX, "verified head")?),
            announced: read_heads(input)?,
            leaf: read_leaf(input)?,
            staged: read_staged(input)?,
            stamp: input.rank()?,
        })
    }
}

fn read_heads(input: &mut Decoder<'_>) -> Result<Vec<Bytes>, DecodeError> {
    let count = input.count(2, "announced heads")?;
    (0..count).map(|_| Ok(Bytes::copy_from_slice(input.bytes(HEAD_BYTES_MAX, "head")?))).collect()
}

type Leaf = Option<([u8; 32], Vec<[u8; 32]>)>;

fn read_leaf(input: &mut Decoder<'_>) -> Result<Leaf, DecodeError> {
    if input.count(1, "leaf")? == 0 {
        return Ok(None);
    }
    let leaf = input.array("leaf")?;
    let count = input.count(tidings_proto::caps::PROOF_HASHES_MAX, "proof")?;
    let proof = (0..count).map(|_| input.array("proof")).collect::<Result<_, _>>()?;
    Ok(Some((leaf, proof)))
}

fn read_staged(input: &mut Decoder<'_>) -> Result<Vec<(Offset, Birth, EntryDigest)>, DecodeError> {
    let count = input.count(EVIDENCE_ENTRIES_MAX, "staged entries")?;
    (0..count).map(|_| Ok((input.offset()?, input.birth()?, input.entry_digest()?))).collect()
}
