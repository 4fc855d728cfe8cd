//! The broker of Tidings: what decides (engine), what acts (server) and what keeps (store).

pub mod commit;
pub mod engine;
pub mod server;
pub mod store;
