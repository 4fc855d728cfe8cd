//! How a publish changes the access list. [P-17]

use std::collections::HashSet;

use bytes::Bytes;
use tidings_core::access::AccessRow;
use tidings_core::{Object, SetHash};
use tidings_proto::ContentHash;

use super::lookup::Found;
use super::publish::Checked;

/// The access list after a publish, and what no row names any more.
#[derive(Debug)]
pub(super) struct AccessChange {
    pub(super) access: SetHash,
    pub(super) rows: usize,
    pub(super) attachments_removed: Vec<ContentHash>,
}

/// Applies removed and put rows to the set, and sees that every grant is there and nothing is there that no row names.
///
/// No crash and no order of arrival leaves a reader without keys: a row is accepted only with its grant and owner's copy,
/// from this publish or stored before. What is stored is exactly what the rows before name. [P-17]
pub(super) fn change_access(checked: &Checked, found: &Found, mut access: SetHash) -> Result<AccessChange, &'static str> {
    let before = named(found.access.values())?;
    let mut rows = found.access.clone();
    for reader in &checked.access_removed {
        let row = rows.remove(reader).ok_or("a removed access row is not there")?;
        access.remove(&row);
    }
    for (row, bytes) in &checked.access_put {
        if let Some(old) = rows.insert(row.pseudonym, bytes.clone()) {
            access.remove(&old);
        }
        access.add(bytes);
    }
    let after = named(rows.values())?;
    check_attachments(checked, &before, &after)?;
    let mut attachments_removed: Vec<_> = before.difference(&after).copied().collect();
    attachments_removed.sort();
    Ok(AccessChange { access, rows: rows.len(), attachments_removed })
}

fn check_attachments(checked: &Checked, before: &HashSet<ContentHash>, after: &HashSet<ContentHash>) -> Result<(), &'static str> {
    let carried: HashSet<_> = checked.attachments.iter().map(|(hash, _)| *hash).collect();
    if !carried.is_subset(after) {
        return Err("an attachment is named by no access row");
    }
    let mut needed = checked.access_put.iter().flat_map(|(row, _)| [row.grant, row.owner_copy]);
    match needed.all(|hash| carried.contains(&hash) || before.contains(&hash)) {
        true => Ok(()),
        false => Err("an access row names a grant or owner's copy that is not here"),
    }
}

/// Every attachment that these rows name.
pub(super) fn named<'a>(rows: impl Iterator<Item = &'a Bytes>) -> Result<HashSet<ContentHash>, &'static str> {
    let mut named = HashSet::new();
    for bytes in rows {
        let row = AccessRow::decode(bytes).map_err(|_| "a stored access row does not parse")?;
        named.extend([row.grant, row.owner_copy]);
    }
    Ok(named)
}
