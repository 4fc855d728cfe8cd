//! Errors on command.

use fuser::Errno;

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Writing, or changing a length.
    Write,
    /// Syncing a file or folder.
    Sync,
    /// Making a file, folder or other name.
    Create,
    /// Any other change.
    Other,
}

/// Fails operations on files whose path ends as told.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// What fails.
    pub(crate) operation: Operation,
    /// How the path ends.
    pub(crate) ending: &'static str,
    /// How many are let pass before.
    pub(crate) pass: u64,
    /// How many fail then.
    pub(crate) fail: u64,
    /// How they fail.
    pub(crate) error: Errno,
}

impl Rule {
    /// The error for this operation, if it is to fail.
    pub(super) fn error_for(&mut self, operation: Operation, path: &str) -> Option<Errno> {
        if self.operation != operation || !path.ends_with(self.ending) {
            return None;
        }
        if self.pass > 0 {
            self.pass -= 1;
            return None;
        }
        self.fail = self.fail.checked_sub(1)?;
        Some(self.error)
    }
}
