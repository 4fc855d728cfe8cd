//! What acts: sockets, tasks and time around the engine. The only place in this crate that knows QUIC.
//!
//! One task accepts; each connection is a task with one loop; so is each of its streams. Judging and disk are elsewhere: the
//! engine judges, one thread commits publishes, one task groups acknowledgements, reads run on threads that may block.
//! A subscription holds a position and at most one frame; a queue without subscribers holds nothing.

mod accept; // who gets in
mod acknowledge; // group commit of acknowledgements
mod admission; // whose publishes are taken
mod broker; // start and drain
mod budget; // memory for publishes
mod config;
mod connection; // greeting, proofs and streams of one connection
mod frames; // frames on one stream
mod identity; // keys in the data folder
mod intake; // what waits on a publish stream
mod publish; // one publish stream
mod pulses; // what owners say between heads
mod quic; // settings of a public server
mod recover; // a queue on its way back to its owner
mod room; // memory for what is sent
mod shared; // what all tasks of one broker use
mod subscription; // one subscription
mod transfer; // a transfer on its way
mod wakes; // who is told of a commit

pub use admission::AdmissionList;
pub use broker::{Broker, StartError};
pub use config::{Admission, BrokerConfig, Deadlines};
pub use identity::IdentityError;
