//! What the fuzz targets do with their input, callable without a fuzzer.
//!
//! Each target is one function from bytes to nothing that panics if a property does not hold. The fuzzer in `fuzz/` calls it for ever,
//! the test of this crate calls it over `fuzz/corpus` and over mutations of it.

pub mod broker; // what a broker takes
pub mod frames; // what travels
mod input; // bytes as numbers and pieces
pub mod objects; // everything that decodes
pub mod reader; // what a reader believes
mod recovery; // what an owner is given back
pub mod seeds; // what a corpus begins with
mod session; // an honest broker that answers one subscription
mod story; // a real owner with all it ever signed

/// A target.
pub type Run = fn(&[u8]);

/// Every target with its name, which is also its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Run); 5] =
    [("objects", objects::run), ("frames", frames::run), ("reader", reader::run), ("broker", broker::run), ("rewinds", reader::rewinds)];
