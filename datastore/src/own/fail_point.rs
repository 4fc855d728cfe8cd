//! Places where a test ends the process, to see that nothing is lost or left.

use std::sync::Arc;

/// Called with the place that was reached.
pub type FailHook = Arc<dyn Fn(FailPoint) + Send + Sync>;

/// A place between two steps of which a crash may separate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailPoint {
    /// A put: the value is sealed, nothing is durable.
    PutSealed,
    /// A put: the staged row is durable.
    PutStaged,
    /// A put: the object is in storage.
    PutStored,
    /// A put: the write is in the outbox.
    PutReleased,
    /// A delete is in the outbox.
    DeleteReleased,
    /// An import: values of a batch are sealed.
    ImportSealed,
    /// An import: the batch's staged rows are durable.
    ImportStaged,
    /// An import: one object of the batch is in storage.
    ImportStoredOne,
    /// An import: all objects of the batch are in storage.
    ImportStored,
    /// An import: the batch's writes are in the outbox.
    ImportReleased,
    /// A staged value is whole in storage and not released yet.
    SettleChecked,
    /// A staged value was released after a crash.
    SettleReleased,
    /// A staged value is withdrawn, its object still there.
    WithdrawMarked,
    /// Its object is removed, the ledger still knows it.
    WithdrawRemoved,
    /// A collection wrote down what it saw.
    CollectMarked,
    /// A collection removed an object that the ledger still knows.
    CollectRemoved,
}

impl FailPoint {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::PutSealed,
        Self::PutStaged,
        Self::PutStored,
        Self::PutReleased,
        Self::DeleteReleased,
        Self::ImportSealed,
        Self::ImportStaged,
        Self::ImportStoredOne,
        Self::ImportStored,
        Self::ImportReleased,
        Self::SettleChecked,
        Self::SettleReleased,
        Self::WithdrawMarked,
        Self::WithdrawRemoved,
        Self::CollectMarked,
        Self::CollectRemoved,
    ];
}
