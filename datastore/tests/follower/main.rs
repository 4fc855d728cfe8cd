//! A follow end to end: a real publisher, a scripted broker in the same process, a storage that fails on demand.

mod fetching;
mod lives;
mod many;
#[allow(dead_code)] // shared with the client's tests, which use more of it
#[path = "../../../client/tests/exchange/peer.rs"]
mod peer;
mod printing;
mod shelf;
mod world;
