//! What only the assembled system can show: real processes, real folders, and somebody who looks at all of it.

mod lab {
    pub(crate) mod capture; // every datagram between broker and nodes
    pub(crate) mod child; // processes of this binary
    mod flipped;
    mod killed;
    pub(crate) mod nodes; // owners and readers in this process
    mod owner_life; // of one that is killed
    mod refetch;
    mod revoked;
    pub(crate) mod search; // clear text among bytes
    mod secrecy;
    pub(crate) mod tree; // something to import
}
#[path = "command/world.rs"]
#[allow(dead_code)] // half of it is for the tests of the command
mod world;
