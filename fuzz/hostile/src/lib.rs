//! Hostile bytes from seeds, for tests of what decodes: the same in every run, on every machine.
//!
//! The bodies of the fuzz targets are mutated with it; decoders that are private to a crate are fed by a test of that crate.

mod alone; // a test in a process of its own, so that its memory can be told
mod feed; // what a decoder is fed, and what must hold
mod mutation;

pub use alone::alone;
pub use feed::{Meal, feed};
pub use mutation::{Dice, mutated};
