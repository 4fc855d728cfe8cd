//! The reader's side: one task for each follow that takes verified changes, keeps what is to be printed and what is to be fetched.
//!
//! Acknowledging waits for neither: both are durable obligations of this node. [P-15]

mod desk; // what is to be printed, durably
mod error;
mod handle; // the application's side
#[cfg(test)]
mod model_tests;
mod net; // what a person saw and sees now
mod orders; // what is to be fetched, durably
mod printers; // changes on their way to a person and back
mod shared; // between tasks and handle
mod stored; // values without a running follower
mod task; // the loop that takes changes
mod value; // verified values
mod worker; // the loop that fetches

pub use error::{FollowerError, Unfetched};
pub use handle::{Follower, FollowerConfig};
pub use printers::{Unprinted, Wanted};
pub use stored::{fetches_at, forget, is_here, unprinted_at, value_at};
