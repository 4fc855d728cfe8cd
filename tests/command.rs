//! The command end to end, with real processes: what scripts rely on, and that each documented failure loses nothing.

#[path = "command/broker.rs"]
mod broker;
#[path = "command/home.rs"]
mod home;
#[path = "command/reading.rs"]
mod reading;
#[path = "command/world.rs"]
mod world;
#[path = "command/writing.rs"]
mod writing;

/// Exit code 1 with this effect.
fn failed(effect: &str) -> (i32, String) {
    (1, effect.to_owned())
}
