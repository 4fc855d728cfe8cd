//! What is committed: one publish, or one whole transfer.

use tidings_proto::QueueId;

use crate::engine::{Adoption, Checked};

/// One step of one queue that was checked as far as that needs no order among steps.
#[derive(Clone, Debug)]
pub enum Work {
    /// A publish. [P-7]
    Publish(Box<Checked>),
    /// A transfer whose entries are staged. [P-10]
    Adopt(Box<Adoption>),
}

impl Work {
    /// The queue it is for.
    pub fn queue(&self) -> QueueId {
        match self {
            Self::Publish(checked) => checked.queue(),
            Self::Adopt(adoption) => adoption.queue(),
        }
    }

    /// Bytes that it weighs in a group.
    pub fn size(&self) -> usize {
        match self {
            Self::Publish(checked) => checked.size(),
            Self::Adopt(adoption) => adoption.size(),
        }
    }
}

impl From<Checked> for Work {
    fn from(checked: Checked) -> Self {
        Self::Publish(Box::new(checked))
    }
}

impl From<Adoption> for Work {
    fn from(adoption: Adoption) -> Self {
        Self::Adopt(Box::new(adoption))
    }
}
