//! What only one task of a process may do with a state: two publishers would sign one number twice. [P-3]

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tidings_proto::QueueId;

/// A role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// Signs and publishes the own queue.
    Publish,
    /// Keeps up one follow.
    Follow(QueueId),
}

/// The roles that are taken.
pub(super) type Claims = Mutex<HashSet<Claim>>;

/// A role, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claimed {
    claims: Arc<Claims>,
    claim: Claim,
}

impl Claimed {
    pub(super) fn take(claims: &Arc<Claims>, claim: Claim) -> Option<Self> {
        let mut taken = claims.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(claim).then(|| Self { claims: claims.clone(), claim })
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.claim);
    }
}
