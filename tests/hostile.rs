//! Hostile bytes in every file that a program opens, and on the socket of a running node: real processes, real folders.

mod hostile {
    mod attempt; // a command with a deadline and a bound of memory
    mod brokers;
    mod control;
    mod damage; // what a file can be instead
    mod homes;
    mod inputs;
    mod storages;
}
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;
