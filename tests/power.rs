//! What a power cut leaves: real processes on a file system that forgets whatever was not synced.

#![cfg(target_os = "linux")] // its file system is mounted with FUSE

mod power {
    mod cuts;
    mod desk; // where threads meet
    pub(crate) mod disk; // the file system
    mod evidence; // of many cuts
    mod failing; // disks, full ones and lying ones
    mod forgets; // what it keeps and what it forgets
    mod held; // by a broker
    mod ledger; // of what was promised
    mod made; // by commands
    mod process;
    mod site;
    mod stored; // by a storage
    mod torn; // writes
}
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;
