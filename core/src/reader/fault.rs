//! What was wrong with an answer, before anybody is accused of it.

/// A contradiction in what one connection sent. Twice in a row from one broker it becomes a verdict. [P-14]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// An object does not decode.
    #[error("{0} does not decode")]
    Malformed(&'static str),
    /// A head of another queue or with a wrong signature.
    #[error("a head is not the owner's")]
    ForeignHead,
    /// A head announced out of order.
    #[error("heads are not announced in ascending order")]
    HeadOrder,
    /// The proof that a head descends from the one before is missing or wrong.
    #[error("the proof that a head descends from the one before it is missing or wrong")]
    Proof,
    /// A head does not descend from one announced before on this connection. The cursor is not concerned.
    #[error("the queue took another branch while it was read")]
    Branch,
    /// A frame that answers nothing, or at the wrong time.
    #[error("{0} came out of turn")]
    OutOfTurn(&'static str),
    /// Entries out of order, beyond the announced head or more than it signs.
    #[error("entries are streamed that the announced head does not allow: {0}")]
    Entries(&'static str),
    /// The set that the entries make is not the one that the head signs.
    #[error("the entries do not make the set that the owner signed")]
    Set,
    /// No secret for an epoch that the head lists.
    #[error("the grant is missing that opens what the head signs")]
    GrantMissing,
    /// A grant that is not this reader's.
    #[error("a grant was sent, but {0}")]
    Grant(&'static str),
    /// A bitmap that does not decode or cover what it should.
    #[error("a bitmap does not cover what was asked")]
    Bitmap,
}
