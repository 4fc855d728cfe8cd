//! What a power cut leaves: real processes on a file system that forgets whatever was not synced.

#![cfg(target_os = "linux")] // its file system is mounted with FUSE

mod power {
    pub(crate) mod disk; // the file system
    mod cuts;
    mod forgets; // what it keeps and what it forgets
    mod held; // by a broker
    mod ledger; // of what was promised
    mod process;
    mod site;
}
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;
