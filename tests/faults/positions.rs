//! Where a run writes, syncs and names, and which of that is tried.

use std::path::PathBuf;

/// One call on one file, counted for each thread.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The system call.
    pub(crate) call: String,
    /// The file.
    pub(crate) path: PathBuf,
    /// Which of a thread's calls on it, from 1.
    pub(crate) turn: u32,
}

/// All of them if `TIDINGS_FAULTS_ALL` is set, else `count` out of a seed, so that each run tries the same.
pub(crate) fn chosen(mut all: Vec<Position>, count: usize) -> Vec<Position> {
    // What a store writes for people to read decides nothing.
    all.retain(|position| !position.path.ends_with("LOG"));
    if std::env::var_os("TIDINGS_FAULTS_ALL").is_some() {
        return all;
    }
    let mut seed = 0x7469_6469_6e67_7321_u64;
    let mut chosen = Vec::new();
    while chosen.len() < count && !all.is_empty() {
        // SplitMix64 needs no more than this, and nobody has to foresee it.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let at = usize::try_from((mixed >> 33) % all.len() as u64).expect("an index");
        chosen.push(all.swap_remove(at));
    }
    chosen
}
