//! Client.

pub mod connection; // the only module that knows QUIC

pub use connection::{Connection, ConnectionError, Endpoint};
