//! The store on a disk, measured: what deleted rows cost, what is written for each byte published, how cost grows, how a start goes
//! after a kill, what memory it takes.
//!
//! `make store-lab` runs it and writes `docs/evidence/store.json`; `FULL=1` runs it at full size, which takes hours and 60 GB. What is
//! asserted is counted, never timed.

#![cfg(target_os = "linux")] // processor time and memory are read from /proc

mod store {
    mod author; // appends without end
    mod growth;
    mod memory;
    mod meter; // processor time, memory, files
    mod note; // what is kept of the figures
    mod restart;
    mod tombstones;
    mod tunings;
}
