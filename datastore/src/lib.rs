//! Records over storage: values that are too large for the queue live sealed in storage, and follow the queue's mutations.

pub mod storage;
