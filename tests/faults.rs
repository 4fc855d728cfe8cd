//! Full disks and failing syncs, met by the real program: what was acknowledged stays, what was not says so, and it goes on by itself
//! where it can.

#![cfg(target_os = "linux")]

mod faults {
    pub(crate) mod disk; // a small file system that can be filled
    mod full;
    mod full_home;
    mod positions; // where a run writes and syncs
    mod strace; // processes whose calls fail
    mod sweep;
}
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;
