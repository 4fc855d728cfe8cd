//! What a command is given of its node before it begins.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::Running;
use crate::home::Lock;
use crate::signal::Stop;

/// Nothing, the lock of the home, or the running node. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Site {
    lock: Arc<Mutex<Option<Lock>>>,
    /// The node that this process runs for others, if it does.
    pub(crate) running: Option<Arc<Running>>,
    /// What asks the command to end, if it is another's.
    pub(crate) stop: Option<Stop>,
}

impl Site {
    /// With the lock of the home.
    pub(crate) fn locked(lock: Lock) -> Self {
        Self { lock: Arc::new(Mutex::new(Some(lock))), ..Self::default() }
    }

    /// With a node that runs, for a command of another process.
    pub(crate) fn borrowed(running: Arc<Running>, stop: Stop) -> Self {
        Self { running: Some(running), stop: Some(stop), ..Self::default() }
    }

    /// The lock, once.
    pub(super) fn take_lock(&self) -> Option<Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("running", &self.running.is_some()).finish_non_exhaustive()
    }
}
