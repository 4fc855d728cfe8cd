//! Where time and randomness come from. Everything below gets them as arguments.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidings_core::Entropy;
use tidings_proto::Timestamp;

/// Wall clock. A clock before 1970 is 0.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::new(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Fresh randomness of the operating system.
pub(crate) fn entropy() -> Result<Entropy, getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(Entropy::new(seed))
}

/// How long until `age` after `then`; zero if that is past.
pub(crate) fn until(then: Timestamp, age: Duration, now: Timestamp) -> Duration {
    let end = then.value().saturating_add(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    Duration::from_millis(end.saturating_sub(now.value()))
}
