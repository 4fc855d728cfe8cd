//! The broker of Tidings: what decides (engine), what acts (server) and what keeps (store); what of it an operator can see (inspect).

pub mod commit;
pub mod engine;
pub mod folder;
#[cfg(feature = "rocksdb")]
pub mod inspect;
pub mod server;
pub mod store;
