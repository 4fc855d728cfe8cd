//! The command end to end, with real processes: what scripts rely on, and that each documented failure loses nothing.

#[path = "command/bench.rs"]
mod bench;
#[path = "command/broker.rs"]
mod broker;
#[path = "command/control.rs"]
mod control;
#[path = "command/damaged.rs"]
mod damaged;
#[path = "command/equal.rs"]
mod equal;
#[path = "command/folders.rs"]
mod folders;
#[path = "command/follow_storage.rs"]
mod follow_storage;
#[path = "command/home.rs"]
mod home;
#[path = "command/inspect.rs"]
mod inspect;
#[path = "command/owners/mod.rs"]
mod owners;
#[path = "command/reading.rs"]
mod reading;
#[path = "command/storage.rs"]
mod storage;
#[path = "command/world.rs"]
mod world;
#[path = "command/writing.rs"]
mod writing;

/// Exit code 1 with this effect.
fn failed(effect: &str) -> (i32, String) {
    (1, effect.to_owned())
}
