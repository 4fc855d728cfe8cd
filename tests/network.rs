//! Tidings on networks that lose, repeat, reorder, alter and hide datagrams: what arrives, and how soon after a path returns.
//!
//! `make network-lab` also runs the long tests, and writes what it measured to `docs/evidence/network-lab.json`.

mod network {
    mod blackholes;
    pub(crate) mod dice; // randomness that can be repeated
    mod figures; // the long tests
    mod hostile;
    mod idle;
    pub(crate) mod lab; // a broker, an owner and a reader with a relay between them
    mod mappings; // addresses that change on the way
    mod namespaces; // real address translation
    pub(crate) mod relay; // the path between nodes and broker
    mod restarts;
    mod tunnels; // network namespaces
    mod weather; // loss, repetition, order, damage
}
#[path = "lab/nodes.rs"]
#[allow(dead_code, reason = "parts of it are for the other lab")]
mod nodes;
#[path = "command/world.rs"]
#[allow(dead_code, reason = "half of it is for the tests of the command")]
mod world;
