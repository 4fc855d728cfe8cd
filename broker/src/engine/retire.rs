//! How a publish changes the live set. [P-7] [P-8]

use std::collections::HashSet;

use tidings_core::SetHash;
use tidings_proto::{Birth, Offset};

use super::lookup::Found;
use super::publish::Checked;
use crate::store::LiveRow;

/// The live set after a publish, and what left it.
#[derive(Debug)]
pub(super) struct LiveChange {
    pub(super) live: SetHash,
    pub(super) live_bytes: u64,
    pub(super) retired: Vec<LiveRow>,
    pub(super) ended: Vec<Birth>,
}

/// Replaces by birth, then purges; nothing else ever leaves the set. [P-8]
///
/// `floor` is the one before this publish. Errors name what is not live, or the arithmetic that a damaged row breaks.
pub(super) fn change_live(
    checked: &Checked,
    found: &Found,
    floor: Offset,
    mut live: SetHash,
    live_bytes: u64,
) -> Result<LiveChange, &'static str> {
    let mut retired = replaced(checked, found)?;
    let purged = purged(checked, found, floor, &retired)?;
    let ended = purged.iter().map(|row| row.birth).collect();
    retired.extend(purged);
    for row in &retired {
        live.remove(row.digest.bytes());
    }
    for (row, _) in &checked.entries {
        live.add(row.digest.bytes());
    }
    let gone: u64 = retired.iter().map(|row| u64::from(row.bytes)).sum();
    let added: u64 = checked.entries.iter().map(|(row, _)| u64::from(row.bytes)).sum();
    let live_bytes = live_bytes.checked_sub(gone).and_then(|rest| rest.checked_add(added)).ok_or("more bytes retired than live")?;
    Ok(LiveChange { live, live_bytes, retired, ended })
}

/// A birth is the entry's own offset or that of a live entry.
fn replaced(checked: &Checked, found: &Found) -> Result<Vec<LiveRow>, &'static str> {
    let older = checked.entries.iter().map(|(row, _)| row).filter(|row| row.birth.value() != row.offset.value());
    older.map(|row| found.births.get(&row.birth).copied().ok_or("an entry's birth is not that of a live entry")).collect()
}

/// [P-6] What is purged is live after replacing, and above the old floor: up to there no tombstone was left.
fn purged(checked: &Checked, found: &Found, floor: Offset, replaced: &[LiveRow]) -> Result<Vec<LiveRow>, &'static str> {
    let replaced: HashSet<Offset> = replaced.iter().map(|row| row.offset).collect();
    let live = |offset: &Offset| match found.offsets.get(offset) {
        Some(row) if !replaced.contains(offset) => Ok(*row),
        _ => Err("a purged offset is not live"),
    };
    if checked.purged.first().is_some_and(|first| *first <= floor) {
        return Err("an offset is purged that the floor had passed before");
    }
    checked.purged.iter().map(live).collect()
}
