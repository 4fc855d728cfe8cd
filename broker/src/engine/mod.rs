//! What a broker decides: pure functions and state machines over values that somebody else read.
//!
//! No clock, no channel, no file, no randomness. `publish` judges a publish by itself, `queue` judges it against what the
//! queue holds, `subscription` says what a reader is sent next.

mod access;
mod acknowledgement;
mod committed;
mod delta;
mod lookup;
mod parts;
mod publish;
mod pulse;
mod queue;
mod read;
mod recovery;
mod refused;
mod retire;
mod subscription;
#[cfg(test)]
pub(crate) mod test_branch;
#[cfg(test)]
pub(crate) mod test_owner;
mod transfer;

pub use acknowledgement::check_acknowledgement;
pub use committed::{Committed, Receipted};
pub use lookup::{Found, Lookups, Overlay};
pub use publish::{Checked, check};
pub use pulse::{Pulsed, check_pulse};
pub use queue::{Admission, Applied, QueueState};
pub use read::{Answer, Denial, Read};
pub use recovery::Recovery;
pub use refused::refusal_of;
pub use subscription::{FanOut, Next, Subscription};
pub use transfer::{Adoption, LastPart, TransferCheck};
