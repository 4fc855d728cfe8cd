//! Values of followed records that live in storage: what is to be fetched, how much at once, and where it is kept.

mod attempt; // one object into the cache
mod cache; // files
mod limits; // how much at once
mod order; // what is to be fetched, as rows

pub(crate) use attempt::{Depot, Shortfall};
pub(crate) use cache::{Cache, drafts, path_in, remove_file, remove_tree};
pub(crate) use limits::Ticket;
pub use limits::{FetchLimits, Pace};
pub(crate) use order::{CACHED, Cached, DUE, GARBAGE, ORDERS, Order, Place, USES, id_of_garbage, path_of, time_of_due};
pub use order::{FetchState, FetchStatus};
