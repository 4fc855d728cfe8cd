//! The broker of Tidings: what decides (engine), what acts (server) and what keeps (store).

pub mod store;
