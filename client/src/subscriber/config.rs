//! How a follow is kept up.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidings_proto::Timestamp;

use super::witness::Witness;
use crate::clock;
use crate::dial::Dial;

/// Tells the wall clock's time. Another one than the machine's is for tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a follow is kept up.
#[derive(Clone)]
pub struct SubscriberConfig {
    /// How brokers are reached.
    pub dial: Arc<dyn Dial>,
    /// The owner's storage as a route: tried after the last broker address, or alone when there is none. Dialled with an
    /// address that means nothing. While it is used, the brokers are tried again and preferred. [P-21]
    pub storage: Option<Arc<dyn Dial>>,
    /// A second opinion about what the owner's newest head is. [P-21]
    pub witness: Option<Arc<dyn Witness>>,
    /// How often the witness is asked, beside once for each connection.
    pub witness_every: Duration,
    /// How long a broker may show less than the witness before it is accused.
    pub witness_grace: Duration,
    /// What was verified is stale when the owner signed it longer ago than this, unless the owner promised more. [P-16]
    pub max_age: Duration,
    /// Folder for evidence, created when needed; `None` keeps evidence nowhere.
    pub evidence_dir: Option<PathBuf>,
    /// Changes in one [`Event::Changes`](super::Event::Changes).
    pub changes_max: usize,
    /// The wall clock that owners' times are compared with.
    pub clock: Clock,
}

impl SubscriberConfig {
    /// Brokers only: no storage, no witness. A maximum age of 24 hours, no evidence, 1,024 changes at once.
    pub fn new(dial: Arc<dyn Dial>) -> Self {
        Self {
            dial,
            storage: None,
            witness: None,
            witness_every: Duration::from_secs(60),
            witness_grace: Duration::from_secs(10 * 60),
            max_age: Duration::from_secs(24 * 60 * 60),
            evidence_dir: None,
            changes_max: 1_024,
            clock: Arc::new(clock::now),
        }
    }
}
